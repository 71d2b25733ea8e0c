"""What each reader finds in a published layout, and what it says where the layout is broken."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.datasets import DOMAINS, Domain, open_domain
from cdfss_bench.datasets.core.card import Profile
from cdfss_bench.datasets.core.file_domain import listed
from cdfss_bench.datasets.core.transforms import nearest_indices
from cdfss_bench.errors import DataError, UserError

from ...support import trees
from ...support.opened import opened, refusal

PUBLISHED = tuple(trees.WRITERS)
FIRST_IMAGE = {
    "fss1000": "FSS-1000/arrow/1.jpg",
    "deepglobe": "Deepglobe/1/test/origin/1241_sat_20.jpg",
    "isic": f"{trees.ISIC_IMAGES}/1/ISIC_0000001.jpg",
    "chestxray": f"{trees.FILMS}/CHNCXR_0003_1.png",
    "pascal": f"{trees.VOC}/JPEGImages/2007_000032.jpg",
}
FIRST_MASK = {
    "fss1000": "FSS-1000/arrow/1.png",
    "deepglobe": "Deepglobe/1/test/groundtruth/1241_sat_20.png",
    "isic": f"{trees.ISIC_MASKS}/ISIC_0000001_segmentation.png",
    "chestxray": f"{trees.LUNGS}/CHNCXR_0003_1_mask.png",
    "pascal": f"{trees.VOC}/SegmentationClassAug/2007_000032.png",
}
FOLDER = {
    "fss1000": "FSS-1000",
    "deepglobe": "Deepglobe",
    "isic": "ISIC",
    "chestxray": "LungSegmentation",
    "pascal": "VOCdevkit",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five domains; read only."""
    root = tmp_path_factory.mktemp("tree")
    trees.write_all(root)
    return root


def names_of(domain: Domain, class_id: int) -> list[str]:
    return [i.name for entry in domain.classes if entry.id == class_id for i in entry.items]


def short(names: Sequence[str]) -> list[str]:
    return [name.rpartition("/")[2] for name in names]


def test_files_are_listed_by_the_published_rule(tmp_path: Path) -> None:
    names = ["b.jpg", "a.jpg", "10.jpg", "9.jpg", "B.jpg", "c.jpg.part"]
    others = [".jpg", "._a.jpg", "a.JPG", "a.jpeg", "a.v2.jpg", "ajpg", "jpg", "a.jpg2", "a."]
    for name in [*names, *others]:
        (tmp_path / name).touch()
    assert listed(tmp_path, "jpg") == ["10.jpg", "9.jpg", "B.jpg", "a.jpg", "b.jpg", "c.jpg.part"]
    assert listed(tmp_path / "absent", "jpg") == []


# -- FSS-1000 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "first", "names"),
    [("test", 760, ["arrow", "bus"]), ("val", 520, ["har_gow"]), ("trn", 0, ["beam_bridge"])],
)
def test_fss_reads_the_classes_of_a_list_with_their_published_ids(
    tmp_path: Path, split: str, first: int, names: list[str]
) -> None:
    trees.write_fss(tmp_path, ["bus", "arrow", "har_gow", "beam_bridge"], count=2)
    card = DOMAINS.card("fss1000")
    listed = card.classes if split == "test" else card.other_splits[split].classes
    found = [(e.id, e.name) for e in opened("fss1000", tmp_path, split=split).classes]
    assert found == [(first + listed.index(name), name) for name in names]


def test_the_three_fss_lists_are_a_thousand_different_classes() -> None:
    card = DOMAINS.card("fss1000")
    lists = [card.classes, *(split.classes for split in card.other_splits.values())]
    assert [len(names) for names in lists] == [240, 240, 520]
    assert len({name for names in lists for name in names}) == 1000
    assert all(list(names) == sorted(names) for names in lists)


def test_fss_draws_in_numeric_order_and_asks_in_string_order(tree: Path) -> None:
    domain = opened("fss1000", tree)
    numeric = [f"{number}.jpg" for number in range(1, 11)]
    for entry in domain.classes:
        assert short(names_of(domain, entry.id)) == numeric
    asked = [name.removeprefix("FSS-1000/") for _, name in domain.listed_queries() or ()]
    order = ("1", "10", "2", "3", "4", "5", "6", "7", "8", "9")
    assert asked == [f"{c}/{n}.jpg" for c in ("arrow", "bus") for n in order]
    assert domain.published_length == 20


@pytest.mark.parametrize(
    "stray", ["10.jpeg", "11.JPG", ".12.jpg", "13.jpg.part", "cover.jpg", "².jpg", "1 (2).jpg", "x"]
)
def test_fss_ignores_files_that_are_no_numbered_picture(tmp_path: Path, stray: str) -> None:
    trees.write_fss(tmp_path, ["bus"], count=3)
    trees.save(tmp_path / "FSS-1000" / "bus" / stray, trees.photo(0))
    domain = opened("fss1000", tmp_path)
    assert short(names_of(domain, domain.classes[0].id)) == ["1.jpg", "2.jpg", "3.jpg"]


