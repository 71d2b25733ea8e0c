"""The mini suite: the same bytes everywhere, and what its domains promise about themselves."""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cdfss_bench.datasets import mini

Drawn = Mapping[str, Mapping[str, mini.Picture]]


class Stated(NamedTuple):
    """What must hold of a domain.

    Attributes:
        sha256: over the bytes of all images and labels in the order of the names, at version 1.
        pictures: how many.
        least: share of a picture that a class promised by ``pictures`` covers.
        low: what the mean share of a promised class is at least.
        high: and at most.
    """

    sha256: str
    pictures: int
    least: float
    low: float
    high: float


STATED = {
    "mini-source": Stated(
        "0dc051348330b1615d7b5f8f6e6bb1768164419bb694e4802f2ba82d452dcafd", 960, 0.05, 0.1, 0.25
    ),
    "mini-objects": Stated(
        "4bec505777677976600e660576ab181151dc2b9ca96d6f1c631c7fb481a21cef", 200, 0.05, 0.2, 0.3
    ),
    "mini-landcover": Stated(
        "3253a9efdabb88e944cc845c398ee572b474e48fd2e3bea2a28a3fe5328c5b64", 96, 0.02, 0.25, 0.45
    ),
    "mini-lesion": Stated(
        "8216bb33ec1690fbd9fb08e96d77ec24bbefc343fe79c4941cfd47db7afb5d3a", 132, 0.02, 0.17, 0.27
    ),
    "mini-chest": Stated(
        "8ad704aa7acbe84431e9ec8cbc36b4c69951d8661c32bd4232161bc61b219d14", 60, 0.1, 0.2, 0.35
    ),
}

ARRAY_FUNCTIONS = (
    "abs arange asarray ascontiguousarray bincount broadcast_shapes clip concatenate copyto "
    "count_nonzero empty flatnonzero floor full maximum minimum ones partition sqrt stack take "
    "where zeros"
)
"""Functions of numpy whose results IEEE 754 or integer arithmetic fixes to the last bit."""

ARRAY_TYPES = "bool_ float64 int64 uint64 uint8"

UNORDERED_METHODS = "mean sum std var dot prod cumsum cumprod trace round"
"""Methods of arrays whose sums run in an order which is not fixed, or which round otherwise."""


def names_of(domain: mini.Drawn) -> list[str]:
    return sorted({name for names in domain.pictures for name in names})


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return {
        key: {name: domain.draw(name) for name in names_of(domain)}
        for key, domain in mini.DOMAINS.items()
    }


def shares(drawn: Drawn, key: str) -> Iterator[tuple[str, int, float]]:
    for index, names in enumerate(mini.DOMAINS[key].pictures):
        for name in names:
            labels = drawn[key][name].labels
            yield name, index, np.count_nonzero(labels == index + 1) / labels.size


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_every_byte_is_the_golden_one(drawn: Drawn, key: str) -> None:
    digest = hashlib.sha256()
    for name in sorted(drawn[key]):
        digest.update(drawn[key][name].image.tobytes())
        digest.update(drawn[key][name].labels.tobytes())
    assert digest.hexdigest() == STATED[key].sha256, "the pictures changed: raise mini.VERSION"


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_pictures_have_the_stated_form_and_number(drawn: Drawn, key: str) -> None:
    assert len(drawn[key]) == STATED[key].pictures
    for picture in drawn[key].values():
        assert picture.image.shape == (mini.SIDE, mini.SIDE, 3)
        assert picture.labels.shape == (mini.SIDE, mini.SIDE)
        assert picture.image.dtype == picture.labels.dtype == np.uint8
        assert picture.image.flags.c_contiguous
        assert picture.labels.flags.c_contiguous


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_labels_are_the_promised_classes_and_no_others(drawn: Drawn, key: str) -> None:
    promised: dict[str, set[int]] = {name: set() for name in drawn[key]}
    for index, names in enumerate(mini.DOMAINS[key].pictures):
        for name in names:
            promised[name].add(index + 1)
    unlabelled = {0, mini.VOID} if key == "mini-source" else {0}
    for name, picture in drawn[key].items():
        present = {int(label) for label in np.unique(picture.labels)}
        assert present - unlabelled == promised[name], name


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_every_promised_class_is_large_enough_to_see(drawn: Drawn, key: str) -> None:
    for name, index, share in shares(drawn, key):
        assert share >= STATED[key].least, (name, index)


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_the_mean_share_lies_where_its_model_has_it(drawn: Drawn, key: str) -> None:
    mean = np.mean([share for _, _, share in shares(drawn, key)])
    assert STATED[key].low <= mean <= STATED[key].high


