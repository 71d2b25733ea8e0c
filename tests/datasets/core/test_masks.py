"""Every way in which programs write masks: read to the pixel, or refused with the option for it."""

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.datasets.core.transforms import resized_labels
from cdfss_bench.errors import UserError

from ...support import trees
from ...support.opened import refused as refused_domain

Mask = NDArray[np.uint8]
Writer = Callable[[Mask], Image.Image]

RED, WHITE, VOID = (255, 0, 0), (255, 255, 255), (224, 224, 192)
COUNT = 3


def ring(mask: Mask) -> Mask:
    """1 on a border around the object."""
    wide = np.pad(mask, 1)
    near = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return (near & ~mask & 1).astype(np.uint8)


def grey(low: int, high: int, kind: type = np.uint8) -> Writer:
    return lambda mask: Image.fromarray(np.where(mask, high, low).astype(kind))


def labels(value: int = 1) -> Writer:
    """A label map: `value` is the object, 255 a border around it."""
    return lambda mask: Image.fromarray((mask * value + ring(mask) * 255).astype(np.uint8))


def palette(colours: list[tuple[int, int, int]], indices: Writer) -> Writer:
    def write(mask: Mask) -> Image.Image:
        image = indices(mask)
        image.putpalette([value for colour in colours for value in colour])
        return image

    return write


def voc(indices: Writer) -> Writer:
    """VOC's palette: black, dark red, ... and the pale colour of undecided pixels at 255."""
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), *[(7, 7, 90)] * 252, VOID]
    return palette(colours, indices)


def painted(back: tuple[int, ...], front: tuple[int, ...], other: bool = False) -> Writer:  # noqa: FBT002
    def write(mask: Mask) -> Image.Image:
        pixels = np.empty((*mask.shape, len(back)), np.uint8)
        pixels[:] = back
        pixels[mask == 1] = front
        if other:
            pixels[ring(mask) == 1] = VOID
        return Image.fromarray(pixels)

    return write


def two(mask: Mask) -> Image.Image:
    """A label map of two objects."""
    return Image.fromarray((mask + 2 * ring(mask)).astype(np.uint8))


def soft(mask: Mask) -> Image.Image:
    """Smoothed at its border, 128 and more inside."""
    near = np.indices(mask.shape).sum(axis=0) % 90
    return Image.fromarray(np.where(mask, 160 + near, near).astype(np.uint8))


def cut_out(mask: Mask) -> Image.Image:
    """A photograph whose alpha channel is the mask."""
    return Image.fromarray(np.dstack([trees.photo(5), mask * 255]))


def stored(form: str, writer: Writer, **how: int) -> Writer:
    """Through a file format that is not PNG."""

    def write(mask: Mask) -> Image.Image:
        file = io.BytesIO()
        writer(mask).save(file, form, **how)
        return Image.open(file)

    return write


