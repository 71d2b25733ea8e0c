"""Own pictures without a line of code: layouts, names of classes and of the data, places."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import DOMAINS, Domain, open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.datasets.core.transforms import resized_labels
from cdfss_bench.errors import DataError

from ...support import trees
from ...support.opened import opened, refused


def two_labels(key: int) -> trees.Pixels:
    """A label map of a cup (1) and a plate (2)."""
    found = trees.blob(key) // 255
    found[-6:, -12:] = 2
    return found


# -- class folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [".", "mugs", "my mugs/[new] ü"])
def test_class_folders_are_classes_and_every_image_is_asked(tmp_path: Path, path: str) -> None:
    trees.write_folder(tmp_path / path, ("dog", "cat"))
    domain = open_domain("folder", tmp_path, path=path)
    assert [(entry.id, entry.name) for entry in domain.classes] == [(0, "cat"), (1, "dog")]
    assert domain.profile == "own: 12 images of 2 classes"
    assert domain.is_complete
    manifest = domain.episodes(shots=5, protocol="strict")
    assert len(manifest) == 12
    assert len({episode.query for episode in manifest}) == 12
    tensors = domain.load(manifest[0])
    assert tensors.support_masks.shape == (5, 400, 400)


def test_masks_of_one_and_zero_are_read_as_they_are(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("cat",))
    for number, path in enumerate(sorted((tmp_path / "masks/cat").iterdir())):
        (trees.save_labels if number % 2 else trees.save)(path, trees.blob(number) // 255)
    domain = open_domain("folder", tmp_path, cache=None)
    zero, one = domain.classes[0].items[:2]
    assert domain.truth(zero).any()
    assert domain.truth(one).any()
    findings = check_domain("folder", tmp_path, full=True).findings
    assert [finding.kind for finding in findings if finding.kind in ("values", "empty")] == []


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "PNG", "bmp", "tif", "webp"])
def test_any_suffix_of_a_picture_will_do(tmp_path: Path, suffix: str) -> None:
    trees.write_pairs(tmp_path, f"images/cat/{{}}.{suffix}", "masks/cat/{}.png", 2)
    (tmp_path / "images/cat/notes.txt").write_text("mine")
    assert open_domain("folder", tmp_path).counts == (2,)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", " ", "\udcff"])
def test_a_class_that_no_table_can_show_is_refused(tmp_path: Path, name: str) -> None:
    trees.write_folder(tmp_path, ("cat", "dog"))
    for place in ("images", "masks"):
        (tmp_path / place / "cat").rename(tmp_path / place / name)
    with pytest.raises(DataError, match="which a table cannot show") as caught:
        _ = open_domain("folder", tmp_path, cache=None).classes
    assert caught.value.problem.isprintable()
    assert caught.value.hint


def test_an_image_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("cat",))
    for place in ("images/cat", "masks/cat"):
        first = min((tmp_path / place).iterdir())
        first.rename(first.with_stem("\udcff"))
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        _ = open_domain("folder", tmp_path, cache=None).classes
    assert caught.value.problem.isprintable()


def test_without_folders_the_layout_is_shown(tmp_path: Path) -> None:
    report = check_domain("folder[path=nowhere]", tmp_path, full=False)
    assert not report.usable
    assert "images/<class>/<name>.jpg" in report.findings[0].problem
    assert "name their folder" in report.findings[0].hint


# -- suites and rights -----------------------------------------------------------------------------


def test_further_domains_are_not_in_the_suite_of_the_field() -> None:
    extra = {name for name in DOMAINS.names() if DOMAINS.card(name).suite == "extra"}
    assert extra == {"coco", "folder"}
    extended = {name for name in DOMAINS.names() if DOMAINS.card(name).suite == "extended"}
    assert extended == {*trees.EXTENDED}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_root_can_be_evaluated_on(tmp_path: Path) -> None:
    trees.write_folder(tmp_path / "data", ("cat",))
    for path in (*(tmp_path / "data").rglob("*"), tmp_path / "data"):
        path.chmod(path.stat().st_mode & 0o555)
    domain = open_domain("folder", tmp_path / "data")
    assert domain.load(domain.episodes(shots=1)[0]).query_mask.any()
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


# -- layouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "masks"), [("images", "masks"), ("img", "labels"), ("JPEGImages", "GT")]
)
def test_two_folders_are_recognised(tmp_path: Path, images: str, masks: str) -> None:
    trees.write_pairs(tmp_path, f"{images}/{{}}.jpg", f"{masks}/{{}}.png")
    domain = opened("folder", tmp_path)
    assert [(c.name, len(c.items)) for c in domain.classes] == [("object", 3)]
    wanted = resized_labels(trees.blob(1) // 255, 400)
    assert np.array_equal(domain.truth(domain.classes[0].items[1]), wanted)


def test_of_several_folders_of_masks_one_must_be_named(tmp_path: Path) -> None:
    trees.write_pairs(tmp_path, "images/{}.jpg", "gt/{}.png")
    for number in range(3):
        trees.save(tmp_path / f"labels/{number}.png", trees.blob(number + 1))
    assert "several folders of masks: gt, labels" in refused("folder", tmp_path).problem
    domain = opened("folder", tmp_path, masks="labels")
    wanted = resized_labels(trees.blob(1) // 255, 400)
    assert np.array_equal(domain.truth(domain.classes[0].items[0]), wanted)
    assert "holds no folder lables" in refused("folder", tmp_path, masks="lables").problem


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/{}.png", ("masks/a.png", "masks/b.png")),  # Data Science Bowl 2018
        ("image.jpg", ("mask.png",)),
        ("{}.jpg", ("{}_mask.png",)),
        ("img.png", ("label.png",)),
        ("image.png", ("mask_0.png", "mask_1.png", "mask_2.png")),
    ],
)
def test_a_folder_per_image_is_recognised(
    tmp_path: Path, image: str, masks: tuple[str, ...]
) -> None:
    for number in range(3):
        folder = tmp_path / f"id{number}"
        trees.save(folder / image.format(folder.name), trees.photo(number))
        for place, mask in enumerate(masks):
            trees.save(folder / mask.format(folder.name), trees.blob(number + 3 * place))
    domain = opened("folder", tmp_path)
    union = np.max([trees.blob(1 + 3 * place) for place in range(len(masks))], axis=0) // 255
    (found,) = domain.classes
    assert [item.name for item in found.items] == [
        f"id{number}/{image.format(f'id{number}')}" for number in range(3)
    ]
    assert np.array_equal(domain.truth(found.items[1]), resized_labels(union, 400))
    before = domain.fingerprint
    trees.save(tmp_path / "id2" / masks[-1].format("id2"), trees.blob(7))
    assert opened("folder", tmp_path).fingerprint != before


def test_a_folder_without_its_mask_is_named(tmp_path: Path) -> None:
    for number in range(2):
        trees.save(tmp_path / f"id{number}/image.png", trees.photo(number))
    trees.save(tmp_path / "id0/mask.png", trees.blob(0))
    assert f"{tmp_path / 'id1'} holds no mask of image.png" in refused("folder", tmp_path).problem
    trees.save(tmp_path / "id1/scan.png", trees.photo(3))
    assert "there is image.png and scan.png" in refused("folder", tmp_path).problem


def test_groups_never_lend_a_support_to_their_own_queries(tmp_path: Path) -> None:
    trees.write_folder(tmp_path, ("scene1", "scene2"))
    domain = opened("folder", tmp_path, layout="groups")
    assert [c.name for c in domain.classes] == ["object"]
    for protocol in ("patnet", "strict"):
        for episode in domain.episodes(3, protocol=protocol):
            mine = episode.query.split("/")[1]
            assert mine not in {name.split("/")[1] for name in episode.supports}


# -- label maps ------------------------------------------------------------------------------------


def write_maps(root: Path) -> None:
    for number in range(3):
        trees.save(root / f"images/{number}.jpg", trees.photo(number))
        trees.save(root / f"masks/{number}.png", two_labels(number))


def names_of(domain: Domain) -> list[str]:
    return [entry.name for entry in domain.classes]


def test_every_value_is_a_class_where_that_is_said(tmp_path: Path) -> None:
    write_maps(tmp_path)
    assert "layout=flat" not in (refused("folder", tmp_path).hint or "")
    assert "labels=each" in (refused("folder", tmp_path).hint or "")
    domain = opened("folder", tmp_path, labels="each")
    assert names_of(domain) == ["1", "2"]
    for entry in domain.classes:
        wanted = resized_labels((two_labels(0) == int(entry.name)).astype(np.uint8), 400)
        assert np.array_equal(domain.truth(entry.items[0]), wanted)


def test_maps_without_background_have_classes_too(tmp_path: Path) -> None:
    for number in range(2):
        trees.save(tmp_path / f"images/{number}.jpg", trees.photo(number))
        trees.save(tmp_path / f"masks/{number}.png", trees.blob(number) // 255 + 1)
    assert names_of(opened("folder", tmp_path, labels="each")) == ["1", "2"]


def test_undecided_pixels_are_no_class(tmp_path: Path) -> None:
    write_maps(tmp_path)
    odd = two_labels(0)
    odd[0] = 255
    trees.save(tmp_path / "masks/0.png", odd)
    assert "labels=each,ignore=255" in (refused("folder", tmp_path).hint or "")
    assert "labels=each,ignore=255" in (refused("folder", tmp_path, labels="each").hint or "")
    domain = opened("folder", tmp_path, labels="each", ignore="255")
    assert names_of(domain) == ["1", "2"]
    assert domain.void_label == 255


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "0 background\n1 cup\n2 dinner plate\n"),
        ("classes.txt", "1: cup\n2, dinner plate\n9: spoon\n"),
        ("dataset.json", json.dumps({"labels": {"1": "cup", "2": "dinner plate"}})),
        ("dataset.json", json.dumps({"labels": {"background": 0, "cup": 1, "dinner plate": 2}})),
        ("my.json", json.dumps({"cup": 1, "dinner plate": 2})),
    ],
)
def test_a_file_names_the_classes(tmp_path: Path, file: str, text: str) -> None:
    write_maps(tmp_path)
    (tmp_path / file).write_text(text)
    options = {"names": file} if file == "my.json" else {}
    domain = opened("folder", tmp_path, **options)
    assert names_of(domain) == ["cup", "dinner plate"]
    before = domain.fingerprint
    (tmp_path / file).write_text(text.replace("cup", "mug"))
    assert opened("folder", tmp_path, **options).fingerprint != before


def test_colours_have_the_names_of_cvats_labelmap(tmp_path: Path) -> None:
    palette = np.array([(0, 0, 0), (250, 50, 83), (36, 179, 83)], np.uint8)
    for number in range(2):
        trees.save(tmp_path / f"JPEGImages/{number}.jpg", trees.photo(number))
        trees.save(tmp_path / f"SegmentationClass/{number}.png", palette[two_labels(number)])
    assert "colors=each" in (refused("folder", tmp_path).hint or "")
    assert names_of(opened("folder", tmp_path, colors="each")) == ["#24b353", "#fa3253"]
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:250,50,83::\nplate:36,179,83::\n"
    )
    assert names_of(opened("folder", tmp_path)) == ["plate", "cup"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cup\nplate\n", "the line 'cup' names no value"),
        ("1 cup\n1 plate\n", "the value 1 stands there twice"),
        ("1 cup\n2 cup\n", "two values the name 'cup'"),
        ("1 a+b\n", "holds one of"),
    ],
)
def test_a_file_of_names_in_doubt_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    write_maps(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    assert sentence in refused("folder", tmp_path).problem


# -- names and places ------------------------------------------------------------------------------


def test_an_absolute_path_needs_no_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDFSS_DATA_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    trees.write_folder(tmp_path / "mugs", ("red", "blue"))
    here = open_domain("folder", tmp_path, path="mugs", cache=None)
    for path in (str(tmp_path / "mugs"), str(tmp_path / "mugs") + "/", "~/mugs"):
        there = open_domain("folder", path=path, cache=None)
        assert (there.title, there.fingerprint) == (here.title, here.fingerprint)
        assert there.episodes(1).sha256 == here.episodes(1).sha256
        name, options = split_name(there.typed)
        assert open_domain(name, options=options, cache=None).fingerprint == here.fingerprint
    assert "folder[path=/...]" in (refused("folder", path="mugs").hint or "")


def test_coco_files_have_absolute_paths_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDFSS_DATA_ROOT", raising=False)
    trees.write_coco(tmp_path)
    domain = open_domain("coco", annotations=str(tmp_path / "annotations.json"), cache=None)
    assert domain.title == "coco"
    assert domain.fingerprint == open_domain("coco", tmp_path, cache=None).fingerprint


def test_a_name_is_the_title_and_leaves_the_data_the_same(tmp_path: Path) -> None:
    trees.write_folder(tmp_path / "mugs", ("red", "blue"))
    plain = opened("folder", tmp_path, path="mugs")
    named = opened("folder", tmp_path, path="mugs", name="Mugs 2.0")
    assert named.title == "Mugs 2.0"
    assert named.fingerprint == plain.fingerprint
    assert split_name(named.typed)[1] == {"path": "mugs", "name": "Mugs 2.0"}
    report = check_domain("folder[path=mugs,name=my mugs]", tmp_path, full=False)
    assert report.domain == "my mugs"


@pytest.mark.parametrize("name", ["isic", "ISIC", "mean", "a/b", "-x", "folder"])
def test_a_name_that_means_something_else_is_refused(tmp_path: Path, name: str) -> None:
    trees.write_folder(tmp_path, ("red",))
    with pytest.raises(DataError, match=f"name={name}"):
        opened("folder", tmp_path, name=name)


# -- a known download in its raw form --------------------------------------------------------------


def write_raw_suim(root: Path) -> None:
    colours = np.array(
        [(0, 0, 0), (255, 255, 0), (0, 0, 255), (255, 0, 255), (255, 255, 255)], np.uint8
    )
    for number in range(2):
        trees.save(root / f"images/d_r_{number}_.jpg", trees.photo(number))
        codes = (np.arange(trees.WIDTH * trees.HEIGHT) // 9 + number) % 5
        mask = colours[codes.reshape(trees.HEIGHT, trees.WIDTH)]
        (root / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / f"masks/d_r_{number}_.bmp")


@pytest.mark.parametrize("place", ["SUIM", "train_val", "SUIM/TEST", "."])
def test_the_raw_form_of_suim_is_named_with_the_command(tmp_path: Path, place: str) -> None:
    write_raw_suim(tmp_path / place)
    (finding,) = check_domain("suim", tmp_path, full=False).findings
    assert "raw form of SUIM" in finding.problem
    assert "cdfss-bench data prepare suim --from" in finding.hint
    if place == "SUIM":
        error = refused("folder", tmp_path, path=place)
        assert f"data prepare suim --from '{tmp_path / place}'" in (error.hint or "")
        assert len(opened("folder", tmp_path, path=place, colors="each").classes) == 4
