"""The further targets of 2025-26, on small trees in their official layouts, sound and damaged."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import DOMAINS, open_domain
from cdfss_bench.datasets.check.report import check_domain

from ...support import trees
from ...support.opened import opened, refused

STRICT = ("isaid", "nucleus", "pothole", "weedmap")
"""Those whose masks are decoded strictly."""

ISAID_MASK = "iSAID/val/semantic_png/P0003_0_256_0_256_instance_color_RGB.png"
A_MASK = {
    "isaid": ISAID_MASK,
    "nucleus": "Nucleus/stage1_train/01ab/masks/11cd.png",
    "pothole": "Pothole/masks/testing_pothole600_1.png",
    "weedmap": "WeedMap/003/groundtruth/003_frame0001_GroundTruth_iMap.png",
}
COUNTS = {
    "isaid": {"ship": 2, "small_vehicle": 2, "harbor": 2},
    "kvasir": {"polyp": 3},
    "nucleus": {"nucleus": 3},
    "pothole": {"pothole": 3},
    "suim": {"FV": 3, "SR": 3},
    "weedmap": {"crop": 6, "weed": 6},
}


@pytest.mark.parametrize("name", [*trees.EXTENDED])
def test_the_classes_of_a_sound_tree_are_found_and_its_episodes_load(
    tmp_path: Path, name: str
) -> None:
    trees.EXTENDED[name](tmp_path)
    domain = opened(name, tmp_path)
    assert {entry.name: len(entry.items) for entry in domain.classes} == COUNTS[name]
    manifest = domain.episodes(shots=1, length=2 * len(domain.classes))
    for episode in manifest:
        tensors = domain.load(episode)
        assert tensors.query_image.shape == (3, 400, 400)
        assert tensors.query_mask.any()
        assert not tensors.query_mask.all()
    assert len(domain.episodes(shots=1)) == DOMAINS.card(name).length


@pytest.mark.parametrize("name", [*trees.EXTENDED])
def test_a_full_check_finds_a_sound_tree_usable(tmp_path: Path, name: str) -> None:
    trees.EXTENDED[name](tmp_path)
    report = check_domain(name, tmp_path, full=True)
    assert report.usable
    assert {finding.kind for finding in report.findings} <= {"small class", "note", "stray"}
    assert report.to_text().count("not checked: ") == bool(DOMAINS.card(name).note)
    published = "none needed, published numbers have it too"
    assert not any(f.hint == published for f in report.findings if f.kind == "note")


@pytest.mark.parametrize("name", ["isaid", "pothole", "weedmap"])
def test_what_could_not_be_checked_stands_in_the_card(name: str) -> None:
    assert "could not be opened" in DOMAINS.card(name).note


@pytest.mark.parametrize("name", [*trees.EXTENDED])
def test_an_absent_domain_shows_its_layout(tmp_path: Path, name: str) -> None:
    assert "expected\n" in refused(name, tmp_path).problem


def stripe(value: int | tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A mask, in colours if `value` is one, with a stripe of `value`."""
    pixels = np.zeros((trees.HEIGHT, trees.WIDTH, *np.shape(value)), np.uint8)
    pixels[3:6] = value
    return pixels


@pytest.mark.parametrize(
    ("name", "pixels", "sentence"),
    [
        (name, pixels, sentence)
        for name, value in zip(STRICT, (16, 7, 128, 3), strict=True)
        for pixels, sentence in (
            (np.zeros((5, 7), np.uint8), "is 7x5 but its image"),
            (stripe(value), f"holds {value}, which is no value of"),
            (stripe((0x12, 0x34, 0x56)), "holds #123456, which is"),
            (trees.photo(3), "holds too many values for a mask"),
        )
    ],
)
def test_an_unsound_mask_is_refused_by_name(
    tmp_path: Path, name: str, pixels: np.ndarray[Any, np.dtype[np.uint8]], sentence: str
) -> None:
    trees.EXTENDED[name](tmp_path)
    trees.save(tmp_path / A_MASK[name], pixels)
    assert f"{A_MASK[name]} {sentence}" in refused(name, tmp_path).problem


@pytest.mark.parametrize("name", STRICT)
def test_a_damaged_mask_is_refused_by_name(tmp_path: Path, name: str) -> None:
    trees.EXTENDED[name](tmp_path)
    path = tmp_path / A_MASK[name]
    path.write_bytes(path.read_bytes()[:60])
    assert f"{A_MASK[name]} is not a readable image" in refused(name, tmp_path).problem


