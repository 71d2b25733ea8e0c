"""COCO-style annotations: every row is checked, masks are pycocotools', files are found."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO

from cdfss_bench.bench.planning.episode_set import EpisodeSet
from cdfss_bench.datasets import open_domain
from cdfss_bench.datasets.check.report import check_domain
from cdfss_bench.datasets.core.domain import Domain
from cdfss_bench.datasets.core.transforms import resized_labels
from cdfss_bench.datasets.domains.coco_shapes import Fault, check, drawn
from cdfss_bench.errors import DataError

from ...support import trees
from ...support.opened import refused
from ...support.shown import mistake, printed

Page = dict[str, Any]
SIZE = trees.WIDTH, trees.HEIGHT
PIXELS = trees.WIDTH * trees.HEIGHT
NO_COCO = "is no COCO-style annotation file"


def page_of(root: Path) -> Page:
    return json.loads((root / "annotations.json").read_text(encoding="utf-8"))


def edited(root: Path, edit: Callable[[Page], object]) -> Domain:
    """A COCO tree whose JSON `edit` has changed in place, opened."""
    trees.write_coco(root)
    page = page_of(root)
    edit(page)
    (root / "annotations.json").write_text(json.dumps(page), encoding="utf-8")
    return open_domain("coco", root, cache=None)


def refusal(root: Path, edit: Callable[[Page], object]) -> DataError:
    """Why such a tree is refused; it is one sentence, and says how to correct it."""
    edited(root, edit)
    error = refused("coco", root)
    report = check_domain("coco", root, full=True)
    assert [finding.problem for finding in report.findings] == [error.problem]
    return error


def with_segmentation(value: object) -> Callable[[Page], object]:
    return lambda page: page["annotations"][0].update(segmentation=value)


def run_lengths(mask: np.ndarray[Any, Any]) -> list[int]:
    flat = mask.T.reshape(-1)
    cuts = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *(int(cut) for cut in cuts), flat.size]
    lengths = [last - first for first, last in pairwise(edges)]
    return [0, *lengths] if flat[0] else lengths


def packed(mask: np.ndarray[Any, Any]) -> str:
    encoded: Any = masks.encode(np.asfortranarray(mask))
    return encoded["counts"].decode()


# -- classes and masks -----------------------------------------------------------------------------


def test_categories_with_annotations_are_classes_in_the_order_of_their_ids(tmp_path: Path) -> None:
    trees.write_coco(tmp_path)
    domain = open_domain("coco", tmp_path, cache=None)
    assert [(entry.id, entry.name) for entry in domain.classes] == [(0, "box"), (1, "wedge")]
    assert domain.counts == (6, 6)
    assert len(domain.episodes(shots=5)) == 12
    assert domain.notes == {}
    item = domain.classes[0].items[0]
    assert domain.undecided(item) is None
    truth = domain.truth(item)
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    # From (1, 2) to (10, 11) on 40x28: nine pixels each way, as COCO counts them.
    assert truth.mean() == pytest.approx(81 / PIXELS, abs=0.002)
    assert (rows[0] * 28 // 400, columns[0] * 40 // 400) == (2, 1)


def test_several_annotations_of_a_pair_are_one_mask(tmp_path: Path) -> None:
    def add(page: Page) -> None:
        first = page["annotations"][0]
        second = {**first, "id": 99, "segmentation": [[25, 20, 34, 20, 34, 25, 25, 25]]}
        page["annotations"].append(second)

    domain = edited(tmp_path, add)
    truth = domain.truth(domain.classes[0].items[0])
    assert truth.mean() == pytest.approx((81 + 45) / PIXELS, abs=0.003)


def random_segmentation(rng: np.random.RandomState) -> object:
    """Some polygons, or run lengths of either form."""
    width, height = SIZE
    kind = rng.randint(3)
    if kind == 0:
        return [
            [
                float(round(value, int(rng.randint(3))))
                for _ in range(rng.randint(3, 9))
                for value in (rng.uniform(-2, width + 2), rng.uniform(-2, height + 2))
            ]
            for _ in range(rng.randint(1, 4))
        ]
    blocks = (rng.rand(height // 4, width // 4) > 0.7).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    if kind == 1:
        return {"size": [height, width], "counts": run_lengths(blocks)}
    return {"size": [height, width], "counts": packed(blocks)}


@pytest.mark.parametrize("seed", range(4))
def test_masks_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    rng = np.random.RandomState(seed)

    def redraw(page: Page) -> None:
        page["annotations"] = [
            {
                "id": number,
                "image_id": int(rng.randint(1, 7)),
                "category_id": int(rng.choice([3, 7, 9])),
                "segmentation": random_segmentation(rng),
                "iscrowd": 0,
            }
            for number in range(60)
        ]

    domain = edited(tmp_path, redraw)
    reference: Any = COCO()
    reference.dataset = page_of(tmp_path)
    reference.createIndex()
    categories = {row["name"]: row["id"] for row in reference.dataset["categories"]}
    compared = 0
    for entry in domain.classes:
        for item in entry.items:
            wanted = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8)
            for row in reference.dataset["annotations"]:
                here = f"images/{row['image_id']}.jpg" == item.image
                if here and row["category_id"] == categories[entry.name]:
                    wanted |= reference.annToMask(row)
                    compared += 1
            assert (domain.truth(item) == resized_labels(wanted, 400)).all()
    assert compared == 60


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_run_lengths_that_pycocotools_packs_are_accepted(
    height: int, width: int, share: float, seed: int
) -> None:
    mask = (np.random.RandomState(seed).rand(height, width) < share).astype(np.uint8)
    for counts in (packed(mask), run_lengths(mask)):
        shape = {"size": [height, width], "counts": counts}
        assert check(shape, (width, height)) == 0
        assert (drawn([shape], (width, height)) == mask).all()
    with pytest.raises(Fault, match="pixels, its image has"):
        check({"size": [height + 1, width], "counts": packed(mask)}, (width, height + 1))


def test_run_lengths_of_nothing_within_leave_the_rest_as_it_is() -> None:
    counts = [3, 0, 0, 5, 0, 2, 10]
    found = drawn([{"size": [4, 5], "counts": counts}, {"size": [4, 5], "counts": counts}], (5, 4))
    flat = [0] * 3 + [1] * 5 + [1] * 2 + [0] * 10
    assert found.T.reshape(-1).tolist() == [bool(value) for value in flat]


def test_a_changed_annotation_is_drawn_anew_and_changes_the_fingerprint(tmp_path: Path) -> None:
    trees.write_coco(tmp_path)
    before = open_domain("coco", tmp_path)
    item, fingerprint = before.classes[0].items[0], before.fingerprint
    truth = before.truth(item)
    page = page_of(tmp_path)
    page["annotations"][0]["segmentation"] = [[20, 2, 29, 2, 29, 11, 20, 11]]
    (tmp_path / "annotations.json").write_text(json.dumps(page))
    after = open_domain("coco", tmp_path)
    assert open_domain("coco", tmp_path).fingerprint == after.fingerprint != fingerprint
    assert after.classes[0].items[0] == item
    assert after.truth(item).any()
    assert not (truth & after.truth(item)).any()


@pytest.mark.parametrize("key", ["images", "categories"])
def test_the_fingerprint_changes_with_the_tables(tmp_path: Path, key: str) -> None:
    def edit(page: Page) -> None:
        if key == "images":
            page["images"][0].update(width=41)
            trees.save(tmp_path / "images/1.jpg", trees.photo(61, width=41))
        else:
            page["categories"][0].update(name="triangle")

    trees.write_coco(tmp_path / "plain")
    before = open_domain("coco", tmp_path / "plain").fingerprint
    assert edited(tmp_path, edit).fingerprint != before


# -- rows that are refused -------------------------------------------------------------------------


def remove(key: str, part: str) -> Callable[[Page], object]:
    return lambda page: page[key][0].pop(part)


def set_to(key: str, part: str, value: object) -> Callable[[Page], object]:
    return lambda page: page[key][0].update({part: value})


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (remove("categories", "name"), "category 7 (row 1) lacks 'name'"),
        (remove("categories", "id"), "row 1 of 'categories' lacks 'id'"),
        (set_to("categories", "name", 7), "has name 7, which is no text"),
        (set_to("categories", "name", " "), "has name ' ', which is no text"),
        (set_to("categories", "name", "a\nb"), "holds control characters"),
        (set_to("categories", "name", "\ud800"), "holds control characters"),
        (set_to("categories", "name", "box"), "2 categories are called 'box'"),
        (set_to("categories", "id", 3), "category 3 (row 2) has an id that another row has too"),
        (set_to("categories", "id", value=True), "has id True; ids are whole numbers or texts"),
        (lambda p: p.update(categories=["cup", "pot"]), "row 1 of 'categories' is 'cup', not an"),
        (remove("images", "id"), "row 1 of 'images' lacks 'id'"),
        (remove("images", "width"), "image 1 (row 1) lacks 'width'"),
        (remove("images", "file_name"), "image 1 (row 1) lacks 'file_name'"),
        (set_to("images", "height", 0), "has height 0, which is no number of pixels"),
        (set_to("images", "height", "28"), "has height '28', which is no number of pixels"),
        (set_to("images", "height", 28.5), "has height 28.5, which is no number of pixels"),
        (set_to("images", "width", 10**9), "has an impossible size, 1000000000x28"),
        (set_to("images", "id", 2), "image 2 (row 2) has an id that another row has too"),
        (set_to("images", "id", 1.5), "has id 1.5; ids are whole numbers or texts"),
        (set_to("images", "id", float("nan")), "has id nan; ids are whole numbers or texts"),
        (set_to("images", "id", None), "has id None; ids are whole numbers or texts"),
        (lambda p: p["images"].insert(0, 5), "row 1 of 'images' is 5, not an object"),
        (set_to("images", "file_name", ""), "has file_name ''"),
        (set_to("images", "file_name", "1.png"), "(there is 1.jpg)"),
        (set_to("images", "file_name", "images/2.jpg"), "images 1 and 2 are the same file"),
        (remove("annotations", "image_id"), "annotation 1 (row 1) lacks 'image_id'"),
        (remove("annotations", "category_id"), "annotation 1 (row 1) lacks 'category_id'"),
        (set_to("annotations", "image_id", 99), "has image_id 99, which is not among the images"),
        (set_to("annotations", "image_id", "1"), "has image_id '1', which is not among the images"),
        (set_to("annotations", "category_id", 8), "has category_id 8, which is not among the cat"),
        (set_to("annotations", "id", 2), "annotation 2 (row 2) has an id that another row has too"),
        (set_to("annotations", "id", [1]), "row 1 of 'annotations' has id [1]; ids are"),
        (set_to("annotations", "iscrowd", "0"), "has iscrowd '0'; it is 0 or 1"),
        (lambda p: p.pop("images"), f"{NO_COCO}: it must hold a list 'images'"),
        (lambda p: p.pop("categories"), f"{NO_COCO}: it must hold a list 'categories'"),
        (
            lambda p: p.update(annotations={"1": {}}),
            f"{NO_COCO}: it must hold a list 'annotations'",
        ),
    ],
)
def test_a_wrong_row_is_named(
    tmp_path: Path, edit: Callable[[Page], object], sentence: str
) -> None:
    assert sentence in refusal(tmp_path, edit).problem


def test_all_wrong_rows_are_counted(tmp_path: Path) -> None:
    def orphan(page: Page) -> None:
        for row in page["annotations"][3:8]:
            row["image_id"] += 100

    problem = refusal(tmp_path, orphan).problem
    assert "annotation 4 (row 4) has image_id 102" in problem
    assert problem.endswith("(5 of 12 annotations are refused)")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"[]", "it must be an object"),
        (b"{", "Expecting"),
        (b"\xff", "it is not UTF-8 text"),
        (b"[" * 100_000, "recursion"),
        (b'{"images": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"images": 3}', "must hold a list"),
        (b'{"annotations": [], "annotations": [{}]}', "the key 'annotations' is there twice"),
    ],
    ids=["empty", "list", "cut", "latin-1", "deep", "long number", "number", "key twice"],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "annotations.json").write_bytes(content)
    error = refused("coco", tmp_path)
    assert "is no COCO-style annotation file" in error.problem
    assert reason in error.problem


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    domain = edited(tmp_path, set_to("categories", "name", "Würfel"))
    page = page_of(tmp_path)
    (tmp_path / "annotations.json").write_text(
        json.dumps(page, ensure_ascii=False), encoding=encoding
    )
    assert [entry.name for entry in domain.classes] == ["box", "Würfel"]


@pytest.mark.parametrize("kind", ["text", "float", "mixed"])
def test_ids_may_be_texts_or_whole_numbers_in_any_spelling(tmp_path: Path, kind: str) -> None:
    def rename(page: Page) -> None:
        def new(value: int) -> object:
            if kind == "float":
                return float(value)
            return f"a/{value}" if kind == "text" or value == 7 else value

        for row in page["images"] + page["categories"] + page["annotations"]:
            for key in ("id", "image_id", "category_id"):
                if key in row:
                    row[key] = new(row[key])

    domain = edited(tmp_path, rename)
    trees.write_coco(tmp_path / "plain")
    plain = open_domain("coco", tmp_path / "plain", cache=None)
    assert [entry.name for entry in domain.classes] == ["box", "wedge"]
    for entry, wanted in zip(domain.classes, plain.classes, strict=True):
        for item, other in zip(entry.items, wanted.items, strict=True):
            assert (domain.truth(item) == plain.truth(other)).all()


NUMBERS = (True, -1, 0, 0.5, 10**30, 10**400, 1e308, float("nan"), float("inf"))
ODD = (*NUMBERS, None, "", "x", "1", "\ud800", "\0", [], [[]], [[1]], {}, {"id": 1}, [1, [2]])


def places(value: object) -> list[tuple[Any, Any]]:
    """Every (container, key) within a JSON value."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@pytest.mark.parametrize("seed", range(8))
