"""From trees like the official downloads of the further targets of 2025-26 to their layouts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.prepare.running import prepare
from cdfss_bench.errors import DataError

from ...support import downloads, trees

# -- nuclei --------------------------------------------------------------------------------------


def test_the_archive_of_nuclei_is_unpacked_and_read(tmp_path: Path) -> None:
    source = downloads.zipped(downloads.nucleus(tmp_path / "n"), tmp_path / "stage1_train.zip")
    summary = prepare("nucleus", tmp_path / "to", [source])
    assert summary.counts == {"images": 3, "nuclei": 6}
    assert (summary.problems, summary.odd) == ([], [])
    assert summary.profile == "partial: 3 of 670 images"
    assert check_domain("nucleus", tmp_path / "to", full=True).usable


def test_damaged_folders_of_nuclei_are_named_and_the_rest_is_made(tmp_path: Path) -> None:
    trees.write_nucleus(tmp_path, 4, base="from")
    files = downloads.files_of(tmp_path / "from")
    del files["00ab/masks/00cd.png"], files["00ab/masks/01cd.png"]
    files["01ab/masks/10cd.png"] = downloads.png(np.zeros((5, 5), np.uint8))
    files["02ab/masks/20cd.png"] = b"broken"
    files["zz/masks/1.png"] = downloads.png(trees.blob(1))
    summary = prepare("nucleus", tmp_path / "to", [downloads.zipped(files, tmp_path / "a.zip")])
    assert summary.counts == {"images": 1, "nuclei": 2}
    said = "\n".join(summary.problems)
    for sentence in (
        "00ab/images/00ab.png has no masks",
        "01ab/masks/10cd.png is 5x5 but its image is 40x28",
        "02ab/masks/20cd.png is not a readable image",
        "zz/masks/1.png has no image",
    ):
        assert sentence in said


def test_the_test_part_of_nuclei_is_left_out_and_counted(tmp_path: Path) -> None:
    trees.write_nucleus(tmp_path, base="from/stage1_train")
    trees.save(tmp_path / "from/stage1_test/77ab/images/77ab.png", trees.photo(7))
    summary = prepare("nucleus", tmp_path / "to", [tmp_path / "from"])
    assert summary.problems == []
    assert summary.odd == ["1 images of stage1_test have no masks and are left out"]


# -- iSAID-5i ------------------------------------------------------------------------------------


def test_the_validation_patches_of_isaid_and_their_lists_are_copied(tmp_path: Path) -> None:
    trees.write_isaid_lists(tmp_path / "lists/isaid")
    files = downloads.isaid() | downloads.files_of(tmp_path / "lists")
    summary = prepare("isaid", tmp_path / "to", [downloads.zipped(files, tmp_path / "a.zip")])
    assert summary.counts == {"patches": 5}
    assert summary.problems == []
    assert summary.odd == ["10 files of the training part are left out"]
    domain = open_domain("isaid", tmp_path / "to")
    assert domain.counts == (2, 2, 2)
    assert [path.name for path in domain.extra_files()] == ["fold0.txt", "fold1.txt", "fold2.txt"]  # type: ignore[attr-defined]


def test_without_lists_isaid_is_prepared_and_says_so(tmp_path: Path) -> None:
    summary = prepare(
        "isaid", tmp_path / "to", [downloads.zipped(downloads.isaid(), tmp_path / "a.zip")]
    )
    assert summary.problems == []
    assert any(odd.startswith("no fold lists val/fold0.txt to fold2.txt") for odd in summary.odd)


def test_lists_of_isaid_may_be_named_apart(tmp_path: Path) -> None:
    trees.write_isaid_lists(tmp_path / "lists/isaid")
    source = downloads.zipped(downloads.isaid(), tmp_path / "a.zip")
    prepare("isaid", tmp_path / "to", [source], lists=[tmp_path / "lists"])
    assert (tmp_path / "to/iSAID/splits/val/fold2.txt").is_file()


def test_whole_aerial_images_are_no_patches(tmp_path: Path) -> None:
    files = downloads.isaid()
    files["iSAID_patches/val/images/P0003_0_256_0_256.png"] = downloads.png(
        trees.photo(1, 300, 256)
    )
    del files["iSAID_patches/val/semantic_png/P0004_0_256_0_256_instance_color_RGB.png"]
    summary = prepare("isaid", tmp_path / "to", [downloads.zipped(files, tmp_path / "a.zip")])
    said = "\n".join(summary.problems)
    assert "P0003_0_256_0_256.png is 300x256, no patch of 256x256" in said
    assert "P0004_0_256_0_256.png has no mask" in said
    assert summary.counts == {"patches": 3}


# -- WeedMap -------------------------------------------------------------------------------------


def test_tiles_and_index_maps_of_weedmap_are_copied(tmp_path: Path) -> None:
    source = downloads.zipped(downloads.weedmap(tmp_path / "w"), tmp_path / "RedEdge.zip")
    summary = prepare("weedmap", tmp_path / "to", [source])
    assert summary.counts == {"tiles": 6}
    assert summary.problems == []
    assert summary.odd == ["7 other files (channels, composites) have no use here"]
    names = {path.name for path in (tmp_path / "to").rglob("*.png")}
    assert not any(name.endswith("color.png") for name in names)
    assert open_domain("weedmap", tmp_path / "to").counts == (6, 6)


def test_tiles_of_weedmap_without_a_map_or_of_its_size_are_named(tmp_path: Path) -> None:
    trees.write_weedmap(tmp_path, base="from", maps=["color"])
    files = downloads.files_of(tmp_path / "from")
    del files["000/groundtruth/000_frame0000_GroundTruth_color.png"]
    del files["003/tile/RGB/frame0002.png"]
    files["003/tile/RGB/frame0001.png"] = downloads.png(trees.photo(1, 9, 9))
    files["005/groundtruth/005_frame0000_GroundTruth_color.png"] = downloads.png(trees.photo(1))
    summary = prepare("weedmap", tmp_path / "to", [downloads.zipped(files, tmp_path / "a.zip")])
    said = "\n".join(summary.problems)
    assert "000/tile/RGB/frame0000.png has no map 000_frame0000_GroundTruth_iMap.png" in said
    assert "003_frame0002_GroundTruth_color.png has no RGB tile" in said
    assert "003_frame0001_GroundTruth_color.png is 40x28 but its tile is 9x9" in said
    assert "1 maps of fields without RGB tiles are left out" in summary.odd
    assert summary.counts == {"tiles": 3}


# -- potholes ------------------------------------------------------------------------------------


def test_marks_of_pothole_mix_become_black_and_white(tmp_path: Path) -> None:
    source = downloads.zipped(downloads.potholes(), tmp_path / "a.zip")
    summary = prepare("pothole", tmp_path / "to", [source])
    assert summary.counts == {"pairs": 6, "red": 4, "green": 2, "blue": 0, "white": 0}
    assert (summary.problems, summary.odd) == ([], [])
    mask = Image.open(tmp_path / "to/Pothole/masks/testing_pothole600_0001.png").convert("L")
    assert (np.asarray(mask) == trees.blob(1)).all()
    assert open_domain("pothole", tmp_path / "to").counts == (6,)


def test_one_colour_of_pothole_mix_may_be_taken(tmp_path: Path) -> None:
    source = downloads.zipped(downloads.potholes(), tmp_path / "a.zip")
    prepare("pothole", tmp_path / "to", [source], {"marks": "red"})
    domain = open_domain("pothole", tmp_path / "to")
    assert domain.counts == (4,)
    assert any("left out: 2" in note for note in domain.notes)


def test_defects_of_pothole_mix_are_named(tmp_path: Path) -> None:
    files = downloads.potholes()
    mask = np.zeros((trees.HEIGHT, trees.WIDTH, 3), np.uint8)
    mask[0, :3] = (255, 255, 0)
    files["pothole-mix/testing/pothole600/masks/0000.png"] = downloads.png(mask)
    files["pothole-mix/testing/pothole600/masks/0001.png"] = downloads.png(mask[:9])
    del files["pothole-mix/training/gaps384/masks/0000.png"]
    del files["pothole-mix/training/gaps384/images/0001.jpg"]
    summary = prepare("pothole", tmp_path / "to", [downloads.zipped(files, tmp_path / "a.zip")])
    said = "\n".join(summary.problems)
    assert "masks/0000.png has 3 pixels of another colour than black, red, green, blue" in said
    assert "masks/0001.png is 40x9 but its image is 40x28" in said
    assert "images/0000.jpg has no mask 0000.png" in said
    assert "masks/0001.png has no image" in said
    assert summary.counts["pairs"] == 2


@pytest.mark.parametrize("name", ["isaid", "nucleus", "pothole", "weedmap"])
def test_another_download_is_refused_with_what_it_holds(tmp_path: Path, name: str) -> None:
    source = downloads.zipped({"mine/a.txt": b"x"}, tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"in the download of .*; it holds mine"):
        prepare(name, tmp_path / "to", [source])