@pytest.mark.parametrize(
    ("name", "removed", "sentence"),
    [
        ("isaid", ISAID_MASK, "has no mask P0003_0_256_0_256_instance_color_RGB.png"),
        ("isaid", "iSAID/val/images/P0003_0_256_0_256.png", "belongs to no patch"),
        ("nucleus", "Nucleus/stage1_train/01ab/masks", "01ab.png has no mask in"),
        ("nucleus", "Nucleus/stage1_train/01ab/images/01ab.png", "needs one image images/01ab.png"),
        ("pothole", A_MASK["pothole"], "needs one mask testing_pothole600_1.png"),
        ("pothole", "Pothole/images/testing_pothole600_1.png", "belongs to no picture"),
        ("weedmap", "WeedMap/003/tile/RGB/frame0001.png", "belongs to no tile"),
        ("kvasir", "Kvasir-SEG/masks/cju1.jpg", "cju1.jpg has no mask cju1.jpg in"),
        ("suim", "SUIM/images/d_r_1_.jpg", "FV/d_r_1_.png has no image d_r_1_.jpg in"),
    ],
)
def test_a_file_without_its_partner_is_named(
    tmp_path: Path, name: str, removed: str, sentence: str
) -> None:
    trees.EXTENDED[name](tmp_path)
    path = tmp_path / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert sentence in refused(name, tmp_path).problem


@pytest.mark.parametrize("name", STRICT)
def test_the_fingerprint_changes_with_any_mask(tmp_path: Path, name: str) -> None:
    trees.EXTENDED[name](tmp_path)
    before = opened(name, tmp_path).fingerprint
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert opened(name, tmp_path / "moved").fingerprint == before
    with Image.open(tmp_path / A_MASK[name]) as image:
        codes = np.array(image)
    codes[-1, -1] = codes.max()
    Image.fromarray(codes).save(tmp_path / A_MASK[name])
    assert opened(name, tmp_path).fingerprint != before


# -- iSAID-5i ------------------------------------------------------------------------------------


def test_a_fold_of_isaid_has_its_five_classes(tmp_path: Path) -> None:
    trees.write_isaid(tmp_path)
    found = [[e.id for e in opened("isaid", tmp_path, fold=fold).classes] for fold in (0, 1, 2)]
    assert found == [[0], [8], [14]]
    assert opened("isaid", tmp_path, fold=1).title == "isaid[fold=1]"


def test_the_undecided_border_of_isaid_is_left_out(tmp_path: Path) -> None:
    trees.write_isaid(tmp_path)
    domain = opened("isaid", tmp_path)
    item = domain.classes[0].items[0]
    void = domain.undecided(item)
    assert void is not None
    assert void.any()
    assert not (void & domain.truth(item)).any()


def test_isaid_is_read_by_index_by_palette_and_by_colour_alike(tmp_path: Path) -> None:
    trees.write_isaid(tmp_path)
    domain = opened("isaid", tmp_path)
    truth = domain.truth(domain.classes[0].items[1])
    labels = np.asarray(Image.open(tmp_path / ISAID_MASK)).copy()
    trees.save_labels(tmp_path / ISAID_MASK, labels)
    again = opened("isaid", tmp_path)
    assert (again.truth(again.classes[0].items[1]) == truth).all()
    colours = np.zeros((*labels.shape, 3), np.uint8)
    colours[labels == 1], colours[labels == 9] = (0, 0, 63), (0, 0, 127)
    trees.save(tmp_path / ISAID_MASK, colours)
    again = opened("isaid", tmp_path)
    assert (again.truth(again.classes[0].items[1]) == truth).all()


@pytest.mark.parametrize("place", ["iSAID/splits", "splits/isaid", "lists/isaid"])
def test_the_lists_of_isaid_decide_where_they_are_at_hand(tmp_path: Path, place: str) -> None:
    trees.write_isaid(tmp_path)
    without = opened("isaid", tmp_path)
    assert without.counts == (2, 2, 2)
    assert list(without.notes) == [
        "no fold lists of iSAID-5i: a patch stands in each class it shows"
    ]
    trees.write_isaid_lists(
        tmp_path / place, {"P0003_0_256_0_256": (1,), "P0004_0_256_0_256": (9,)}
    )
    domain = opened("isaid", tmp_path)
    assert domain.counts == (1, 1)
    assert domain.notes == {}
    assert domain.fingerprint != without.fingerprint


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("P0003_0_256_0_256__07", "is not NAME__CC with a class of fold 0"),
        ("P0003_0_256_0_256__00", "is not NAME__CC"),
        ("P0003_0_256_0_256", "is not NAME__CC"),
        ("P9999_0_256_0_256__01", "lists P9999_0_256_0_256, which is no patch"),
    ],
)
def test_a_wrong_line_of_an_isaid_list_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    trees.write_isaid(tmp_path)
    trees.write_isaid_lists(tmp_path / "iSAID/splits")
    (tmp_path / "iSAID/splits/val/fold0.txt").write_text(f"{line}\n")
    assert sentence in refused("isaid", tmp_path).problem