def test_any_odd_value_anywhere_is_read_or_refused_in_one_sentence(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.RandomState(seed)
    trees.write_coco(tmp_path, 2)
    whole = (tmp_path / "annotations.json").read_text()
    refused = 0
    for _ in range(40):
        page = json.loads(whole)
        spots = places(page)
        container, key = spots[rng.randint(len(spots))]
        container[key] = ODD[rng.randint(len(ODD))]
        (tmp_path / "annotations.json").write_text(json.dumps(page))
        domain = open_domain("coco", tmp_path, cache=None)
        try:
            _ = domain.fingerprint
            domain.truth(domain.classes[0].items[0])
        except DataError as error:
            refused += error.hint is not None
    assert refused > 10


# -- segmentations that are refused ----------------------------------------------------------------

TRIANGLE = [20, 15, 35, 15, 28, 20]


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ([[1, 2, 3]], "a polygon of 3 numbers"),
        ([[1, 2, 3, 4]], "a polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([TRIANGLE, []], "a polygon of 0 numbers"),
        ([["a", 1, 2, 3, 4, 5]], "a polygon with 'a' among its coordinates"),
        ([[True, 1, 2, 3, 4, 5]], "a polygon with True among its coordinates"),
        ([[None, 1, 2, 3, 4, 5]], "a polygon with None among its coordinates"),
        ([[[1, 2], [3, 4], [5, 6]]], "a polygon with [1, 2] among its coordinates"),
        (TRIANGLE, "has 20 where a polygon should be"),
        ([[float("nan")] * 6], "coordinates are not finite"),
        ([[1, 2, 3, 4, float("inf"), 6]], "coordinates are not finite"),
        ([[1, 2, 3, 4, float("inf"), -float("inf")]], "coordinates are not finite"),
        ([[1.5, 2, 3, 4, 10**400, 6]], "coordinates are not finite"),
        ([[1, 2, 50, 2, 50, 20]], "reaches 10 pixels beyond its image of 40x28"),
        ([[1, -3.5, 20, 2, 20, 20]], "reaches 3.5 pixels beyond its image of 40x28"),
        ([[0.1, 0.2, 0.9, 0.2, 0.5, 1.0]], "they are shares of its sides, not pixels"),
        ("text", "has 'text' instead of polygons or run lengths"),
        (5, "has 5 instead of polygons or run lengths"),
        ({"size": [28, 40]}, "run lengths without 'counts'"),
        ({"counts": [PIXELS]}, "run lengths without 'size'"),
        ({"size": [3, 3], "counts": [9]}, "run lengths of size [3, 3], its image is [28, 40]"),
        ({"size": [40, 28], "counts": [PIXELS]}, "COCO writes [height, width]"),
        ({"size": [28, 40], "counts": [5, 5]}, "run lengths of 10 pixels, its image has 40x28"),
        ({"size": [28, 40], "counts": []}, "run lengths of 0 pixels, its image has 40x28"),
        ({"size": [28, 40], "counts": [PIXELS + 5, -5]}, "a negative run length"),
        ({"size": [28, 40], "counts": [float(PIXELS)]}, "neither text nor a list of whole"),
        ({"size": [28, 40], "counts": 3}, "neither text nor a list of whole numbers"),
        ({"size": [28, 40], "counts": ""}, "characters that COCO does not write"),
        ({"size": [28, 40], "counts": "~~~~"}, "characters that COCO does not write"),
        ({"size": [28, 40], "counts": "5€"}, "characters that COCO does not write"),
        ({"size": [28, 40], "counts": "o"}, "characters that COCO does not write"),
        ({"size": [28, 40], "counts": "5o"}, "characters that COCO does not write"),
        ({"size": [28, 40], "counts": "o" * 9 + "1"}, "too large for an image"),
        ({"size": [28, 40], "counts": "55"}, "run lengths of 10 pixels"),
        ({"size": [28, 40], "counts": "5K"}, "a negative run length"),
    ],
)
def test_a_segmentation_that_cannot_be_drawn_is_refused(
    tmp_path: Path, segmentation: object, sentence: str
) -> None:
    problem = refusal(tmp_path, with_segmentation(segmentation)).problem
    assert problem.startswith(f"{tmp_path / 'annotations.json'}: annotation 1 (row 1) has ")
    assert sentence in problem