RIGHT: dict[str, tuple[Writer, str]] = {
    "1 bit": (lambda mask: Image.fromarray(mask > 0), "png"),
    "1 bit TIFF": (lambda mask: Image.fromarray(mask > 0), "tif"),
    "grey 0 and 1": (grey(0, 1), "png"),
    "grey 0 and 255": (grey(0, 255), "png"),
    "grey BMP": (grey(0, 255), "bmp"),
    "grey GIF": (grey(0, 255), "gif"),
    "grey WebP without loss": (grey(0, 255), "webp"),
    "grey PGM": (grey(0, 255), "pgm"),
    "16 bits 0 and 1": (grey(0, 1, np.uint16), "png"),
    "16 bits 0 and 255": (grey(0, 255, np.uint16), "png"),
    "16 bits 0 and 65535": (grey(0, 65535, np.uint16), "png"),
    "12 in 16 bits": (grey(0, 4095, np.uint16), "png"),
    "16 bits TIFF": (grey(0, 65535, np.uint16), "tif"),
    "32 bits TIFF": (grey(0, 1, np.int32), "tif"),
    "fractions 0 and 1": (grey(0, 1, np.float32), "tif"),
    "fractions 0 and 255": (grey(0, 255, np.float32), "tif"),
    "three equal channels 0 and 1": (painted((0, 0, 0), (1, 1, 1)), "png"),
    "three equal channels 0 and 255": (painted((0, 0, 0), WHITE), "png"),
    "red on black": (painted((0, 0, 0), RED), "png"),
    "opaque with alpha": (painted((0, 0, 0, 255), (*WHITE, 255)), "png"),
    "white on transparent black": (painted((0, 0, 0, 0), (*WHITE, 255)), "png"),
    "palette black, white": (palette([(0, 0, 0), WHITE], grey(0, 1)), "png"),
    "palette white, black": (palette([WHITE, (0, 0, 0)], grey(1, 0)), "png"),
    "quantised": (lambda mask: grey(0, 255)(mask).quantize(2), "png"),
    "palette of grey steps": (palette([(n, n, n) for n in range(256)], grey(0, 1)), "png"),
    "labelme, no void": (voc(grey(0, 1)), "png"),
    "VOC, one label of twenty": (voc(grey(0, 15)), "png"),
    "JPEG": (stored("JPEG", grey(0, 255), quality=80), "jpg"),
    "JPEG in three channels": (stored("JPEG", painted((0, 0, 0), WHITE), quality=80), "jpg"),
}  # fmt: skip

OPTION: dict[str, tuple[Writer, str, str]] = {
    "grey 0 and 2": (grey(0, 2), "labels=2", "in place of 0 and 1, or 0 and 255"),
    "grey 0 and 128": (grey(0, 128), "labels=128", "in place of 0 and 1, or 0 and 255"),
    "VOC turned grey": (grey(0, 38), "labels=38", "in place of 0 and 1, or 0 and 255"),
    "label map": (two, "labels=1", "hold the values 1 and 2 beside 0"),
    "label map with palette": (voc(two), "labels=1", "hold the values 1 and 2 beside 0"),
    "instances in 16 bits": (grey(0, 300, np.uint16), "labels=300", "the values 0 and 300"),
    "trimap": (
        lambda mask: Image.fromarray((mask * 255 + ring(mask) * 128).astype(np.uint8)),
        "labels=255", "hold the values 128 and 255 beside 0",
    ),
    "soft": (soft, "labels=128..255", "is a soft mask"),
    "JPEG without ends": (
        stored("JPEG", grey(90, 150), quality=80), "labels=128..255", "do not lie near black",
    ),
    "red on white": (
        painted(WHITE, RED), "colors=#ff0000", "the colours #ffffff and #ff0000 beside 0",
    ),
    "VOC in colours": (
        painted((0, 0, 0), (128, 0, 0), other=True), "colors=#800000,ignore=#e0e0c0", "colours",
    ),
    "red, quantised": (
        lambda mask: painted((0, 0, 0), RED)(mask).quantize(2), "colors=#ff0000", "in an order",
    ),
    "white in alpha": (painted((*WHITE, 0), (*WHITE, 255)), "labels=alpha", "an alpha channel"),
    "black in alpha": (painted((0, 0, 0, 0), (0, 0, 0, 255)), "labels=alpha", "an alpha channel"),
    "cut out": (cut_out, "labels=alpha", "an alpha channel"),
    "void": (labels(), "labels=1,ignore=255", "holds 255 beside other labels"),
    "VOC with void": (voc(labels(15)), "labels=15,ignore=255", "holds 255 beside other labels"),
    "all but the object is void": (
        voc(grey(255, 0)), "labels=255", "nothing but 0 and 255, which label maps keep",
    ),
}  # fmt: skip