def test_fss_reads_unlisted_folders_where_no_listed_class_is(tmp_path: Path) -> None:
    trees.write_fss(tmp_path, ["my_mug", "a_cup", ".hidden"], count=2)
    (tmp_path / "FSS-1000" / "empty").mkdir()
    domain = opened("fss1000", tmp_path)
    assert [(e.id, e.name) for e in domain.classes] == [(1000, "a_cup"), (1001, "my_mug")]
    assert domain.profile == "unlisted: 2 classes outside its lists"
    assert not domain.is_complete


def test_fss_ignores_unlisted_folders_beside_a_listed_class(tmp_path: Path) -> None:
    trees.write_fss(tmp_path, ["a_cup", "bus"], count=2)
    domain = opened("fss1000", tmp_path)
    assert [entry.name for entry in domain.classes] == ["bus"]
    assert domain.profile == "partial: 1 of 240 classes"


@pytest.mark.parametrize(
    ("name", "folder", "mask", "sentence", "hint"),
    [
        (
            "fss1000", "FSS-1000/bus", "FSS-1000/bus/7.png", "7.jpg has no mask 7.png beside it",
            "complete the class folder, or remove the picture",
        ),
        (
            "deepglobe", "Deepglobe/4/test/origin", "Deepglobe/4/test/groundtruth/77_sat_55.png",
            "77_sat_55.jpg has no mask 77_sat_55.png in {masks}",
            "complete the folder, or remove the tile",
        ),
        (
            "isic", f"{trees.ISIC_IMAGES}/2", f"{trees.ISIC_MASKS}/ISIC_0000005_segmentation.png",
            "ISIC_0000005.jpg has no mask ISIC_0000005_segmentation.png in {masks}",
            "complete the folder, or remove the image",
        ),
    ],
)  # fmt: skip
def test_a_picture_without_a_mask_is_named(
    tmp_path: Path, name: str, folder: str, mask: str, sentence: str, hint: str
) -> None:
    trees.WRITERS[name](tmp_path)
    (tmp_path / mask).unlink()
    error = refusal(name, tmp_path)
    assert error.problem == f"{tmp_path}/{folder}/{sentence.format(masks=(tmp_path / mask).parent)}"
    assert error.hint == hint


# -- DeepGlobe -----------------------------------------------------------------------------------


def test_deepglobe_reads_the_class_folders_in_string_order_of_the_tiles(tree: Path) -> None:
    domain = opened("deepglobe", tree)
    assert [entry.id for entry in domain.classes] == [0, 1, 2, 3, 4, 5]
    assert tuple(entry.name for entry in domain.classes) == DOMAINS.card("deepglobe").classes
    expected = ["1241_sat_20.jpg", "1241_sat_3.jpg", "77_sat_55.jpg", "983_sat_01.jpg"]
    for entry in domain.classes:
        assert short(names_of(domain, entry.id)) == expected
    assert domain.published_length == 600
    assert domain.listed_queries() is None


def test_one_tile_in_two_class_folders_has_a_mask_in_each(tree: Path) -> None:
    domain = opened("deepglobe", tree)
    items = [domain.item(c, f"Deepglobe/{c + 1}/test/origin/1241_sat_3.jpg") for c in (0, 1)]
    assert np.array_equal(domain.image(items[0]), domain.image(items[1]))
    assert not np.array_equal(domain.truth(items[0]), domain.truth(items[1]))


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("Deepglobe/1/test/origin/1241_sat_20.jpg", "1241"),
        ("Deepglobe/2/test/origin/1241_sat_3.jpg", "1241"),
        ("Deepglobe/2/test/origin/124_sat_13.jpg", "124"),
    ],
)
def test_a_tile_knows_its_scene(tree: Path, name: str, scene: str) -> None:
    assert opened("deepglobe", tree).scene(name) == scene


def test_a_missing_class_folder_is_a_partial_profile(tmp_path: Path) -> None:
    trees.write_deepglobe(tmp_path, {1: trees.SCENES, 3: trees.SCENES, 6: trees.SCENES})
    domain = opened("deepglobe", tmp_path)
    assert [entry.id for entry in domain.classes] == [0, 2, 5]
    assert domain.profile == "partial: 3 of 6 classes"


# -- ISIC ----------------------------------------------------------------------------------------

PINNED = DOMAINS.card("isic").classes
ISIC_FOLDERS = {1: (1, 4, 30), 2: (2, 5, 100), 3: (3, 6, 20)}


def classes_of_folders(order: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {name: ISIC_FOLDERS[place] for place, name in enumerate(order, 1)}


def test_isic_reads_three_folders_and_names_them_by_the_card(tree: Path) -> None:
    domain = opened("isic", tree)
    assert [(entry.id, entry.name) for entry in domain.classes] == list(enumerate(PINNED))
    assert short(names_of(domain, 1)) == [
        "ISIC_0000002.jpg",
        "ISIC_0000005.jpg",
        "ISIC_0000100.jpg",
    ]
    assert domain.published_length == 600
    assert not domain.notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    "order",
    [
        ("nevus", "seborrheic_keratosis", "melanoma"),
        ("seborrheic_keratosis", "nevus", "melanoma"),
        ("nevus", "melanoma", "seborrheic_keratosis"),
    ],
)
def test_isic_names_the_folders_by_the_class_table(
    tmp_path: Path, order: Sequence[str], encoding: str
) -> None:
    trees.write_isic(tmp_path)
    path = tmp_path / "ISIC" / "class_id.csv"
    trees.write_class_table(path, classes_of_folders(order), encoding=encoding)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    domain = opened("isic", tmp_path)
    assert [(entry.id, entry.name) for entry in domain.classes] == list(enumerate(order))
    note = (
        f"ISIC folders 1, 2, 3 are {', '.join(order)}: episodes are drawn in that order, "
        f"not in the pinned one ({', '.join(PINNED)})"
    )
    assert list(domain.notes) == ([] if tuple(order) == PINNED else [note])