def test_a_polygon_a_little_outside_is_cut_at_the_edge_and_counted(tmp_path: Path) -> None:
    domain = edited(tmp_path, with_segmentation([[-1.5, -1, 12, -1, 12, 9, -1.5, 9]]))
    truth = domain.truth(domain.classes[0].items[0])
    assert truth.mean() == pytest.approx(12 * 9 / PIXELS, abs=0.003)
    assert list(domain.notes) == [
        (
            "annotations.json: 1 of 12 annotations reach beyond their image, by 1.5 pixels at "
            "most, and are cut at its edge (the first is annotation 1 (row 1) of image 1)"
        )
    ]


# -- crowds and boxes ------------------------------------------------------------------------------


def crowd(page: Page) -> None:
    mask = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8)
    mask[:14] = 1
    shape = {"size": [trees.HEIGHT, trees.WIDTH], "counts": run_lengths(mask)}
    page["annotations"].append(
        {"id": 99, "image_id": 1, "category_id": 3, "segmentation": shape, "iscrowd": 1}
    )


def test_the_pixels_of_a_crowd_are_undecided_unless_an_object_covers_them(tmp_path: Path) -> None:
    domain = edited(tmp_path, crowd)
    item = domain.classes[0].items[0]
    truth, undecided = domain.truth(item), domain.undecided(item)
    assert undecided is not None
    assert truth.mean() == pytest.approx(81 / PIXELS, abs=0.002)
    assert not (truth & undecided).any()
    assert undecided.mean() == pytest.approx(0.5 - 81 / PIXELS, abs=0.002)
    tensors = domain.load(domain.episodes(shots=1)[0])
    assert tensors.query_ignore is not None
    assert list(domain.notes) == [
        (
            "annotations.json: 1 of 13 annotations are crowds and read as undecided pixels "
            "(the first is annotation 99 (row 13) of image 1)"
        )
    ]