@pytest.mark.parametrize("key", mini.DOMAINS)
def test_each_class_has_its_pictures_in_the_order_of_their_names(key: str) -> None:
    domain = mini.DOMAINS[key]
    assert len(domain.pictures) == len(domain.classes)
    assert all(list(names) == sorted(set(names)) for names in domain.pictures)


@pytest.mark.parametrize("key", mini.DOMAINS)
@pytest.mark.parametrize("name", ["", "nothing", "source/960", "objects/apple/11", "chest/60"])
def test_unknown_names_are_refused_in_one_sentence(key: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key} has no picture '{name}'$"):
        mini.DOMAINS[key].draw(name)


def test_every_class_of_land_cover_is_on_18_tiles_and_agriculture_on_most() -> None:
    domain = mini.DOMAINS["mini-landcover"]
    tiles = [len(names) for names in domain.pictures]
    assert min(tiles) >= 18
    assert max(tiles) == tiles[domain.classes.index("agriculture")]


def test_every_pixel_of_a_tile_has_a_class(drawn: Drawn) -> None:
    assert all(picture.labels.all() for picture in drawn["mini-landcover"].values())


def test_films_are_grey(drawn: Drawn) -> None:
    for picture in drawn["mini-chest"].values():
        assert (picture.image == picture.image[:, :, :1]).all()


def test_source_objects_have_a_border_of_void_wherever_labels_meet(drawn: Drawn) -> None:
    for picture in drawn["mini-source"].values():
        inner = picture.labels
        for first, second in ((inner[1:], inner[:-1]), (inner[:, 1:], inner[:, :-1])):
            differ = first != second
            assert ((first == mini.VOID) | (second == mini.VOID))[differ].all()


def test_source_and_objects_share_no_class() -> None:
    source, objects = mini.DOMAINS["mini-source"], mini.DOMAINS["mini-objects"]
    assert not set(source.classes) & set(objects.classes)


def test_a_picture_does_not_depend_on_what_was_drawn_before(drawn: Drawn) -> None:
    for key, domain in mini.DOMAINS.items():
        name = names_of(domain)[-1]
        again = domain.draw(name)
        assert (again.image == drawn[key][name].image).all()
        assert (again.labels == drawn[key][name].labels).all()


def test_no_arithmetic_whose_last_bit_may_vary() -> None:
    """Only listed functions of numpy, no powers or matrix products, no floats summed at large."""
    allowed = {*ARRAY_FUNCTIONS.split(), *ARRAY_TYPES.split()}
    unordered = set(UNORDERED_METHODS.split())
    for path in sorted(Path(mini.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "np":
                    assert node.attr in allowed, f"{place} np.{node.attr}"
                if node.value.id == "math":
                    assert node.attr in {"floor", "sqrt", "prod"}, f"{place} math.{node.attr}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if not (isinstance(owner, ast.Name) and owner.id in {"np", "math"}):
                    assert node.func.attr not in unordered, f"{place} .{node.func.attr}()"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"sum", "pow", "hash", "round"}, place
            if isinstance(node, ast.BinOp | ast.AugAssign):
                assert not isinstance(node.op, ast.Pow | ast.MatMult), place
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names]
                assert not {"random", "secrets", "statistics", "cmath"} & set(modules), place