def test_the_class_table_of_the_lists_folder_comes_first(tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    order = ("melanoma", "nevus", "seborrheic_keratosis")
    trees.write_class_table(tmp_path / "ISIC/class_id.csv", classes_of_folders(PINNED))
    trees.write_class_table(tmp_path / "lists/isic_class_id.csv", classes_of_folders(order))
    domain = open_domain("isic", tmp_path, lists=tmp_path / "lists", cache=None)
    assert tuple(entry.name for entry in domain.classes) == order


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ((1, 2), ["nevus", "melanoma"]),
        ((1, 3), ["nevus", "seborrheic_keratosis"]),
        ((2, 3), ["melanoma", "seborrheic_keratosis"]),
        ((2,), ["melanoma"]),
    ],
)
def test_a_part_of_isic_in_another_order_is_named_by_the_table(
    tmp_path: Path, folders: Sequence[int], expected: list[str]
) -> None:
    trees.write_isic(tmp_path, {folder: ISIC_FOLDERS[folder] for folder in folders})
    order = ("nevus", "melanoma", "seborrheic_keratosis")
    trees.write_class_table(tmp_path / "ISIC" / "class_id.csv", classes_of_folders(order))
    domain = opened("isic", tmp_path)
    assert [entry.name for entry in domain.classes] == expected
    assert [entry.id for entry in domain.classes] == [folder - 1 for folder in folders]
    assert domain.profile == f"partial: {len(folders)} of 3 classes"


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"nevus": (1, 4), "melanoma": (30, 3, 6, 20), "seborrheic_keratosis": (2, 5, 100)},
            "/1 mixes melanoma and nevus",
        ),
        (
            {"nevus": (1, 4, 30, 2, 5, 100), "melanoma": (3, 6, 20)},
            ": by the class table two folders hold the same class (nevus, nevus, melanoma)",
        ),
    ],
)
def test_isic_folders_that_are_not_one_class_each_are_refused(
    tmp_path: Path, table: dict[str, tuple[int, ...]], sentence: str
) -> None:
    trees.write_isic(tmp_path)
    trees.write_class_table(tmp_path / "ISIC" / "class_id.csv", table)
    error = refusal("isic", tmp_path)
    assert error.problem == f"{tmp_path / trees.ISIC_IMAGES}{sentence}"
    assert error.hint == "split the images into 1, 2, 3 by their class"


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"image,label\nISIC_0000001,nevus\n", "is not an ISIC class table: columns ID and Class"),
        (b"", "is not an ISIC class table: columns ID and Class are expected"),
        (b"ID,Class\nISIC_0000001\n", ", line 2: the class of 'ISIC_0000001' is ''"),
        (b"ID,Class\nISIC_0000001,NV\n", ", line 2: the class of 'ISIC_0000001' is 'NV', not one"),
        ("ID,Class\nISIC_0000001,nevus\n".encode("utf-16"), "cannot be read ("),
        (b'ID,Class\nISIC_0000001,"' + b"x" * 200_000, "cannot be read (field larger"),
        (
            b"ID,Class\nISIC_1,nevus\nISIC_2,nevus\nISIC_1,melanoma\n",
            ", line 4: 'ISIC_1' is 'melanoma' here and 'nevus' above",
        ),
    ],
)
def test_a_damaged_class_table_is_refused_in_a_sentence(
    tmp_path: Path, table: bytes, sentence: str
) -> None:
    trees.write_isic(tmp_path)
    path = tmp_path / "ISIC" / "class_id.csv"
    path.write_bytes(table)
    error = refusal("isic", tmp_path)
    assert str(path) in error.problem
    assert sentence in error.problem
    assert "\n" not in error.problem


# -- Chest X-ray ---------------------------------------------------------------------------------

SHENZHEN = [f"CHNCXR_{number:04d}_{number % 2}_mask.png" for number in (3, 4, 5, 6)]
MONTGOMERY = [f"MCUCXR_{number:04d}_{number % 2}.png" for number in (1, 2, 3)]


def test_chest_asks_the_films_of_the_first_hospital_that_have_a_mask(tree: Path) -> None:
    domain = opened("chestxray", tree)
    (lung,) = domain.classes
    assert (lung.id, lung.name) == (0, "lung")
    assert short([item.name for item in lung.items]) == SHENZHEN
    assert [item.name for item in lung.items] == [item.mask for item in lung.items]
    assert short([item.image for item in lung.items])[0] == "CHNCXR_0003_1.png"


def test_chest_of_both_hospitals_reads_masks_with_and_without_the_suffix(tree: Path) -> None:
    domain = opened("chestxray", tree, hospitals="both")
    (lung,) = domain.classes
    assert short([item.name for item in lung.items]) == [*SHENZHEN, *MONTGOMERY]
    assert short([item.image for item in lung.items])[-1] == "MCUCXR_0003_1.png"
    assert domain.title == "chestxray[hospitals=both]"
    for item in lung.items:
        assert domain.truth(item).any()


