"""`predict` writes one picture per cell, and none over another's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.cell_folder import safe_name
from cdfss_bench.bench.reporting.qualitative.panels import file_name, panel
from cdfss_bench.datasets import Episode, open_domain

from ...support.shown import typed


def names(**changed: object) -> list[str]:
    usual = {"methods": ("prototype",), "domains": ("mini-lesion",), "suite": "mini", "episodes": 1}
    cells = [p.cell for p in plan(Selection.model_validate({**usual, **changed}))]
    return [file_name(cell) for cell in cells if cell is not None]


def predicted(folder: Path, words: str) -> list[str]:
    line = f"predict -m prototype -d mini-lesion --count 1 -o {folder} {words}"
    done = typed(*line.split())
    assert done.exit_code == 0, done.output
    assert done.stderr.count("wrote ") == len(list(folder.iterdir()))
    for path in folder.iterdir():
        assert f"wrote {path}\n" in done.stderr
    return sorted(path.name for path in folder.iterdir())


def test_three_seeds_are_three_pictures(tmp_path: Path) -> None:
    found = predicted(tmp_path / "p", "--seed 0..2")
    assert [name.rpartition("-")[0] for name in found] == [
        f"mini-lesion-1shot-seed{seed}-patnet-prototype" for seed in range(3)
    ]
    contents = {(tmp_path / "p" / name).read_bytes() for name in found}
    assert len(contents) == 3


def test_the_same_cell_is_the_same_picture(tmp_path: Path) -> None:
    first = predicted(tmp_path / "p", "")
    assert predicted(tmp_path / "p", "") == first


@pytest.mark.parametrize(
    "changed",
    [
        {"methods": ("prototype", "all-foreground", "prototype@shuffled-support")},
        {"domains": ("mini-lesion", "mini-chest")},
        {"shots": (1, 2, 5)},
        {"seeds": (0, 1, 2)},
        {"methods": ("ssp+lcm", "ssp+lcm[k=5]", "ssp+lcm[k=3]")},
    ],
)
def test_whatever_differs_the_names_do(changed: dict[str, tuple[object, ...]]) -> None:
    (values,) = changed.values()
    found = names(**changed)
    assert len(set(found)) == len(found) == len(values)


def test_what_only_the_id_says_differs_too() -> None:
    found = [*names(), *names(episodes=2), *names(protocol="strict"), *names(precision="bf16")]
    assert len(set(found)) == 4


def test_names_that_become_one_are_told_apart_by_the_id() -> None:
    long = "ssp+lcm[k=5,beta=0.6]"
    other = "ssp+lcm[k=5,beta=0.7]"
    assert safe_name("a[b]") == safe_name("a(b)")
    assert len(set(names(methods=(long, other)))) == 2
    assert all(len(name) < 255 and "/" not in name for name in names(methods=(long, other)))


def test_a_title_of_any_characters_can_be_drawn() -> None:
    domain = open_domain("mini-lesion")
    (first, *_) = domain.episodes(1, 0, "patnet").episodes
    assert isinstance(first, Episode)
    mask = np.zeros((domain.card.image_size,) * 2, np.uint8)
    strip = panel(domain, first, mask, title="méthode 漢字 \udcff")
    assert isinstance(strip, Image.Image)