NEVER: dict[str, tuple[Writer, str, str]] = {
    "scores": (lambda mask: Image.fromarray(mask * np.float32(0.7)), "tif", "holds fractions"),
    "JPEG in colours": (
        stored("JPEG", painted((0, 0, 0), RED), quality=80), "jpg", "JPEG in colours",
    ),
    "photograph": (
        lambda mask: Image.fromarray(
            np.random.RandomState(0).randint(0, 255, (*mask.shape, 3)).astype(np.uint8)
        ),
        "png", "no mask",
    ),
    "half transparent": (
        lambda mask: Image.fromarray(np.dstack([trees.photo(5), 60 + mask * 100])),
        "png", "alpha channel",
    ),
}  # fmt: skip


def write(root: Path, writer: Writer, suffix: str = "png", name: str = "cup") -> None:
    for number in range(COUNT):
        path = root / "masks" / name / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = writer(trees.blob(number) // 255)
        if image.format == "JPEG":
            image.save(path, "JPEG", quality="keep")
        else:
            image.save(path, lossless=True)
        trees.save(root / "images" / name / f"{number}.jpg", trees.photo(number))


def truths(domain: Domain) -> list[Mask]:
    return [domain.truth(item) for item in domain.classes[0].items]


def expected(mask: Mask | None = None) -> list[Mask]:
    masks = [trees.blob(number) // 255 for number in range(COUNT)] if mask is None else [mask]
    return [resized_labels(one, 400) for one in masks]


def assert_read(domain: Domain, wanted: list[Mask]) -> None:
    found = truths(domain)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)


def words_of(options: str) -> dict[str, Any]:
    return dict(word.split("=", 1) for word in options.split(",") if word)


def opened(root: Path, options: str = "", cache: Path | None = None) -> Domain:
    return open_domain("folder", root, words_of(options), cache=cache)


def refused(root: Path, options: str = "") -> UserError:
    return refused_domain("folder", root, **words_of(options))


@pytest.mark.parametrize("name", RIGHT)
def test_a_mask_that_means_one_thing_is_read(tmp_path: Path, name: str) -> None:
    writer, suffix = RIGHT[name]
    write(tmp_path, writer, suffix)
    assert_read(opened(tmp_path), expected())


@pytest.mark.parametrize("name", OPTION)
def test_a_mask_in_doubt_is_refused_with_the_option_that_reads_it(
    tmp_path: Path, name: str
) -> None:
    writer, option, sentence = OPTION[name]
    write(tmp_path, writer)
    error = refused(tmp_path)
    assert sentence in error.problem
    hint = "colors=#rrggbb" if name == "red, quantised" else option
    assert f"-d 'folder[{hint}]'" in (error.hint or "")
    domain = opened(tmp_path, option)
    assert_read(domain, [1 - t for t in expected()] if name.startswith("all but") else expected())
    if "ignore" in option:
        borders = [domain.undecided(item) for item in domain.classes[0].items]
        for number, border in enumerate(borders):
            assert border is not None
            assert np.array_equal(border, resized_labels(ring(trees.blob(number) // 255), 400))


@pytest.mark.parametrize("name", NEVER)
def test_what_is_no_mask_is_refused(tmp_path: Path, name: str) -> None:
    writer, suffix, sentence = NEVER[name]
    write(tmp_path, writer, suffix)
    error = refused(tmp_path)
    assert sentence in error.problem
    assert str(tmp_path / "masks" / "cup") in error.problem


def test_undecided_pixels_reach_the_tensors_and_the_notes(tmp_path: Path) -> None:
    write(tmp_path, labels())
    domain = opened(tmp_path, "ignore=255")
    tensors = domain.load(domain.episodes(shots=1)[0])
    assert tensors.query_ignore is not None
    assert tensors.query_ignore.any()
    assert not (tensors.query_ignore & tensors.query_mask).any()
    assert "masks with undecided pixels, which are left out of the count: 3" in domain.notes
    plain = opened(tmp_path, "labels=1,ignore=none")
    assert plain.undecided(plain.classes[0].items[0]) is None
    assert_read(plain, expected())


@pytest.mark.parametrize(
    "odd", [grey(0, 255), palette([WHITE, (0, 0, 0)], grey(1, 0)), painted((0, 0, 0), RED), two]
)
def test_one_mask_of_another_kind_is_never_read_as_the_others(tmp_path: Path, odd: Writer) -> None:
    write(tmp_path, voc(grey(0, 1)))
    odd(trees.blob(1) // 255).save(tmp_path / "masks/cup/1.png")
    refused(tmp_path)


def test_grey_masks_of_0_and_1_and_of_0_and_255_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, grey(0, 1))
    grey(0, 255)(trees.blob(1) // 255).save(tmp_path / "masks/cup/1.png")
    error = refused(tmp_path)
    assert "are of two kinds" in error.problem
    assert "two kinds" in refused(tmp_path, "ignore=255").problem
    assert "labels=1+255" in (error.hint or "")
    assert_read(opened(tmp_path, "labels=1+255"), expected())


def test_a_label_map_that_holds_only_void_is_empty_not_white(tmp_path: Path) -> None:
    write(tmp_path, labels())
    grey(0, 255)(trees.blob(1) // 255).save(tmp_path / "masks/cup/1.png")
    domain = opened(tmp_path, "ignore=255")
    assert [truth.any() for truth in truths(domain)] == [True, False, True]
    assert any(note.endswith("1 of 3 is empty") for note in domain.notes)


@pytest.mark.parametrize(
    ("writer", "sentence", "hint"),
    [
        (grey(0, 0), "are empty", "draw the masks"),
        (grey(255, 255), "are full", "labels=255"),
        (lambda mask: grey(0, 255)(mask * 0 + mask[0, 0]), "empty or full", "labels=255"),
    ],
)
def test_a_class_without_a_border_in_any_mask_is_refused(
    tmp_path: Path, writer: Writer, sentence: str, hint: str
) -> None:
    write(tmp_path, writer)
    error = refused(tmp_path)
    assert f"all 3 masks of class 'cup' {sentence}" in error.problem
    assert hint in (error.hint or "")


def test_an_option_that_finds_nothing_says_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, two)
    assert "they hold 0, 1 and 2" in refused(tmp_path, "labels=7").problem


def test_options_by_class_and_the_rest(tmp_path: Path) -> None:
    write(tmp_path, two, name="cup")
    write(tmp_path, grey(0, 255), name="pot")
    write(tmp_path, two, name="tin")
    domain = opened(tmp_path, "labels=cup:1+tin:1+tin:2+255")
    assert [entry.name for entry in domain.classes] == ["cup", "pot", "tin"]
    cup, pot, tin = (domain.truth(entry.items[0]) for entry in domain.classes)
    assert np.array_equal(cup, expected()[0])
    assert np.array_equal(pot, expected()[0])
    mask = trees.blob(0) // 255
    assert np.array_equal(tin, resized_labels(mask | ring(mask), 400))
    nonzero = opened(tmp_path, "labels=nonzero")
    assert np.array_equal(nonzero.truth(nonzero.classes[0].items[0]), tin)
    assert "did you mean cup?" in (refused(tmp_path, "labels=cap:1").hint or "")


@pytest.mark.parametrize(
    "option", ["labels=x", "labels=5..2", "colors=red", "ignore=x", "labels=1,colors=#ff0000"]
)
def test_options_that_are_not_understood_are_refused(tmp_path: Path, option: str) -> None:
    write(tmp_path, grey(0, 255))
    refused(tmp_path, option)


def test_flat_folders_have_classes_by_their_labels(tmp_path: Path) -> None:
    write(tmp_path, two, name="")
    grey(0, 1)(trees.blob(2) // 255).save(tmp_path / "masks/2.png")
    assert "values 1 and 2" in refused(tmp_path).problem
    assert "labels=each" in (refused(tmp_path).hint or "")
    domain = opened(tmp_path, "layout=flat,labels=inner:1+rim:2")
    assert [(entry.name, len(entry.items)) for entry in domain.classes] == [
        ("inner", 3),
        ("rim", 2),
    ]
    assert_read(domain, expected())
    rim = domain.classes[1].items[0]
    assert np.array_equal(domain.truth(rim), resized_labels(ring(trees.blob(0) // 255), 400))
    assert opened(tmp_path, "layout=flat,labels=nonzero").classes[0].name == "object"
    assert "share a value" in refused(tmp_path, "layout=flat,labels=a:1+b:nonzero").problem


# -- how masks lie on pictures ---------------------------------------------------------------------

TURNS = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""How an upright picture is stored for each orientation."""


def save_turned(path: Path, pixels: Mask, orientation: int, *, said: bool = True) -> None:
    image, turn = Image.fromarray(pixels), TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if turn is None else image.transpose(turn)
    image.save(path, "PNG", **({"exif": exif} if said else {}))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("drawn", ["upright", "stored", "said"])
def test_pictures_and_masks_are_turned_alike(tmp_path: Path, orientation: int, drawn: str) -> None:
    save_turned(tmp_path / "images/cup/0.png", trees.photo(0), orientation)
    mask, path = trees.blob(0), tmp_path / "masks/cup/0.png"
    save_turned(path, mask, 1 if drawn == "upright" else orientation, said=drawn == "said")
    option = ""
    if orientation in (2, 3, 4) and drawn != "said":
        assert "its size fits both ways" in refused(tmp_path).problem
        option = f"orientation={drawn}"
    domain = opened(tmp_path, option)
    assert_read(domain, expected(mask // 255))
    trees.save(tmp_path / "upright/images/cup/0.png", trees.photo(0))
    trees.save(tmp_path / "upright/masks/cup/0.png", mask)
    other = opened(tmp_path / "upright")
    item, plain = domain.classes[0].items[0], other.classes[0].items[0]
    assert np.array_equal(domain.image(item), other.image(plain))
    domain.note_oddities(item, role="query")
    assert not any(" is 40x28" in note or "28x40" in note for note in domain.notes)


def test_a_png_may_say_its_orientation_behind_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "images/cup/0.png"
    save_turned(path, trees.photo(0), 6)
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[start : start + 4], "big")
    chunk, rest = data[start : start + length], data[:start] + data[start + length :]
    path.write_bytes(rest[:-12] + chunk + rest[-12:])
    trees.save(tmp_path / "masks/cup/0.png", trees.blob(0))
    assert_read(opened(tmp_path), expected(trees.blob(0) // 255))


@pytest.mark.parametrize(
    ("size", "hint"),
    [((28, 40), "turn the mask or the picture"), ((80, 56), "without smoothing"),
     ((33, 33), "the mask of this picture")],
)  # fmt: skip
def test_a_mask_of_another_size_is_refused(
    tmp_path: Path, size: tuple[int, int], hint: str
) -> None:
    write(tmp_path, grey(0, 255))
    Image.fromarray(trees.blob(1)).resize(size).save(tmp_path / "masks/cup/1.png")
    error = refused(tmp_path)
    assert f"is {size[0]}x{size[1]} but its picture" in error.problem
    assert "is 40x28" in error.problem
    assert hint in (error.hint or "")


# -- pictures --------------------------------------------------------------------------------------


def picture_of(tmp_path: Path, image: Image.Image, suffix: str, **how: Any) -> Mask:
    """How the domain sees a picture, at its own size."""
    path = tmp_path / f"images/cup/0.{suffix}"
    path.parent.mkdir(parents=True)
    image.save(path, **how)
    trees.save(tmp_path / "masks/cup/0.png", trees.blob(0, image.width, image.height))
    domain = opened(tmp_path)
    return domain.image(domain.classes[0].items[0])


def side400(pixels: Mask) -> Image.Image:
    return Image.fromarray(pixels).resize((400, 400), Image.Resampling.NEAREST)


@pytest.mark.parametrize(("top", "kind"), [(65535, np.uint16), (4095, np.uint16), (1, np.float32)])
def test_deep_pictures_are_scaled(tmp_path: Path, top: int, kind: type) -> None:
    ramp = np.tile(np.linspace(0, top, 400), (400, 1)).astype(kind)
    found = picture_of(tmp_path, Image.fromarray(ramp), "tif")
    wanted = np.rint(ramp.astype(float) * 255 / top)
    assert np.array_equal(found[..., 0], wanted)


def test_transparent_pictures_are_laid_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[:, 200:] = (10, 20, 30, 255)
    found = picture_of(tmp_path, Image.fromarray(pixels), "png")
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 399].tolist() == [10, 20, 30]
    domain = opened(tmp_path)
    assert domain.counts == (1,)
    assert "pictures with an alpha channel, laid on white: 1" in domain.notes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_of_every_mode_look_as_they_are(tmp_path: Path, mode: str) -> None:
    image = side400(trees.photo(3)).convert(mode)
    found = picture_of(tmp_path, image, "tif" if mode == "CMYK" else "png")
    assert np.array_equal(found, np.asarray(image.convert("RGB")))


def test_cmyk_with_a_profile_of_another_kind_is_refused(tmp_path: Path) -> None:
    cms = pytest.importorskip("PIL.ImageCms")
    profile = cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()
    image = side400(trees.photo(3)).convert("CMYK")
    with pytest.raises(UserError, match="its colour profile cannot be used"):
        picture_of(tmp_path, image, "jpg", icc_profile=profile)


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
@pytest.mark.parametrize("part", ["images", "masks"])
def test_several_pictures_in_one_file_are_refused(tmp_path: Path, suffix: str, part: str) -> None:
    write(tmp_path, grey(0, 255))
    (path,) = (tmp_path / part / "cup").glob("1.*")
    path.unlink()
    frames = [Image.fromarray(trees.blob(number)) for number in range(2)]
    frames[0].save(path.with_suffix(f".{suffix}"), save_all=True, append_images=frames[1:])
    assert "holds 2 pictures" in refused(tmp_path).problem


def test_of_a_telephones_two_pictures_the_first_is_read(tmp_path: Path) -> None:
    write(tmp_path, grey(0, 255))
    frames = [Image.fromarray(trees.photo(number)) for number in (0, 9)]
    path = tmp_path / "images/cup/0.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert Image.open(path).format == "MPO"
    domain = opened(tmp_path)
    first = np.asarray(Image.open(path).convert("RGB").resize((40, 28)))
    seen = Image.fromarray(domain.image(domain.classes[0].items[0])).resize((40, 28))
    assert np.abs(np.asarray(seen).astype(int) - first).mean() < 20


# -- names -----------------------------------------------------------------------------------------


COMPOSED, DECOMPOSED = (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"))


@pytest.mark.parametrize(
    ("image", "mask"),
    [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (DECOMPOSED, DECOMPOSED)],
)
def test_names_in_two_unicode_forms_are_one_name(tmp_path: Path, image: str, mask: str) -> None:
    trees.write_pairs(tmp_path, f"images/{image}/{image}{{}}.jpg", f"masks/{mask}/{mask}{{}}.png")
    (entry,) = opened(tmp_path).classes
    assert entry.name == COMPOSED
    assert entry.items[0].name == f"images/{COMPOSED}/{COMPOSED}0.jpg"


@pytest.mark.parametrize("ending", ["_mask", "_gt", "_segmentation", "-mask", "_label", ".jpg"])
def test_masks_called_in_many_ways_are_found(tmp_path: Path, ending: str) -> None:
    write(tmp_path, grey(0, 255))
    for path in list((tmp_path / "masks/cup").iterdir()):
        path.rename(path.with_name(f"{path.stem}{ending}.PNG"))
    assert_read(opened(tmp_path), expected())


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("masks/cup/9.png", "belongs to no picture in"),
        ("images/cup/0.png", "would share a mask"),
        ("masks/cup/0.bmp", "there is 0.bmp and 0.png"),
        ("images/cup/9.jpg", "9.jpg needs one mask 9.png in"),
        ("masks/pot/0.png", "masks of a class that"),
        ("images/loose.jpg", "lies in no class folder"),
        ("images/cup/9.heic", "of a kind that is not read (.heic)"),
        ("images/cup/more/9.jpg", "is a folder where pictures are expected"),
    ],
)
def test_nothing_is_left_out_silently(tmp_path: Path, extra: str, sentence: str) -> None:
    write(tmp_path, grey(0, 255))
    trees.save(tmp_path / extra, trees.blob(4))
    assert sentence in refused(tmp_path).problem


def test_litter_and_notes_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, grey(0, 255))
    for name in ("images/.DS_Store", "images/cup/._0.jpg", "masks/cup/Thumbs.db", "masks/cup/a.txt",
                 "images/.ipynb_checkpoints/0.jpg", "masks/cup/0.json"):  # fmt: skip
        trees.touch(tmp_path / name)
    assert_read(opened(tmp_path), expected())


def test_a_name_that_differs_by_large_letters_is_pointed_out(tmp_path: Path) -> None:
    write(tmp_path, grey(0, 255))
    (tmp_path / "images/cup/0.jpg").rename(tmp_path / "images/cup/A.jpg")
    (tmp_path / "masks/cup/0.png").rename(tmp_path / "masks/cup/a.png")
    assert "rename a.png" in (refused(tmp_path).hint or "")


@pytest.mark.parametrize("part", ["images/cup/1.jpg", "masks/cup/1.png"])
@pytest.mark.parametrize("content", ["", "text", "cut"])
def test_damaged_files_are_one_sentence(tmp_path: Path, part: str, content: str) -> None:
    write(tmp_path, grey(0, 255))
    path = tmp_path / part
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5] if content == "cut" else content.encode())
    with pytest.raises(UserError, match="is not a readable image") as caught:
        opened(tmp_path).image(opened(tmp_path).classes[0].items[1])
    assert str(path) in caught.value.problem


# -- what is remembered ----------------------------------------------------------------------------


def test_a_second_start_decodes_no_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", labels())
    first = opened(tmp_path / "data", "ignore=255", tmp_path / "cache")
    before = truths(first)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("a file was opened"))
    second = opened(tmp_path / "data", "ignore=255", tmp_path / "cache")
    assert_read(second, before)
    assert second.notes == first.notes


def test_a_mask_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    write(tmp_path / "data", grey(0, 255))
    assert_read(opened(tmp_path / "data", cache=tmp_path / "cache"), expected())
    grey(0, 3)(trees.blob(1) // 255).save(tmp_path / "data/masks/cup/1.png")
    with pytest.raises(UserError, match="hold the values 3 and 255"):
        _ = opened(tmp_path / "data", cache=tmp_path / "cache").classes


def test_a_mask_that_changes_after_the_decision_is_never_read_otherwise(tmp_path: Path) -> None:
    write(tmp_path, grey(0, 255))
    domain = opened(tmp_path)
    item = domain.classes[0].items[1]
    grey(0, 1)(trees.blob(1) // 255).save(tmp_path / item.mask)
    with pytest.raises(UserError, match="was changed while it was read"):
        domain.truth(item)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pictures": {}, "masks": {"x": 1}}'])
def test_a_damaged_index_is_made_anew(tmp_path: Path, text: str) -> None:
    write(tmp_path / "data", grey(0, 255))
    _ = opened(tmp_path / "data", cache=tmp_path / "cache").classes
    (index,) = (tmp_path / "cache/masks").iterdir()
    index.write_text(text)
    assert_read(opened(tmp_path / "data", cache=tmp_path / "cache"), expected())