def test_patches_of_one_aerial_image_are_one_scene(tmp_path: Path) -> None:
    trees.write_isaid(tmp_path)
    domain = opened("isaid", tmp_path)
    assert domain.scene("P0003_0_256_0_256") == domain.scene("P0003_0_256_128_384")


# -- nuclei --------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["Nucleus/stage1_train", "Nucleus", "stage1_train"])
def test_the_truth_of_nuclei_is_the_union_of_their_masks(tmp_path: Path, base: str) -> None:
    trees.write_nucleus(tmp_path, base=base)
    domain = opened("nucleus", tmp_path)
    item = domain.classes[0].items[1]
    domain.note_oddities(item, role="query")
    union = (trees.spot(1) > 0) | (trees.spot(11) > 0)
    assert domain.truth(item).mean() == pytest.approx(union.mean(), abs=0.01)
    assert domain.notes == {}


def test_a_replaced_mask_of_a_nucleus_is_decoded_again(tmp_path: Path) -> None:
    trees.write_nucleus(tmp_path / "data")
    domain = open_domain("nucleus", tmp_path / "data", cache=tmp_path / "cache")
    before = domain.truth(domain.classes[0].items[1])
    trees.save(tmp_path / "data" / A_MASK["nucleus"], trees.spot(25))
    again = open_domain("nucleus", tmp_path / "data", cache=tmp_path / "cache")
    assert not np.array_equal(again.truth(again.classes[0].items[1]), before)


def test_two_images_in_a_nucleus_folder_are_refused(tmp_path: Path) -> None:
    trees.write_nucleus(tmp_path)
    trees.save(tmp_path / "Nucleus/stage1_train/01ab/images/x.png", trees.photo(1))
    assert "there is 01ab.png and x.png" in refused("nucleus", tmp_path).problem


# -- potholes and fields -------------------------------------------------------------------------


def test_masks_of_0_and_1_are_read_like_0_and_255(tmp_path: Path) -> None:
    trees.write_pothole(tmp_path)
    domain = opened("pothole", tmp_path)
    truth = domain.truth(domain.classes[0].items[1])
    trees.save(tmp_path / A_MASK["pothole"], trees.blob(1) // 255)
    again = opened("pothole", tmp_path)
    assert (again.truth(again.classes[0].items[1]) == truth).all()


@pytest.mark.parametrize(("name", "codes"), [("pothole", (1, 255)), ("nucleus", (1, 255))])
def test_a_mask_that_mixes_two_codes_of_a_class_is_refused(
    tmp_path: Path, name: str, codes: tuple[int, int]
) -> None:
    trees.EXTENDED[name](tmp_path)
    labels = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8)
    labels[2], labels[5] = codes
    trees.save(tmp_path / A_MASK[name], labels)
    assert "holds 1, which is no value of" in refused(name, tmp_path).problem


def test_a_picture_without_a_pothole_is_left_out_and_counted(tmp_path: Path) -> None:
    trees.write_pothole(tmp_path)
    trees.save(tmp_path / A_MASK["pothole"], trees.blob(1) * 0)
    domain = opened("pothole", tmp_path)
    assert domain.counts == (2,)
    assert list(domain.notes) == ["masks without a pothole, whose pictures are left out: 1"]


@pytest.mark.parametrize("base", ["WeedMap", "WeedMap/RedEdge", "WeedMap/Tiles/RedEdge"])
def test_weedmap_is_found_as_unpacked(tmp_path: Path, base: str) -> None:
    trees.write_weedmap(tmp_path, base=base)
    assert opened("weedmap", tmp_path).counts == (6, 6)


def test_index_maps_and_colour_maps_of_weedmap_say_the_same(tmp_path: Path) -> None:
    for kind in ("iMap", "color"):
        trees.write_weedmap(tmp_path / kind, maps=[kind])
    by_index, by_colour = (opened("weedmap", tmp_path / kind) for kind in ("iMap", "color"))
    assert by_index.counts == by_colour.counts
    for one, other in zip(by_index.classes, by_colour.classes, strict=True):
        for item, twin in zip(one.items, other.items, strict=True):
            assert by_index.truth(item).any()
            assert (by_index.truth(item) == by_colour.truth(twin)).all()


def test_a_tile_without_any_map_is_named(tmp_path: Path) -> None:
    trees.write_weedmap(tmp_path, maps=["iMap"])
    (tmp_path / A_MASK["weedmap"]).unlink()
    assert "frame0001.png has no mask 003_frame0001_Gr" in refused("weedmap", tmp_path).problem
