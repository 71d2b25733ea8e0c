"""From trees like the official downloads to the published layouts, and back into the readers."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import DOMAINS, open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.prepare import work
from cdfss_bench.datasets.prepare.pictures import lossless
from cdfss_bench.datasets.prepare.plan import Made, Summary, Unit
from cdfss_bench.datasets.prepare.running import prepare
from cdfss_bench.errors import DataError, UserError

from ...support import downloads, trees

TILES = "Deepglobe/{}/test/origin/119_sat_{}.jpg"
MASKS = "Deepglobe/{}/test/groundtruth/119_sat_{}.png"


def tree(root: Path) -> dict[str, bytes]:
    """Every visible file under a root."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return downloads.zipped(downloads.deepglobe(), tmp_path_factory.mktemp("dg") / "archive.zip")


@pytest.fixture(scope="module")
def tiles(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    root = tmp_path_factory.mktemp("tiles")
    return root, prepare("deepglobe", root, [scenes])


# -- DeepGlobe -------------------------------------------------------------------------------------


def test_deepglobe_keeps_the_tiles_that_the_published_filter_keeps(
    tiles: tuple[Path, Summary],
) -> None:
    root, summary = tiles
    assert dict(summary.counts) == {
        "scenes": 1,
        "tiles kept": 3,
        "tiles of one colour, dropped": 31,
        "tiles with a sliver, dropped": 2,
        "1 agriculture": 1,
        "2 urban": 1,
        "3 rangeland": 1,
        "4 forest": 2,
        "5 water": 2,
        "6 barren": 2,
    }
    kept = {
        (path.parts[-4], path.stem.removeprefix("119_sat_"))
        for path in (root / "Deepglobe").glob("*/test/origin/*.jpg")
    }
    six = {(str(number), "00") for number in range(1, 7)}
    assert kept == six | {("4", "01"), ("5", "01"), ("6", "03")}
    assert summary.profile == "partial: 9 of 20542 images"
    assert summary.problems == []


def test_deepglobe_tiles_are_the_pixels_of_the_scene_and_masks_those_of_one_colour(
    tiles: tuple[Path, Summary],
) -> None:
    root, _ = tiles
    data = downloads.deepglobe()["train/119_sat.jpg"]
    (root / "whole.jpg").write_bytes(data)
    whole = np.asarray(Image.open(root / "whole.jpg"))
    for folder in range(1, 7):
        tile = np.asarray(Image.open(root / TILES.format(folder, "00")))
        assert (tile == whole[:408, :408]).all()
        mask = np.asarray(Image.open(root / MASKS.format(folder, "00")).convert("L"))
        rows = np.flatnonzero((mask == 255).all(axis=1))
        assert (rows[0], rows[-1], mask.sum() // 255) == (
            (folder - 1) * 68, folder * 68 - 1, 68 * 408,
        )  # fmt: skip
    tile = np.asarray(Image.open(root / TILES.format(6, "03")))
    assert (tile == whole[:408, 3 * 408 : 4 * 408]).all()


def test_deepglobe_as_published_is_jpeg_once_more(scenes: Path, tmp_path: Path) -> None:
    summary = prepare("deepglobe", tmp_path, [scenes], {"tiles": "as-published"})
    image = Image.open(tmp_path / TILES.format(1, "00"))
    assert (image.format, image.size) == ("JPEG", (408, 408))
    assert summary.counts["tiles kept"] == 3


def test_what_deepglobe_leaves_out_is_said(tiles: tuple[Path, Summary]) -> None:
    odd = tiles[1].odd
    assert len(odd) == 2
    assert odd[0].startswith("1 scenes of 'test' have no mask")
    assert odd[1].startswith("1 scenes of 'valid' have no mask")


def test_deepglobe_colours_of_no_class_and_wrong_sizes_are_named(tmp_path: Path) -> None:
    files = downloads.deepglobe((7, 8))
    mask = downloads.scene({(0, 0): (("forest", 200), ("water", 208))})
    mask[:100, 408:816] = (1, 254, 3)
    files["train/7_mask.png"] = downloads.png(mask)
    files["train/8_sat.jpg"] = downloads.jpg(np.zeros((100, 120, 3), np.uint8))
    source = downloads.unpacked(files, tmp_path / "from")
    summary = prepare("deepglobe", tmp_path / "to", [source])
    assert [o for o in summary.odd if "no class's colour" in o] == [
        (
            "train/7_mask.png has 40800 pixels of no class's colour; "
            "as published they belong to no class and count as a colour of their own"
        )
    ]
    assert summary.problems == [
        f"{source}/train/8_sat.jpg is 120x100, DeepGlobe's scenes are 2448x2448"
    ]
    assert summary.counts["tiles kept"] == 2  # (0, 0), and (0, 1) with 24 % of the strange colour


def test_deepglobe_survives_more_than_256_colours(tmp_path: Path) -> None:
    files = downloads.deepglobe((7,))
    mask = downloads.scene({})
    noise = np.random.RandomState(0).randint(0, 256, (408, 408, 3)).astype(np.uint8)
    mask[:408, :408] = noise
    files["train/7_mask.png"] = downloads.png(mask)
    source = downloads.unpacked(files, tmp_path / "from")
    summary = prepare("deepglobe", tmp_path / "to", [source])
    assert summary.counts["tiles with a sliver, dropped"] == 1
    assert summary.problems == ["no DeepGlobe land cover under " + str(tmp_path / "to") + (
        ": expected\n    " + "\n    ".join(DOMAINS.card("deepglobe").layout.splitlines())
    )]  # fmt: skip


def test_lossless_pictures_are_read_back_and_do_not_depend_on_a_compressor() -> None:
    import hashlib
    import io

    noise = np.random.RandomState(1)
    for shape in ((408, 408, 3), (3, 5, 3), (7, 9)):
        pixels = noise.randint(0, 256, shape).astype(np.uint8)
        assert (np.asarray(Image.open(io.BytesIO(lossless(pixels)))) == pixels).all()
    mask = noise.randint(0, 2, (5, 13)).astype(bool)
    assert (np.asarray(Image.open(io.BytesIO(lossless(mask))).convert("L")) == mask * 255).all()
    data = lossless(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    assert hashlib.sha256(data).hexdigest()[:16] == "bc174d682fa5422e"


@pytest.mark.shared
def test_the_real_tiles_of_three_scenes_are_those_of_the_published_rule(
    shared: Path, tmp_path: Path
) -> None:
    import csv

    home = shared / "real" / "Deepglobe"
    with (home / "tiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    (tmp_path / "train").mkdir()
    for scene in ("119", "855", "6399"):
        for kind, suffix in (("sat", "jpg"), ("mask", "png")):
            whole = np.zeros((2448, 2448, 3), np.uint8)
            for place in range(36):
                i, j = divmod(place, 6)
                tile = Image.open(home / "tiles" / f"{scene}_{kind}_{i}{j}.{suffix}")
                part = np.asarray(tile.convert("RGB"))
                whole[i * 408 : i * 408 + 408, j * 408 : j * 408 + 408] = part
            (tmp_path / "train" / f"{scene}_{kind}.png").write_bytes(lossless(whole))
    prepare("deepglobe", tmp_path / "to", [tmp_path / "train"])
    shares = [key for key in rows[0] if key.startswith("share_")]
    expected = {
        (str(place + 1), row["tile"].replace("_", "_sat_"))
        for row in rows
        if row["patnet_rule"] == "1"
        for place, key in enumerate(shares)
        if float(row[key]) > 0
    }
    made = (tmp_path / "to" / "Deepglobe").glob("*/test/origin/*")
    assert {(path.parts[-4], path.stem) for path in made} == expected
    assert len(expected) == 84


# -- ISIC ------------------------------------------------------------------------------------------


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    """Both official archives and the class table in one folder, as `data fetch` leaves them."""
    folder = tmp_path / "isic"
    downloads.zipped(downloads.isic_images(), folder / "ISIC2018_Task1-2_Training_Input.zip")
    downloads.zipped(downloads.isic_masks(), folder / "ISIC2018_Task1_Training_GroundTruth.zip")
    (folder / "isic_class_id.csv").write_bytes(downloads.class_table())
    return folder


def test_isic_is_split_in_the_pinned_order_and_files_are_unchanged(
    isic: Path, tmp_path: Path
) -> None:
    summary = prepare("isic", tmp_path / "to", [isic])
    made = tree(tmp_path / "to")
    places = {"ISIC_0000000": 1, "ISIC_0000002": 3, "ISIC_0000011": 1, "ISIC_0000012": 2}
    images = {f"{trees.ISIC_IMAGES}/{place}/{name}.jpg" for name, place in places.items()}
    masks = {f"{trees.ISIC_MASKS}/{name}_segmentation.png" for name in places}
    assert set(made) == images | masks | {"ISIC/class_id.csv"}
    first = "ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg"
    assert made[f"{trees.ISIC_IMAGES}/1/ISIC_0000000.jpg"] == downloads.isic_images()[first]
    assert made["ISIC/class_id.csv"] == downloads.class_table()
    assert summary.problems == []
    assert "folders: 1 nevus, 2 seborrheic_keratosis, 3 melanoma" in summary.odd
    names = [entry.name for entry in open_domain("isic", tmp_path / "to").classes]
    assert names == ["nevus", "seborrheic_keratosis", "melanoma"]


def test_isic_in_another_order_is_named_so_by_the_reader(isic: Path, tmp_path: Path) -> None:
    order = "seborrheic_keratosis,nevus,melanoma"
    prepare("isic", tmp_path / "to", [isic], {"order": order})
    domain = open_domain("isic", tmp_path / "to")
    assert [entry.name for entry in domain.classes] == order.split(",")


@pytest.mark.parametrize("order", ["nevus", "nevus,nevus,melanoma", "a,b,c", ""])
def test_an_order_that_does_not_name_each_class_once_is_refused(
    isic: Path, tmp_path: Path, order: str
) -> None:
    with pytest.raises(DataError, match="does not name each class once"):
        prepare("isic", tmp_path / "to", [isic], {"order": order})


def test_the_class_table_may_be_named_and_is_needed(isic: Path, tmp_path: Path) -> None:
    table = (isic / "isic_class_id.csv").rename(tmp_path / "my table.csv")
    with pytest.raises(DataError, match="class table is missing") as caught:
        prepare("isic", tmp_path / "to", [isic])
    assert "--classes FILE" in (caught.value.hint or "")
    assert prepare("isic", tmp_path / "to", [isic], lists=[table]).counts["1 nevus"] == 2


def test_unpaired_and_unlisted_lesions_are_problems_and_the_rest_is_made(
    isic: Path, tmp_path: Path
) -> None:
    images = downloads.isic_images()
    images["ISIC2018_Task1-2_Training_Input/ISIC_0000099.jpg"] = downloads.jpg(trees.photo(9))
    images["ISIC2018_Task1-2_Training_Input/ISIC_0000098.jpg"] = downloads.jpg(trees.photo(8))
    masks = downloads.isic_masks()
    base = "ISIC2018_Task1_Training_GroundTruth"
    masks[f"{base}/ISIC_0000098_segmentation.png"] = downloads.png(trees.blob(8))
    masks[f"{base}/ISIC_0000097_segmentation.png"] = downloads.png(trees.blob(7))
    downloads.zipped(images, isic / "ISIC2018_Task1-2_Training_Input.zip")
    downloads.zipped(masks, isic / "ISIC2018_Task1_Training_GroundTruth.zip")
    summary = prepare("isic", tmp_path / "to", [isic])
    assert [problem.partition(": ")[2].partition("/")[2] for problem in summary.problems] == [
        "ISIC_0000098.jpg is not in the class table "
        + str(isic / "isic_class_id.csv"),
        "ISIC_0000099.jpg has no mask ISIC_0000099_segmentation.png",
        "ISIC_0000097_segmentation.png has no image",
    ]  # fmt: skip
    assert summary.counts["1 nevus"] == 2


@pytest.mark.shared
def test_the_published_class_table_is_known_by_its_hash(
    shared: Path, isic: Path, tmp_path: Path
) -> None:
    table = shared / "lists" / "isic_class_id.csv"
    summary = prepare("isic", tmp_path / "to", [isic], lists=[table])
    assert not [odd for odd in summary.odd if "sha256 differs" in odd]
    other = prepare("isic", tmp_path / "to2", [isic])
    assert [odd for odd in other.odd if "sha256 differs" in odd]


# -- chest X-ray -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hospitals", "pairs"),
    [("shenzhen", {"Shenzhen": 3}), ("both", {"Shenzhen": 3, "Montgomery": 3})],
)
def test_chest_of_one_or_both_hospitals(
    tmp_path: Path, hospitals: str, pairs: dict[str, int]
) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / "from")
    summary = prepare("chestxray", tmp_path / "to", [source], {"hospitals": hospitals})
    assert dict(summary.counts) == pairs
    domain = open_domain("chestxray", tmp_path / "to", hospitals=hospitals)
    assert sum(domain.counts) == sum(pairs.values())
    assert summary.profile == f"partial: {sum(pairs.values())} of 566 images"
    films = tree(tmp_path / "to")
    source_films = downloads.chest()
    assert all(
        source_films[path.replace("LungSegmentation", "Lung Segmentation")] == data
        for path, data in films.items()
    )


def test_chest_copies_of_the_download_in_itself_are_harmless_and_named(tmp_path: Path) -> None:
    once = prepare(
        "chestxray", tmp_path / "1", [downloads.zipped(downloads.chest(), tmp_path / "1.zip")]
    )
    twice = prepare(
        "chestxray", tmp_path / "2",
        [downloads.zipped(downloads.chest(twice=True), tmp_path / "2.zip")],
    )  # fmt: skip
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert once.fingerprint == twice.fingerprint
    assert any("stand in several folders" in odd for odd in twice.odd)
    assert "2 films have no mask and are left out" in once.odd
    assert any("CHNCXR_0099_1.png" in odd for odd in once.odd)


def test_a_mask_without_a_film_is_a_problem(tmp_path: Path) -> None:
    files = downloads.chest()
    del files["Lung Segmentation/CXR_png/CHNCXR_0004_0.png"]
    source = downloads.unpacked(files, tmp_path / "from")
    summary = prepare("chestxray", tmp_path / "to", [source])
    assert summary.problems == [
        f"{source}/Lung Segmentation/masks/CHNCXR_0004_0_mask.png has no film CHNCXR_0004_0.png"
    ]
    assert summary.counts["Shenzhen"] == 2


# -- FSS-1000 --------------------------------------------------------------------------------------


@pytest.fixture
def flawed(tmp_path: Path) -> Path:
    top = "fewshot_data/fewshot_data"
    files = downloads.fss(top, ("bus", "arrow", "peregine_falcon"))
    files[f"{top}/bus/10.jpeg"] = files.pop(f"{top}/bus/10.jpg")
    files[f"{top}/arrow/4.jpeg"] = files[f"{top}/arrow/4.jpg"]
    files[f"{top}/arrow/3.png"] = downloads.png(trees.blob(3, 62, 36))
    grey = np.random.RandomState(0).randint(60, 200, (28, 40, 3)).astype(np.uint8)
    files[f"{top}/peregine_falcon/8.png"] = downloads.png(grey)
    return downloads.zipped(files, tmp_path / "fss.zip")


def test_fss_defects_are_named_and_kept(flawed: Path, tmp_path: Path) -> None:
    summary = prepare("fss1000", tmp_path / "to", [flawed])
    assert summary.odd[1:] == [
        "arrow/3.png is 62x36, its image 40x28: it is kept",
        "arrow: stray 4.jpeg beside 4.jpg is left out",
        "bus: stray 10.jpeg in place of 10.jpg is left out",
        "bus: 10.jpg is missing; the published loader, which draws 1 to 10, fails on this class",
        (
            "peregine_falcon/8.png is a photograph in place of a mask; "
            "nobody published the right one, so it is kept"
        ),
    ]
    assert summary.counts == {"classes": 3, "pairs": 29}
    assert Image.open(tmp_path / "to/FSS-1000/arrow/3.png").size == (62, 36)


def test_fss_defects_are_corrected_where_they_can_be(flawed: Path, tmp_path: Path) -> None:
    summary = prepare("fss1000", tmp_path / "to", [flawed], {"defects": "repair"})
    assert "bus: 10.jpeg is taken for the missing 10.jpg" in summary.odd
    assert "arrow/3.png is 62x36, its image 40x28: it is brought to that size" in summary.odd
    assert summary.counts == {"classes": 3, "pairs": 30}
    mask = Image.open(tmp_path / "to/FSS-1000/arrow/3.png")
    assert mask.size == (40, 28)
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    assert (tmp_path / "to/FSS-1000/bus/10.jpg").is_file()


def test_an_fss_class_without_a_pair_of_ours_is_a_problem(tmp_path: Path) -> None:
    files = downloads.fss("top", ("bus",))
    for number in range(1, 11):
        files[f"top/abacus/{number}.jpg"] = downloads.jpg(trees.photo(number))
        files[f"top/ab_wheel/image{number}.png"] = downloads.png(trees.photo(number))
    summary = prepare("fss1000", tmp_path / "to", [downloads.unpacked(files, tmp_path / "from")])
    assert "class ab_wheel is not called 1 to 10 with .jpg and .png" in summary.problems[0]
    assert "class abacus has no pair" in summary.problems[1]


# -- SUIM and Kvasir-SEG, and upper-case suffixes --------------------------------------------------


def shouting(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same download with `.JPG` and `.PNG`, as cameras and Windows write them."""
    loud = (".jpg", ".png", ".bmp")
    return {
        path[:-4] + path[-4:].upper() if path.endswith(loud) else path: data
        for path, data in files.items()
    }


def kvasir() -> dict[str, bytes]:
    return {
        f"Kvasir-SEG/{part}/cju{number}.jpg": downloads.jpg(picture)
        for number in range(3)
        for part, picture in (
            ("images", trees.photo(number)), ("masks", trees.as_rgb(trees.blob(number)))
        )
    }  # fmt: skip


def suim() -> dict[str, bytes]:
    colours = np.zeros((28, 40, 3), np.uint8)
    colours[:10, :10] = (255, 255, 0)
    colours[:10, 20:] = (250, 3, 250)  # compression moved it a little
    return {
        "train_val/images/d_r_1_.jpg": downloads.jpg(trees.photo(1)),
        "train_val/masks/d_r_1_.bmp": downloads.png(colours),
        "TEST/images/f_r_2_.jpg": downloads.jpg(trees.photo(2)),
        "TEST/masks/f_r_2_.bmp": downloads.png(np.full((28, 40, 3), 255, np.uint8)),
        "TEST/masks/FV/f_r_2_.bmp": downloads.png(trees.blob(1)),
    }


def test_suim_masks_are_split_by_colour(tmp_path: Path) -> None:
    summary = prepare("suim", tmp_path / "to", [downloads.zipped(suim(), tmp_path / "SUIM.zip")])
    assert summary.counts == {"images": 2, "FV": 1, "RI": 1, "SR": 1}
    mask = Image.open(tmp_path / "to/SUIM/masks/RI/d_r_1_.png").convert("L")
    assert np.asarray(mask).sum() == 255 * 10 * 20
    domain = open_domain("suim", tmp_path / "to")
    assert [(entry.id, entry.name) for entry in domain.classes] == [(0, "FV"), (3, "RI"), (5, "SR")]
    assert any("TEST/masks/FV" in odd for odd in summary.odd)


@pytest.mark.shared
def test_real_suim_pictures_are_prepared_and_sound(shared: Path, tmp_path: Path) -> None:
    summary = prepare("suim", tmp_path, [shared / "real" / "SUIM"])
    assert summary.counts == {"images": 8, "FV": 4, "HD": 6, "RI": 7, "RO": 2, "WR": 2}
    report = check_domain("suim", tmp_path, full=True)
    assert report.usable
    assert {finding.kind for finding in report.findings} == {"small class"}


def test_kvasir_is_copied_and_read(tmp_path: Path) -> None:
    files = {**kvasir(), "Kvasir-SEG/kavsir_bboxes.json": b"{}"}
    summary = prepare("kvasir", tmp_path, [downloads.zipped(files, tmp_path / "kvasir-seg.zip")])
    assert summary.counts == {"pairs": 3}
    assert summary.profile == "partial: 3 of 1000 images"
    assert len(open_domain("kvasir", tmp_path).episodes(shots=1)) == 600


@pytest.mark.parametrize("name", ["kvasir", "suim", "fss1000", "isic", "chestxray", "pascal"])
def test_large_suffixes_become_those_of_the_published_layout(tmp_path: Path, name: str) -> None:
    files = {
        "kvasir": kvasir, "suim": suim, "fss1000": downloads.fss, "chestxray": downloads.chest,
        "isic": lambda: {**downloads.isic_images(), **downloads.isic_masks(),
                         "class_id.csv": downloads.class_table()},
        "pascal": lambda: {**downloads.voc(), **downloads.sbd(),
                           **downloads.fold_lists(tmp_path / "scratch")},
    }[name]()  # fmt: skip
    trees_made: list[set[str]] = []
    for loud, part in ((shouting(files), "loud"), (files, "plain")):
        source = downloads.unpacked(loud, tmp_path / f"from {part}")
        summary = prepare(name, tmp_path / part, [source])
        assert not summary.problems
        trees_made.append(set(tree(tmp_path / part)))
    assert trees_made[0] == trees_made[1]
    assert (
        open_domain(name, tmp_path / "loud").counts == open_domain(name, tmp_path / "plain").counts
    )


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("images/cju0.JPG", "have one published name"),
        ("images/cju7.png", "cju7.png is no file of the published layout"),
        ("masks/cju7.png", "cju7.png is no file of the published layout"),
    ],
)
def test_a_picture_whose_name_does_not_fit_is_a_problem(
    tmp_path: Path, extra: str, sentence: str
) -> None:
    encode = downloads.png if extra.endswith("png") else downloads.jpg
    files = {**kvasir(), f"Kvasir-SEG/{extra}": encode(trees.photo(9))}
    summary = prepare("kvasir", tmp_path / "to", [downloads.unpacked(files, tmp_path / "from")])
    (problem,) = summary.problems
    assert sentence in problem


# -- PASCAL VOC ------------------------------------------------------------------------------------


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    folder = tmp_path / "voc"
    downloads.tarred(downloads.voc(), folder / "VOCtrainval_11-May-2012.tar")
    downloads.tarred(downloads.sbd(), folder / "benchmark.tgz")
    return downloads.unpacked(downloads.fold_lists(tmp_path / "scratch"), folder)


def test_pascal_takes_vocs_masks_and_then_sbds(voc: Path, tmp_path: Path) -> None:
    summary = prepare("pascal", tmp_path / "to", [voc])
    assert summary.counts["masks"] == 11
    assert "6 masks are those of VOC's SegmentationClass" in summary.odd
    assert "5 masks are those of SBD" in summary.odd
    assert "1 photographs have no mask and are left out" in summary.odd
    every = {**trees.TRAINING, **trees.VALIDATION}
    for place, (name, labels) in enumerate(every.items()):
        expected = trees.label_map(labels)
        if place % 2:
            expected[expected == 255] = 0
        path = tmp_path / "to" / trees.VOC / "SegmentationClassAug" / f"{name}.png"
        assert (np.asarray(Image.open(path)) == expected).all()
    domain = open_domain("pascal", tmp_path / "to")
    trees.write_pascal(tmp_path / "other")
    assert domain.counts == open_domain("pascal", tmp_path / "other").counts


def test_a_ready_made_folder_of_masks_comes_first(voc: Path, tmp_path: Path) -> None:
    name, labels = next(iter(trees.TRAINING.items()))
    own = downloads.palette_png(trees.label_map(labels)[::-1])
    downloads.zipped({f"SegmentationClassAug/{name}.png": own}, voc / "SegmentationClassAug.zip")
    prepare("pascal", tmp_path / "to", [voc])
    path = tmp_path / "to" / trees.VOC / "SegmentationClassAug" / f"{name}.png"
    assert path.read_bytes() == own


def test_pascal_without_lists_says_how_to_get_them(tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.voc(), tmp_path / "voc")
    with pytest.raises(DataError, match=r"fold list trn/fold0\.txt is missing") as caught:
        prepare("pascal", tmp_path / "to", [source])
    assert "data fetch pascal" in (caught.value.hint or "")


@pytest.mark.shared
def test_the_published_fold_lists_are_known_by_their_hashes(shared: Path, tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.voc(), tmp_path / "voc")
    summary = prepare("pascal", tmp_path / "to", [source], lists=[shared / "lists"])
    assert not [odd for odd in summary.odd if "sha256 differs" in odd]


# -- the same for all ------------------------------------------------------------------------------


def test_the_same_command_again_makes_nothing_and_says_the_same(isic: Path, tmp_path: Path) -> None:
    first = prepare("isic", tmp_path / "to", [isic])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*.jpg")}
    again = prepare("isic", tmp_path / "to", [isic])
    assert (again.made, again.kept) == (0, first.made)
    assert {**again.to_json(), "made": 0, "kept": 0} == {**first.to_json(), "made": 0, "kept": 0}
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "to").rglob("*.jpg")} == before


def test_what_is_missing_or_changed_is_made_again(isic: Path, tmp_path: Path) -> None:
    prepare("isic", tmp_path / "to", [isic])
    whole = tree(tmp_path / "to")
    (tmp_path / "to" / trees.ISIC_IMAGES / "1" / "ISIC_0000000.jpg").unlink()
    (tmp_path / "to" / trees.ISIC_MASKS / "ISIC_0000002_segmentation.png").write_bytes(b"short")
    summary = prepare("isic", tmp_path / "to", [isic])
    assert (summary.made, summary.kept) == (2, 3)
    assert tree(tmp_path / "to") == whole


def test_a_process_that_died_is_resumed(
    isic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("isic", tmp_path / "undisturbed", [isic])
    write = work._Writer.write  # pyright: ignore[reportPrivateUsage]

    def dies(self: object, unit: Unit, made: Made, before: object) -> object:
        if unit.name == "ISIC_0000011.jpg":
            raise KeyboardInterrupt
        return write(self, unit, made, before)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(work._Writer, "write", dies)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(KeyboardInterrupt):
            prepare("isic", tmp_path / "to", [isic], workers=1)
    journal = tmp_path / "to" / "ISIC" / work.JOURNAL
    journal.write_text(journal.read_text() + '{"unit": "ISIC_00')  # killed while it wrote
    (tmp_path / "to" / "ISIC" / ".making").mkdir(exist_ok=True)
    (tmp_path / "to" / "ISIC" / ".making" / "draft").write_bytes(b"half")
    summary = prepare("isic", tmp_path / "to", [isic])
    assert summary.kept >= 1
    assert summary.made >= 1
    assert tree(tmp_path / "to") == tree(tmp_path / "undisturbed")
    assert not (tmp_path / "to" / "ISIC" / ".making").exists()
    assert prepare("isic", tmp_path / "to", [isic]).made == 0


def test_trees_of_different_recipes_are_not_mixed(isic: Path, tmp_path: Path) -> None:
    prepare("isic", tmp_path, [isic])
    with pytest.raises(UserError, match="was prepared differently") as caught:
        prepare("isic", tmp_path, [isic], {"order": "melanoma,nevus,seborrheic_keratosis"})
    assert "order: nevus,seborrheic_keratosis,melanoma there" in caught.value.problem


def test_a_tree_that_somebody_else_made_is_not_touched(isic: Path, tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    before = tree(tmp_path / "ISIC")
    with pytest.raises(UserError, match="which data prepare did not make"):
        prepare("isic", tmp_path, [isic])
    assert tree(tmp_path / "ISIC") == before


def test_a_damaged_picture_is_named_and_the_rest_is_made(isic: Path, tmp_path: Path) -> None:
    images = downloads.isic_images()
    name = "ISIC2018_Task1-2_Training_Input/ISIC_0000002.jpg"
    images[name] = images[name][: len(images[name]) // 2]
    downloads.zipped(images, isic / "ISIC2018_Task1-2_Training_Input.zip")
    summary = prepare("isic", tmp_path / "to", [isic])
    (problem,) = summary.problems
    assert problem.partition("/ISIC_0000002.jpg")[2].startswith(" is not a readable image (")
    assert summary.made == 4
    downloads.zipped(downloads.isic_images(), isic / "ISIC2018_Task1-2_Training_Input.zip")
    corrected = prepare("isic", tmp_path / "to", [isic])
    assert (corrected.made, corrected.kept, corrected.problems) == (1, 4, [])


def test_equal_pictures_are_named(isic: Path, tmp_path: Path) -> None:
    images = downloads.isic_images()
    folder = "ISIC2018_Task1-2_Training_Input"
    images[f"{folder}/ISIC_0000011.jpg"] = images[f"{folder}/ISIC_0000000.jpg"]
    downloads.zipped(images, isic / f"{folder}.zip")
    summary = prepare("isic", tmp_path / "to", [isic])
    assert "the same picture under 2 names: ISIC_0000000.jpg, ISIC_0000011.jpg" in summary.odd


@pytest.mark.parametrize("name", ["a space", "[brackets]", "Größe", "日本", "*?"])
def test_any_name_of_download_and_root_will_do(tmp_path: Path, name: str) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / name / "from")
    summary = prepare("chestxray", tmp_path / name / "to", [source])
    assert summary.counts["Shenzhen"] == 3
    packed = downloads.zipped(downloads.chest(), tmp_path / f"{name}.zip")
    again = prepare("chestxray", tmp_path / name / "to2", [packed])
    assert again.fingerprint == summary.fingerprint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_root_is_one_sentence(tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / "from")
    (tmp_path / "to").mkdir(mode=0o555)
    with pytest.raises(UserError, match="may not be written"):
        prepare("chestxray", tmp_path / "to", [source])


def test_a_read_only_download_is_enough(tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / "from")
    for path in (*source.rglob("*"), source):
        path.chmod(path.stat().st_mode & 0o555)
    assert prepare("chestxray", tmp_path / "to", [source]).counts["Shenzhen"] == 3
    for path in (source, *source.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def test_a_disk_too_small_is_refused_before_anything_is_written(
    isic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "free_bytes", lambda _place: 10)
    with pytest.raises(UserError, match=r"about .* [kM]B are .*, 10 bytes are free"):
        prepare("isic", tmp_path / "to", [isic])
    assert tree(tmp_path / "to") == {}


def test_links_instead_of_copies(tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / "from")
    prepare("chestxray", tmp_path / "to", [source], link=True)
    name = "CXR_png/CHNCXR_0003_1.png"
    assert (tmp_path / "to" / "LungSegmentation" / name).samefile(
        source / "Lung Segmentation" / name
    )


def test_another_download_is_answered_with_what_it_holds(tmp_path: Path) -> None:
    source = downloads.unpacked(downloads.chest(), tmp_path / "from")
    with pytest.raises(DataError, match=r"no image ISIC_<id>\.jpg in the download of ISIC 2018"):
        prepare("isic", tmp_path / "to", [source])


def test_without_a_download_the_command_that_gets_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare("isic", tmp_path)
    assert f"data fetch isic --data-root {tmp_path}" in (caught.value.hint or "")
    with pytest.raises(UserError, match="needs no preparation"):
        prepare("mini-chest", tmp_path)


def test_the_usual_folder_of_downloads_is_looked_into(isic: Path, tmp_path: Path) -> None:
    (tmp_path / "to" / "downloads").mkdir(parents=True)
    isic.rename(tmp_path / "to" / "downloads" / "isic")
    assert prepare("isic", tmp_path / "to").counts["1 nevus"] == 2


def test_the_number_of_workers_changes_nothing(isic: Path, tmp_path: Path) -> None:
    one = prepare("isic", tmp_path / "1", [isic], workers=1)
    many = prepare("isic", tmp_path / "8", [isic], workers=8)
    assert tree(tmp_path / "1") == tree(tmp_path / "8")
    assert json.dumps({**one.to_json(), "folder": ""}) == json.dumps(
        {**many.to_json(), "folder": ""}
    )