def test_the_crowd_of_another_category_decides_nothing(tmp_path: Path) -> None:
    domain = edited(tmp_path, crowd)
    undecided = domain.undecided(domain.classes[1].items[0])
    assert undecided is not None
    assert not undecided.any()


def test_crowds_are_read_as_objects_if_asked(tmp_path: Path) -> None:
    edited(tmp_path, crowd)
    domain = open_domain("coco", tmp_path, cache=None, crowds="objects")
    item = domain.classes[0].items[0]
    assert domain.truth(item).mean() == pytest.approx(0.5, abs=0.01)
    assert domain.undecided(item) is None
    assert "1 of 13 annotations are crowds and read as objects" in next(iter(domain.notes))


@pytest.mark.parametrize("empty", [None, [], [[]], {}, "missing"])
def test_boxes_are_counted_and_named(tmp_path: Path, empty: object) -> None:
    def add(page: Page) -> None:
        for number in (1, 2):
            row = {"id": 100 + number, "image_id": number, "category_id": 3, "bbox": [1, 1, 9, 9]}
            page["annotations"].append(
                row if empty == "missing" else {**row, "segmentation": empty}
            )

    domain = edited(tmp_path, add)
    assert domain.counts == (6, 6)
    assert list(domain.notes) == [
        (
            "annotations.json: 2 of 14 annotations have no segmentation (a box at most) and are "
            "left out: their objects count as background (the first is annotation 101 (row 13) of "
            "image 1)"
        )
    ]
    said = check_domain("coco", tmp_path, full=True).to_text()
    assert "2 of 14 annotations have no segmentation" in said


