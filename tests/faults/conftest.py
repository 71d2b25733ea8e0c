"""What the fault tests share: an undisturbed run to compare with, and conditions for children."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..bench.conftest import seeded_weights as seeded_weights
from . import works
from .children import Conditions, finish, start

Under = Callable[..., Conditions]
Tree = dict[str, bytes]


def rows_of(results: Path) -> Tree:
    """Every `episodes.jsonl` under a results folder."""
    return {
        path.relative_to(results).as_posix(): path.read_bytes()
        for path in (results / "runs").glob("*/*/*/episodes.jsonl")
    }


@pytest.fixture
def under(tmp_path: Path) -> Under:
    """Conditions for a child that has the test's own cache."""

    def made(**changed: Any) -> Conditions:
        environment: Mapping[str, str] = {
            "CDFSS_CACHE": str(tmp_path / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        return replace(Conditions(environment, tmp_path / "errors.txt"), **changed)

    return made


@pytest.fixture
def selected(seeded_weights: Path) -> dict[str, Any]:
    """Two cells of some seconds."""
    return {
        "methods": ["ssp", "prototype"],
        "domains": ["mini-lesion"],
        "suite": "mini",
        "weights_dirs": (seeded_weights,),
        "episodes": 25,
    }


@pytest.fixture
def undisturbed(under: Under, selected: dict[str, Any], tmp_path: Path) -> Path:
    """The results of a run that nothing happened to; its pictures are in the cache."""
    conditions = under()
    results = tmp_path / "undisturbed"
    assert finish(start(works.evaluate, results, selected, under=conditions), conditions) == 0
    return results