def test_a_film_without_a_mask_is_never_asked(tree: Path) -> None:
    domain = opened("chestxray", tree, hospitals="both")
    drawn = domain.episodes(1, length=200)
    asked = {short([domain.item(0, e.query).image])[0] for e in drawn}
    assert not asked & {"CHNCXR_0001_1.png", "CHNCXR_0002_0.png"}
    assert len(asked) == 7


@pytest.mark.parametrize("mask", ["CHNCXR_0009_1_mask.png", "CHNCXR_0009_1.png"])
def test_chest_says_which_mask_has_no_film(tmp_path: Path, mask: str) -> None:
    trees.write_chest(tmp_path)
    trees.save(tmp_path / trees.LUNGS / mask, trees.blob(1))
    error = refusal("chestxray", tmp_path)
    assert error.problem == (
        f"{tmp_path / trees.LUNGS}/{mask} has no film CHNCXR_0009_1.png in {tmp_path / trees.FILMS}"
    )
    assert error.hint == "complete CXR_png, or remove the mask"


# -- PASCAL VOC ----------------------------------------------------------------------------------


PAIRS = sum(len(labels) for labels in trees.TRAINING.values())


def listed_pairs(
    images: Mapping[str, Sequence[int]], folds: Sequence[int]
) -> list[tuple[int, str]]:
    pairs = [
        (fold, label - 1, name)
        for name, labels in images.items()
        for label in labels
        if (fold := (label - 1) // 5) in folds
    ]
    return [(label, name) for _, label, name in sorted(pairs)]


def test_pascal_fold_4_is_all_training_lists_one_after_the_other(tree: Path) -> None:
    domain = opened("pascal", tree)
    expected = listed_pairs(trees.TRAINING, (0, 1, 2, 3))
    assert list(domain.listed_queries() or ()) == expected
    assert domain.published_length == len(expected) == PAIRS
    assert [entry.id for entry in domain.classes] == [0, 1, 5, 10, 14, 15, 19]
    assert names_of(domain, 14) == ["2007_000032", "2011_000001"]
    assert domain.title == "pascal"


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
def test_pascal_folds_train_on_the_other_three(tree: Path, fold: int) -> None:
    domain = opened("pascal", tree, fold=fold)
    others = [other for other in range(4) if other != fold]
    assert list(domain.listed_queries() or ()) == listed_pairs(trees.TRAINING, others)
    assert domain.title == f"pascal[fold={fold}]"


def test_pascal_validates_a_thousand_times_over_the_list_of_the_fold(tree: Path) -> None:
    domain = opened("pascal", tree, fold=0, split="val")
    expected = listed_pairs(trees.VALIDATION, (0,))
    assert list(domain.listed_queries() or ()) == expected
    assert domain.published_length == 1000
    drawn = domain.episodes(1)
    assert len(drawn) == 1000
    assert [(e.class_id, e.query) for e in drawn[: 2 * len(expected)]] == 2 * expected


def test_pascal_fold_4_has_nothing_to_validate_on(tree: Path) -> None:
    error = refusal("pascal", tree, split="val")
    assert error.problem == (
        "fold 4 of PASCAL VOC has no validation classes: all 20 are trained on"
    )
    assert error.hint == "use pascal[fold=0,split=val], or another fold from 0 to 3"


@pytest.mark.parametrize(
    "line",
    ["2007_000032__21", "2007_000032__06", "2007_000032__00", "2007_000032", "a/b__01", "__1"],
)
def test_a_bad_line_of_a_list_is_refused_and_shown(tmp_path: Path, line: str) -> None:
    trees.write_pascal(tmp_path)
    path = tmp_path / "splits/pascal/trn/fold0.txt"
    path.write_text(f"2007_000032__01\n{line}\n")
    assert refusal("pascal", tmp_path).problem == (
        f"{path}: '{line}' is not NAME__CC with a class of fold 0 (01 to 05)"
    )


def test_a_pair_that_a_list_names_twice_is_refused(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    path = tmp_path / "splits/pascal/trn/fold0.txt"
    path.write_text("2007_000032__01\n2007_000033__01\n2007_000032__01\n")
    error = refusal("pascal", tmp_path)
    assert error.problem == f"{path} names '2007_000032__01' twice"
    assert error.hint == "remove one of the two lines"


def test_lists_may_end_their_lines_as_windows_does_and_begin_with_a_mark(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    expected = opened("pascal", tmp_path).listed_queries()
    for path in (tmp_path / "splits/pascal/trn").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert opened("pascal", tmp_path).listed_queries() == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("2007_000032__11".encode("utf-16"), "it is not UTF-8 text"),
        (None, "No such file or directory"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    trees.write_pascal(tmp_path)
    path = tmp_path / "splits/pascal/trn/fold2.txt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    error = refusal("pascal", tmp_path)
    assert error.problem == f"the PASCAL list {path} cannot be read ({reason})"


@pytest.mark.parametrize(
    ("place", "named", "exported"),
    [
        ("splits/pascal", None, None),
        ("lists/pascal", None, None),
        ("own/pascal", "own", None),
        ("own/pascal", "own/pascal", None),
        ("own", None, "own"),
    ],
)
def test_lists_are_found_under_the_root_and_in_the_named_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    named: str | None,
    exported: str | None,
) -> None:
    trees.write_pascal(tmp_path, lists=place)
    if exported is not None:
        monkeypatch.setenv("CDFSS_LISTS", str(tmp_path / exported))
    lists = None if named is None else tmp_path / named
    domain = open_domain("pascal", tmp_path, lists=lists, cache=None)
    assert domain.published_length == PAIRS


def test_without_lists_both_places_and_the_flag_are_named(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path, lists="elsewhere")
    error = refusal("pascal", tmp_path)
    assert error.problem == (
        f"the PASCAL fold lists are not in {tmp_path}/splits/pascal or {tmp_path}/lists/pascal"
    )
    assert "--lists DIR" in (error.hint or "")


@pytest.mark.parametrize("base", ["VOCdevkit/VOC2012", "VOC2012"])
def test_pascal_is_found_in_both_layouts_and_is_the_same_data(tmp_path: Path, base: str) -> None:
    trees.write_pascal(tmp_path, base=base)
    domain = opened("pascal", tmp_path)
    assert domain.classes[0].items[0].image == f"{base}/JPEGImages/2007_000032.jpg"
    other = tmp_path / "other"
    trees.write_pascal(other, base="VOC2012" if base != "VOC2012" else "VOCdevkit/VOC2012")
    assert opened("pascal", other).fingerprint == domain.fingerprint


def test_pascal_without_masks_says_so(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    shutil.rmtree(tmp_path / trees.VOC / "SegmentationClassAug")
    assert refusal("pascal", tmp_path).problem == (
        f"{tmp_path / trees.VOC}/SegmentationClassAug is missing: "
        "PASCAL VOC needs the masks of VOC and SBD"
    )


@pytest.mark.parametrize(
    "part", ["JPEGImages/2007_000032.jpg", "SegmentationClassAug/2007_000032.png"]
)
def test_pairs_without_both_files_are_left_out_and_the_profile_is_partial(
    tmp_path: Path, part: str
) -> None:
    trees.write_pascal(tmp_path)
    path = tmp_path / trees.VOC / part
    path.rename(path.with_suffix(".bak"))
    domain = opened("pascal", tmp_path)
    assert "2007_000032" not in {name for _, name in domain.listed_queries() or ()}
    assert domain.published_length == PAIRS - 2
    assert domain.profile == "partial: 7 of 20 classes"
    assert not domain.is_complete


def test_palette_labels_are_indices_and_255_is_undecided(tree: Path) -> None:
    domain = opened("pascal", tree)
    item = domain.item(14, "2007_000032")
    rows, columns = nearest_indices(trees.HEIGHT, 400), nearest_indices(trees.WIDTH, 400)
    labels = trees.label_map(trees.TRAINING["2007_000032"])[np.ix_(rows, columns)]
    assert np.array_equal(domain.truth(item), labels == 15)
    undecided = domain.undecided(item)
    assert undecided is not None
    assert np.array_equal(undecided, labels == 255)
    assert undecided.any()


# -- what is common to all -----------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_first_item_is_where_the_layout_has_it(tree: Path, name: str) -> None:
    item = opened(name, tree).classes[0].items[0]
    assert (item.image, item.mask) == (FIRST_IMAGE[name], FIRST_MASK[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_images_and_masks_are_read_as_the_files_hold_them(tree: Path, name: str) -> None:
    domain = opened(name, tree)
    item = domain.classes[0].items[0]
    with Image.open(tree / item.image) as file:
        expected = file.convert("RGB").resize((400, 400), Image.Resampling.BILINEAR)
    assert np.array_equal(domain.image(item), np.asarray(expected))
    truth = domain.truth(item)
    assert truth.shape == (400, 400)
    assert truth.dtype == np.uint8
    assert set(np.unique(truth)) == {0, 1}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    "kind", ["brackets [1] and {2}", "blanks  and\ttabs", "größe–大きさ", "it's #1 %20"]
)
def test_any_name_of_the_root_will_do(tree: Path, tmp_path: Path, name: str, kind: str) -> None:
    root = tmp_path / kind
    root.symlink_to(tree, target_is_directory=True)
    domain = opened(name, root)
    assert domain.counts == opened(name, tree).counts
    assert domain.load(domain.episodes(1, length=1)[0]).query_mask.any()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_root_whose_name_is_not_utf8_will_do(tree: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / os.fsdecode(b"donn\xe9es")
    root.symlink_to(tree, target_is_directory=True)
    domain = open_domain(name, root, cache=tmp_path / "cache")
    for _ in range(2):
        assert domain.load(domain.episodes(1, length=1)[0]).query_mask.any()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("place", ["absent", "file"])
def test_a_missing_root_is_one_sentence(tmp_path: Path, name: str, place: str) -> None:
    (tmp_path / "file").touch()
    error = refusal(name, tmp_path / place)
    assert error.problem == f"the data root {tmp_path / place} does not exist or is not a folder"
    assert error.hint == "name another with --data-root DIR or CDFSS_DATA_ROOT"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_root_the_flag_is_named(
    name: str, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("CDFSS_DATA_ROOT", variable)
    error = refusal(name)
    assert error.problem == f"{DOMAINS.card(name).title} needs a data root"
    assert "--data-root DIR" in (error.hint or "")


def test_the_environment_may_name_the_root(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDFSS_DATA_ROOT", str(tree))
    assert open_domain("isic", cache=None).counts == (3, 3, 3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_root_without_the_published_folder_shows_the_layout(tmp_path: Path, name: str) -> None:
    error = refusal(name, tmp_path)
    first, *layout = error.problem.splitlines()
    card = DOMAINS.card(name)
    assert first == f"no {card.title} under {tmp_path}: expected"
    assert [line.strip() for line in layout] == card.layout.strip().splitlines()
    assert error.hint == f"cdfss-bench data check {name} --data-root DIR"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_folder_with_nothing_in_it_shows_the_layout(tmp_path: Path, name: str) -> None:
    (tmp_path / FOLDER[name]).mkdir()
    assert refusal(name, tmp_path).problem.startswith(f"no {DOMAINS.card(name).title} under")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_folder_that_may_not_be_read_is_named(
    tree: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    domain = opened(name, tree)
    with pytest.raises(DataError) as caught:
        domain.episodes(1)
    assert caught.value.problem.startswith(f"{tree}/{FOLDER[name]}")
    assert caught.value.problem.endswith(" may not be read")
    assert caught.value.hint is not None


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def damaged(path: Path, how: str) -> None:
    raw = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"<html>404 not found</html>",
            "truncated": raw[: len(raw) // 2],
            "corrupt PNG": raw[:40] + bytes(len(raw) - 40),
            "corrupt JPEG": JPEG + bytes(range(256)),
            "DDS of no format": b"DDS \x7c\x00\x00\x00" + bytes(120),
        }[how]
    )


DAMAGES = ["empty", "text", "truncated", "corrupt PNG", "corrupt JPEG", "DDS of no format"]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("places", [FIRST_IMAGE, FIRST_MASK])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_named_in_a_sentence(
    tmp_path: Path, name: str, places: Mapping[str, str], how: str
) -> None:
    trees.WRITERS[name](tmp_path)
    path = tmp_path / places[name]
    damaged(path, how)
    domain = opened(name, tmp_path)
    read = domain.image if places is FIRST_IMAGE else domain.truth
    with pytest.raises(DataError) as caught:
        read(domain.classes[0].items[0])
    assert caught.value.problem.startswith(f"{path} is not a readable image (")
    assert caught.value.hint == f"replace the file, then: cdfss-bench data check {name}"


def test_a_truncated_jpeg_is_named_in_a_sentence(tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    path = tmp_path / FIRST_IMAGE["isic"]
    Image.fromarray(trees.photo(1, 64, 64)).save(path, "JPEG", quality=95)
    domain = opened("isic", tmp_path)
    item = domain.classes[0].items[0]
    assert domain.image(item).shape == (400, 400, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="is not a readable image"):
        opened("isic", tmp_path).image(item)


def test_a_png_whose_later_chunks_are_damaged_is_named_in_a_sentence(tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    path = tmp_path / FIRST_IMAGE["isic"]
    trees.save(path, np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    first, *others = path.read_bytes().split(b"IDAT")
    assert len(others) > 1
    path.write_bytes(first + b"IDAT" + b"\0DAT".join(others))
    domain = opened("isic", tmp_path)
    with pytest.raises(DataError, match="is not a readable image"):
        domain.image(domain.classes[0].items[0])


def test_a_label_map_in_colour_is_refused(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    path = tmp_path / FIRST_MASK["pascal"]
    trees.save(path, trees.photo(1))
    domain = opened("pascal", tmp_path)
    with pytest.raises(DataError) as caught:
        domain.truth(domain.classes[0].items[0])
    assert caught.value.problem == (
        f"{path} is not a readable image (a label map has one channel, this has shape "
        f"({trees.HEIGHT}, {trees.WIDTH}, 3))"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_picture_too_large_to_be_one_is_refused(
    tree: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", trees.WIDTH * trees.HEIGHT // 2 - 1)
    domain = opened(name, tree)
    with pytest.raises(DataError, match="could be decompression bomb DOS attack"):
        domain.image(domain.classes[0].items[0])


def test_the_largest_published_picture_is_no_bomb() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert Image.MAX_IMAGE_PIXELS > 6688 * 4439


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("places", [FIRST_IMAGE, FIRST_MASK])
def test_a_file_that_vanished_after_listing_is_named(
    tmp_path: Path, name: str, places: Mapping[str, str]
) -> None:
    trees.WRITERS[name](tmp_path)
    domain = opened(name, tmp_path)
    item = domain.classes[0].items[0]
    path = tmp_path / places[name]
    path.unlink()
    with pytest.raises(DataError) as caught:
        domain.note_oddities(item, role="a query")
    assert caught.value.problem == f"{path} is missing"
    assert caught.value.hint == f"cdfss-bench data check {name} --data-root DIR"
    with pytest.raises(DataError, match="is missing"):
        _ = domain.fingerprint


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("fss1000", {"split": "tset"}, "unknown value of option 'split' of fss1000 'tset'"),
        ("pascal", {"fold": 5}, "option 'fold' of pascal must be at most 4, not 5"),
        ("pascal", {"fold": "one"}, "option 'fold' of pascal takes a whole number, not 'one'"),
        ("chestxray", {"hospital": "both"}, "unknown option of chestxray: 'hospital'"),
        ("isic", {"split": "val"}, "isic has no options, so 'split' cannot be set"),
    ],
)
def test_a_bad_option_is_one_sentence(
    tree: Path, name: str, options: Mapping[str, str | int], problem: str
) -> None:
    with pytest.raises(UserError) as caught:
        open_domain(name, tree, options)
    assert caught.value.problem == problem


def test_an_unknown_domain_is_answered_with_the_nearest(tree: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_domain("chest-xray", tree)
    assert caught.value.problem == "unknown domain 'chest-xray'"
    assert "chestxray" in (caught.value.hint or "")


# -- populations ---------------------------------------------------------------------------------


def write_names(root: Path, images: Mapping[str, Sequence[str]]) -> None:
    """Empty files: populations are recognised without opening any."""
    for folder, names in images.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).touch()


def write_isic_names(root: Path, counts: Sequence[int]) -> None:
    numbers: Iterator[int] = iter(range(sum(counts)))
    folders = [[f"ISIC_{next(numbers):07d}" for _ in range(count)] for count in counts]
    for place, names in enumerate(folders, 1):
        write_names(root, {f"{trees.ISIC_IMAGES}/{place}": [f"{name}.jpg" for name in names]})
        write_names(root, {trees.ISIC_MASKS: [f"{name}_segmentation.png" for name in names]})


@pytest.mark.parametrize(
    ("counts", "profile"),
    [
        ((1867, 208, 519), "isic-2594"),
        ((208, 1867, 519), "isic-2594-sk-nevus-mel"),
        ((1867, 519, 208), "isic-2594-nevus-mel-sk"),
        ((519, 1867, 208), "unknown: 2594 images of 3 classes"),
        ((1867, 208, 518), "partial: 2593 of 2594 images"),
        ((1867, 208, 520), "unknown: 2595 images of 3 classes"),
    ],
)
def test_isic_is_recognised_by_its_counts(
    tmp_path: Path, counts: Sequence[int], profile: str
) -> None:
    write_isic_names(tmp_path, counts)
    domain = opened("isic", tmp_path)
    assert domain.profile == profile
    assert domain.is_complete == profile.startswith("isic")


@pytest.mark.parametrize(
    ("shenzhen", "montgomery", "hospitals", "profile"),
    [
        (566, 138, "shenzhen", "chest-566"),
        (566, 138, "both", "chest-704"),
        (566, 0, "both", "chest-566"),
        (565, 138, "shenzhen", "partial: 565 of 566 images"),
        (566, 137, "both", "unknown: 703 images of 1 classes"),
    ],
)
def test_chest_is_recognised_by_its_count(
    tmp_path: Path, shenzhen: int, montgomery: int, hospitals: str, profile: str
) -> None:
    first = [f"CHNCXR_{number:04d}_0" for number in range(shenzhen)]
    second = [f"MCUCXR_{number:04d}_0" for number in range(montgomery)]
    write_names(tmp_path, {trees.FILMS: [f"{name}.png" for name in [*first, *second]]})
    write_names(tmp_path, {trees.LUNGS: [f"{name}_mask.png" for name in first]})
    write_names(tmp_path, {trees.LUNGS: [f"{name}.png" for name in second]})
    assert opened("chestxray", tmp_path, hospitals=hospitals).profile == profile


def write_fss_names(root: Path, classes: Sequence[str]) -> None:
    names = [f"{number}.{suffix}" for number in range(1, 11) for suffix in ("jpg", "png")]
    write_names(root, {f"FSS-1000/{name}": names for name in classes})


def test_only_the_test_list_of_fss_is_the_published_population(tmp_path: Path) -> None:
    card = DOMAINS.card("fss1000")
    write_fss_names(tmp_path, [*card.classes, *card.other_splits["val"].classes])
    assert opened("fss1000", tmp_path).profile == "fss-240x10"
    other = opened("fss1000", tmp_path, split="val")
    assert other.profile == "unknown: 2400 images of 240 classes"
    assert not other.is_complete


def test_240_classes_of_no_list_are_not_the_published_population(tmp_path: Path) -> None:
    write_fss_names(tmp_path, [f"class{number}" for number in range(240)])
    assert opened("fss1000", tmp_path).profile == "unlisted: 240 classes outside its lists"


def test_a_part_of_a_list_of_fss_is_counted_against_that_list(tmp_path: Path) -> None:
    write_fss_names(tmp_path, DOMAINS.card("fss1000").other_splits["trn"].classes[:300])
    assert opened("fss1000", tmp_path, split="trn").profile == "partial: 300 of 520 classes"


@pytest.mark.parametrize(
    ("images", "counts", "fits"),
    [
        ((3, 4), (3, 4), True),
        ((3, 4), (4, 3), False),
        ((3, 4), (7,), False),
        ((7,), (3, 4), True),
        ((7,), (7,), True),
        ((7,), (3, 3), False),
        ((7,), (), False),
    ],
)
def test_a_population_is_recognised_by_class_or_by_its_total(
    images: tuple[int, ...], counts: tuple[int, ...], fits: bool
) -> None:
    assert Profile(images=images).fits(counts) is fits


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tiny_tree_is_a_part_of_the_population(tree: Path, name: str) -> None:
    domain = opened(name, tree)
    assert domain.profile.startswith("partial: ")
    assert not domain.is_complete


def test_every_card_states_the_populations_of_its_own_classes() -> None:
    for name in DOMAINS.names():
        card = DOMAINS.card(name)
        for profile in card.profiles.values():
            assert len(profile.images) in (1, len(card.classes)), name


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_fingerprint_knows_neither_the_root_nor_the_time(
    tree: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(tree, tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("*"):
        os.utime(path, (10**9, 10**9))
    assert opened(name, tmp_path / "moved").fingerprint == opened(name, tree).fingerprint


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("places", [FIRST_IMAGE, FIRST_MASK])
@pytest.mark.parametrize("how", ["a byte more", "another byte"])
def test_the_fingerprint_changes_with_the_content_of_a_file(
    tree: Path, tmp_path: Path, name: str, places: Mapping[str, str], how: str
) -> None:
    shutil.copytree(tree, tmp_path / "changed")
    path = tmp_path / "changed" / places[name]
    raw, times = path.read_bytes(), path.stat()
    path.write_bytes(raw + b"\0" if how == "a byte more" else raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert opened(name, tmp_path / "changed").fingerprint != opened(name, tree).fingerprint


def relabelled(root: Path) -> None:
    path = root / FIRST_MASK["pascal"]
    labels = np.array(Image.open(path))
    labels[labels == 15] = 0
    trees.save_labels(path, labels)


def with_another_class_name(root: Path) -> None:
    path = root / "annotations.json"
    path.write_text(path.read_text().replace('"box"', '"bag"'))


def renamed(root: Path) -> None:
    for path in (FIRST_IMAGE["isic"], FIRST_MASK["isic"]):
        (root / path).rename(root / path.replace("0000001", "0000007"))


def in_another_class(root: Path) -> None:
    images = root / trees.ISIC_IMAGES
    (images / "1" / "ISIC_0000001.jpg").rename(images / "2" / "ISIC_0000001.jpg")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pascal", relabelled),
        ("coco", with_another_class_name),
        ("isic", renamed),
        ("isic", in_another_class),
    ],
)
def test_the_fingerprint_changes_with_names_classes_and_labels(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    {**trees.WRITERS, "coco": trees.write_coco}[name](tmp_path)
    before = opened(name, tmp_path).fingerprint
    change(tmp_path)
    assert opened(name, tmp_path).fingerprint != before


def test_the_fingerprint_changes_with_a_list(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path)
    read, other = (
        {f: opened("pascal", tmp_path, fold=f).fingerprint for f in (0, 1)} for _ in range(2)
    )
    assert read == other
    path = tmp_path / "splits/pascal/trn/fold1.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    # Fold 1 is trained on by fold 0 alone.
    assert opened("pascal", tmp_path, fold=0).fingerprint != read[0]
    assert opened("pascal", tmp_path, fold=1).fingerprint == read[1]


def test_the_fingerprint_does_not_know_where_lists_lie(tmp_path: Path) -> None:
    trees.write_pascal(tmp_path / "a")
    trees.write_pascal(tmp_path / "b", lists="elsewhere/pascal")
    inside = open_domain("pascal", tmp_path / "a", cache=None)
    outside = open_domain("pascal", tmp_path / "b", lists=tmp_path / "b/elsewhere", cache=None)
    assert inside.fingerprint == outside.fingerprint


def test_the_fingerprint_changes_with_the_class_table(tmp_path: Path) -> None:
    trees.write_isic(tmp_path)
    table = tmp_path / "ISIC" / "class_id.csv"
    found = [opened("isic", tmp_path).fingerprint]
    orders = [("nevus", "melanoma"), ("melanoma", "nevus")]
    for first, second in orders:
        numbers = {first: (1, 4, 30), second: (2, 5, 100), "seborrheic_keratosis": (3, 6, 20)}
        trees.write_class_table(table, numbers)
        found.append(opened("isic", tmp_path).fingerprint)
    table.write_text(table.read_text() + "ISIC_9999999,nevus\n")
    found.append(opened("isic", tmp_path).fingerprint)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["folder", "isic"])
def test_a_list_that_is_named_relative_to_the_folder_of_work_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trees.write_isic(tmp_path)
    trees.write_folder(tmp_path)
    trees.write_class_table(tmp_path / "ISIC" / "class_id.csv", {"nevus": (1,)})
    expected = opened(name, tmp_path).fingerprint
    monkeypatch.chdir(tmp_path.parent)
    assert opened(name, Path(tmp_path.name)).fingerprint == expected


def test_the_fingerprint_does_not_know_how_letters_are_composed(tmp_path: Path) -> None:
    prints: list[str] = []
    for form in ("NFC", "NFD"):
        for name in ("caf\u00e9", "na\u00efve"):
            file = "{0}/{0} {{}}.png".format(unicodedata.normalize(form, name))
            trees.write_pairs(tmp_path / form, f"images/{file}", f"masks/{file}")
        prints.append(opened("folder", tmp_path / form).fingerprint)
    assert prints[0] == prints[1]


def test_the_fingerprint_changes_with_an_option(tree: Path) -> None:
    assert opened("pascal", tree).fingerprint != opened("pascal", tree, fold=1).fingerprint