def test_boxes_and_crowds_are_one_note(tmp_path: Path) -> None:
    def add(page: Page) -> None:
        crowd(page)
        page["annotations"].append({"id": 100, "image_id": 1, "category_id": 3})
        page["annotations"][0]["segmentation"] = [[-1, 2, 10, 2, 10, 11]]

    domain = edited(tmp_path, add)
    assert domain.counts == (6, 6)
    notes = list(domain.notes)
    assert len(notes) == 2
    assert "1 of 14 annotations have no segmentation" in notes[0]
    assert "1 of 14 annotations are crowds" in notes[0]
    assert "1 of 14 annotations reach beyond their image" in notes[1]


@pytest.mark.parametrize("how", ["boxes", "crowds"])
def test_a_category_without_a_segmented_object_is_refused(tmp_path: Path, how: str) -> None:
    def strip(page: Page) -> None:
        for row in page["annotations"]:
            if row["category_id"] == 7:
                row.update({"segmentation": []} if how == "boxes" else {"iscrowd": 1})

    error = refusal(tmp_path, strip)
    assert "no annotation of category 'wedge' is an object with a segmentation" in error.problem
    assert "coco[crowds=objects]" in (error.hint or "")
    if how == "crowds":
        assert open_domain("coco", tmp_path, crowds="objects").counts == (6, 6)


