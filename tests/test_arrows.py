"""Which package may import which. An import inside a function or for the type checker counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CHECKOUT
from .support.imports import API_MODULES, FOLDERS, PROJECT, import_graph, importers, is_below

LAYERS = {
    "bench": (
        ("cli",),
        ("python",),
        ("diagnose", "regression", "executors", "scaffold", "doctor"),
        ("reporting",),
        ("comparison",),
        ("training",),
        ("evaluation",),
        ("planning",),
        ("cost",),
        ("statistics",),
        ("records",),
        ("runtime",),
    ),
    "datasets": (("prepare", "check"), ("domains", "mini"), ("core",)),
    "methods": (
        ("conformance",),
        ("weights",),
        ("grammar",),
        ("registry",),
        ("fast",),
        ("plugins",),
        ("hosts",),
        ("controls",),
        ("core",),
        ("backbones",),
        ("blocks",),
    ),
}
"""From top to bottom: a package imports only packages of the lines below its own."""


def layer_of(name: str) -> tuple[str, int] | None:
    """Folder and line of a module's package in `LAYERS`."""
    for folder, lines in LAYERS.items():
        for number, line in enumerate(lines):
            if any(is_below(name, f"{PROJECT}.{folder}.{package}") for package in line):
                return folder, number
    return None


def package_of(name: str) -> str:
    return ".".join(name.split(".")[1:3])


def ascents(graph: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Importer and imported module wherever the first does not stand above the second."""
    for name, targets in graph.items():
        for target in sorted(targets):
            here, there = layer_of(name), layer_of(target)
            if here is None or there is None or here[0] != there[0]:
                continue
            if package_of(name) != package_of(target) and here[1] >= there[1]:
                yield name, target


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """What a module imports, directly or not; the module itself only where it lies on a circle."""
    found, waiting = set[str](), [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""
    below = {name: reached(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in below[name] if name in below.get(other, set())))
        for name in graph
    }
    return sorted(list(group) for group in groups if group)


def without_facade() -> dict[str, set[str]]:
    """The imports without those of `cdfss_bench` itself: it loads its names when first used."""
    return {name: targets for name, targets in import_graph().items() if name != PROJECT}


@pytest.mark.parametrize("folder", LAYERS)
def test_every_package_has_its_place_in_the_order(folder: str) -> None:
    packages = {init.parent.name for init in (CHECKOUT / folder).glob("*/__init__.py")}
    placed = [package for line in LAYERS[folder] for package in line]
    assert sorted(placed) == sorted(packages - {"api"})


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_lies_in_a_package(folder: str) -> None:
    assert [path.name for path in (CHECKOUT / folder).glob("*.py")] == ["__init__.py"]


def test_a_package_imports_only_what_stands_below_it() -> None:
    found: dict[tuple[str, str], list[str]] = {}
    for name, target in ascents(import_graph()):
        pair = package_of(name), package_of(target)
        found.setdefault(pair, []).append(f"{name} imports {target}")
    assert found == {}


def test_no_modules_import_each_other() -> None:
    assert circles(without_facade()) == []


def test_an_import_against_the_order_is_seen() -> None:
    below, above = f"{PROJECT}.bench.records.schema", f"{PROJECT}.bench.reporting.html.site"
    assert list(ascents({below: {above}, above: {below}})) == [(below, above)]
    beside = f"{PROJECT}.bench.doctor.findings", f"{PROJECT}.bench.diagnose.kinds"
    assert list(ascents({beside[0]: {beside[1]}})) == [beside]


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str](), "e": {"f"}, "f": {"e"}}
    assert circles(graph) == [["a", "b", "c"], ["e", "f"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set[str]()}) == []


def test_relative_imports_and_those_inside_functions_are_seen() -> None:
    graph = import_graph()
    assert f"{PROJECT}.bench.records.schema" in graph[f"{PROJECT}.bench.cli.list"]
    assert f"{PROJECT}.bench.evaluation.evaluator" in graph[PROJECT]
    assert importers((f"{PROJECT}.bench",), f"{PROJECT}.datasets") != []


@pytest.mark.parametrize(
    ("folder", "foreign"),
    [("methods", "bench"), ("methods", "datasets"), ("datasets", "bench"), ("datasets", "methods")],
)
def test_methods_and_data_sets_know_neither_each_other_nor_the_harness(
    folder: str, foreign: str
) -> None:
    assert importers((f"cdfss_bench.{folder}",), f"cdfss_bench.{foreign}") == []


def test_one_module_of_the_methods_knows_the_fast_forms() -> None:
    """What a paper describes is not mixed with what makes it fast."""
    fast = "cdfss_bench.methods.fast"
    known = {line.split()[0] for line in importers(("cdfss_bench.methods",), fast)}
    assert {name for name in known if not is_below(name, fast)} == {
        "cdfss_bench.methods.registry.build"
    }


def test_nothing_outside_the_command_line_imports_it() -> None:
    outside = [
        line
        for line in importers(("cdfss_bench",), "cdfss_bench.bench.cli")
        if not line.startswith("cdfss_bench.bench.cli")
    ]
    assert outside == []


def test_the_shared_words_import_none_of_the_three_folders() -> None:
    words = tuple(f"cdfss_bench.{Path(name).stem}" for name in API_MODULES if name[0] != "_")
    assert len(words) >= 6
    for folder in FOLDERS:
        assert importers(words, f"cdfss_bench.{folder}") == []