# -- sizes -----------------------------------------------------------------------------------------


def test_a_category_that_fills_every_image_is_refused(tmp_path: Path) -> None:
    def fill(page: Page) -> None:
        whole = [0, 0, SIZE[0], 0, *SIZE, 0, SIZE[1]]
        for row in page["annotations"]:
            if row["category_id"] == page["categories"][0]["id"]:
                row.update(segmentation=[whole])

    domain = edited(tmp_path, fill)
    name = page_of(tmp_path)["categories"][0]["name"]
    assert domain.classes_without_background == (name,)
    episode_set = EpisodeSet(domain, shots=1, seed=0, protocol="patnet")
    with pytest.raises(DataError, match=f"every mask of class '{name}' of coco is full"):
        _ = episode_set.manifest
    report = check_domain("coco", tmp_path, full=True)
    assert not report.usable
    assert f"every mask of class '{name}' is full" in [f.problem for f in report.findings]


def test_exchanged_width_and_height_are_refused(tmp_path: Path) -> None:
    def swap(page: Page) -> None:
        for row in page["images"]:
            row["width"], row["height"] = row["height"], row["width"]
        for row in page["annotations"]:
            row["segmentation"] = [[1, 1, 9, 1, 9, 9]]

    error = refusal(tmp_path, swap)
    assert "image 1 is 28x40, but" in error.problem
    assert "is 40x28 (6 of 6 images are refused)" in error.problem
    assert "exchange width and height" in (error.hint or "")


def test_another_size_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, set_to("images", "width", 80))
    assert "image 1 is 80x28, but" in error.problem
    assert "original files" in (error.hint or "")


def turned_photo(root: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(trees.photo(61)).save(root / "images/1.jpg", "JPEG", exif=exif)


def test_annotations_of_the_upright_picture_are_laid_over_it(tmp_path: Path) -> None:
    def upright(page: Page) -> None:
        page["images"][0].update(width=28, height=40)
        page["annotations"][0]["segmentation"] = [[0, 0, 28, 0, 28, 20, 0, 20]]
        page["annotations"][1]["segmentation"] = [[0, 0, 28, 0, 28, 20, 0, 20]]

    domain = edited(tmp_path, upright)
    turned_photo(tmp_path, 6)
    item = domain.classes[0].items[0]
    with Image.open(tmp_path / item.image) as image:
        wanted = np.asarray(image.transpose(Image.Transpose.ROTATE_270).resize((400, 400)))
    found = domain.image(item)
    assert np.abs(found.astype(int) - wanted).mean() < 20
    assert domain.read_image(item.image).native == domain.read_labels(item).native == (28, 40)
    assert domain.truth(item)[:190].all()
    assert not domain.truth(item)[210:].any()


def test_annotations_of_the_picture_before_it_was_turned_are_refused(tmp_path: Path) -> None:
    trees.write_coco(tmp_path)
    turned_photo(tmp_path, 8)
    error = refused("coco", tmp_path)
    assert "upright as its EXIF orientation says" in error.problem
    assert "image 1 is 40x28, but" in error.problem
    assert "EXIF" in (error.hint or "")


def test_a_picture_that_cannot_be_read_is_named_when_it_is_read(tmp_path: Path) -> None:
    domain = edited(tmp_path, lambda page: page)
    (tmp_path / "images/1.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.jpg is not a readable image"):
        domain.image(domain.classes[0].items[0])


# -- where the images are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "images/1.jpg",
        "./1.jpg",
        "images\\1.jpg",
        "..\\..\\label-studio\\media\\images\\1.jpg",
        "C:\\Users\\me\\images\\1.jpg",
        "../images/1.jpg",
        "/home/me/data/1.jpg",
        "/data/upload/1/ab12-1.jpg",
        "images\\cb0618f6-1.jpg",
        "/data/local-files/?d=project/images/1.jpg",
        "/data/local-files/?d=project%2Fimages%2F1.jpg",
        "https://host.example/bucket/1.jpg?token=3",
        "images%2F1.jpg",
        "1.JPG",
    ],
)
def test_names_of_annotation_tools_are_resolved(tmp_path: Path, name: str) -> None:
    domain = edited(tmp_path, set_to("images", "file_name", name))
    assert domain.classes[0].items[0].image == "images/1.jpg"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Ä 1.jpg", unicodedata.normalize("NFD", "Ä 1.jpg")),
        (unicodedata.normalize("NFD", "ä.jpg"), unicodedata.normalize("NFC", "ä.jpg")),
        ("ä b.jpg", "%C3%A4%20b.jpg"),
        ("my photo.jpg", "/data/upload/3/cb0618f6-my_photo.jpg"),
        ("100%25.jpg", "100%25.jpg"),
        ("a#1?.jpg", "a#1?.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("left/x.jpg", "x.jpg"),
        ("left/x.jpg", "data\\left\\x.jpg"),
    ],
)
def test_files_are_found_under_other_spellings(tmp_path: Path, file: str, name: str) -> None:
    domain = edited(tmp_path, set_to("images", "file_name", name))
    target = tmp_path / "images" / file
    target.parent.mkdir(exist_ok=True)
    (tmp_path / "images/1.jpg").rename(target)
    assert domain.classes[0].items[0].image == f"images/{file}"


def test_files_behind_a_link_are_found_and_a_circle_ends(tmp_path: Path) -> None:
    domain = edited(tmp_path, set_to("images", "file_name", "more/1.jpg"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images/1.jpg").rename(tmp_path / "elsewhere/1.jpg")
    (tmp_path / "images/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/circle").symlink_to(tmp_path / "images")
    assert domain.classes[0].items[0].image == "images/more/1.jpg"


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "..", "/", "val/3/9.jpg", "x" * 300 + ".jpg"],
)
def test_a_name_that_no_file_fits_is_refused(tmp_path: Path, name: str) -> None:
    trees.save(tmp_path / "images/train/9.jpg", trees.photo(1))
    trees.save(tmp_path / "secret.jpg", trees.photo(1))
    problem = refusal(tmp_path, set_to("images", "file_name", name)).problem
    assert f"image 1 is called '{name}', and no file in {tmp_path / 'images'} fits" in problem


def test_a_name_that_two_files_fit_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        trees.save(tmp_path / f"images/{folder}/x.jpg", trees.photo(1))
    problem = refusal(tmp_path, set_to("images", "file_name", "x.jpg")).problem
    assert "may be the image called 'x.jpg': a/x.jpg and b/x.jpg" in problem


def test_missing_images_are_counted_and_their_folder_is_suggested(tmp_path: Path) -> None:
    trees.write_coco(tmp_path, images="val2017")
    (tmp_path / "images").mkdir()
    error = refused("coco", tmp_path)
    assert "6 of 6 images are missing" in error.problem
    assert "coco[images=val2017]" in (error.hint or "")
    assert open_domain("coco", tmp_path, images="val2017").counts == (6, 6)


def test_images_that_nothing_is_annotated_in_may_be_missing(tmp_path: Path) -> None:
    def add(page: Page) -> None:
        page["images"].append({"id": 50, "file_name": "none.jpg", "width": 3, "height": 3})

    assert edited(tmp_path, add).counts == (6, 6)


# -- which annotation file -------------------------------------------------------------------------


def test_the_files_of_other_splits_are_named(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        trees.write_coco(tmp_path, annotations=f"{split}/_annotations.coco.json", images=split)
    error = refused("coco", tmp_path)
    assert "is missing; there is train/_annotations" in error.problem
    assert "valid/_annotations.coco.json" in error.problem
    assert "coco[annotations=train/_annotations.coco.json,images=train]" in (error.hint or "")
    # Beside its images the file needs no word about them.
    domain = open_domain("coco", tmp_path, annotations="valid/_annotations.coco.json")
    assert domain.classes[0].items[0].image == "valid/1.jpg"


def test_a_folder_of_annotation_files_is_listed(tmp_path: Path) -> None:
    trees.write_coco(tmp_path, annotations="annotations/instances_train.json")
    trees.write_coco(tmp_path, annotations="annotations/instances_val.json")
    for typed in ("annotations", "annotations.json"):
        error = refused("coco", tmp_path, annotations=typed)
        assert "there is annotations/instances_train.json" in error.problem
        assert error.hint == "name the file: coco[annotations=annotations/instances_train.json]"


def test_a_folder_of_images_that_was_named_must_be_there(tmp_path: Path) -> None:
    trees.write_coco(tmp_path)
    problem = refused("coco", tmp_path, images="photos").problem
    assert problem == f"the folder of images {tmp_path / 'photos'} is missing"


def test_without_any_annotation_file_the_layout_is_shown(tmp_path: Path) -> None:
    assert "images/<file_name>" in refused("coco", tmp_path).problem


# -- without pycocotools ---------------------------------------------------------------------------


def test_without_pycocotools_one_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write_coco(tmp_path)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.chdir(tmp_path)
    error = mistake("run", "-m", "prototype", "-d", "coco", "--data-root", tmp_path)
    assert "segmentations (polygons and run lengths) are drawn by pycocotools" in error.problem
    assert error.hint == "pip install 'cdfss-bench[coco]'"
    assert not (tmp_path / "results").exists()
    assert "coco" in printed("list", "domains")


def test_the_reader_is_imported_without_pycocotools() -> None:
    code = "import cdfss_bench.datasets.domains.coco, sys; print('pycocotools' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
