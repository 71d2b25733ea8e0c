"""`cka` finds inverted colours in the shallow stages, and nothing where nothing was planted."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.bench.diagnose import cka
from cdfss_bench.bench.diagnose.drawing import rendered
from cdfss_bench.bench.diagnose.finding import Finding
from cdfss_bench.bench.diagnose.frames import row_where

from .planted import Changed, subject_of


def inverted(image: NDArray[np.uint8], _path: str) -> NDArray[np.uint8]:
    return 255 - image


def found(folder: Path, method: str, *domains: Any, images: int = 20) -> Finding:
    options: dict[str, Any] = {"images": images, "permutations": 30}
    return cka.diagnose(subject_of(method, folder, cka.OPTIONS, *domains, **options))


def test_inverted_colours_are_found_in_the_stem(tmp_path: Path) -> None:
    planted = Changed("mini-objects", "inverted colours", inverted)
    finding = found(tmp_path, "ssp", planted, "mini-objects", images=40)
    state = "after training, without LEM"
    stem = {"weights": state, "stage": "stem"}
    table = finding.tables["stages"]
    here = row_where(table, domain="inverted colours", **stem)
    untouched = row_where(table, domain="mini-objects", **stem)
    assert here["gap_low"] > 0.05
    assert untouched["gap_low"] < 0
    assert here["cka"] < untouched["cka_low"]
    deep = row_where(table, weights=state, domain="inverted colours", stage="layer3")
    assert deep["gap"] < here["gap"] / 3
    assert finding.sentences[0].startswith("After training, without LEM, inverted colours is least")
    assert "a significant gap" in finding.sentences[0]


def test_training_and_lem_are_compared_where_both_weights_are_here(tmp_path: Path) -> None:
    finding = found(tmp_path, "loec", "mini-lesion")
    states = list(dict.fromkeys(finding.tables["stages"]["weights"]))
    assert states == ["before training", "after training, without LEM", "after training, with LEM"]
    changes = finding.tables["changes"]
    deep = row_where(changes, change="training", to=states[2], domain="mini-lesion", stage="layer3")
    assert deep["beyond_low"] > 0
    frozen = changes[changes["stage"].isin(["stem", "layer1"])]
    assert (frozen["beyond"] == 0).all()
    assert "not counting stem, layer1" in finding.sentences[1]
    assert finding.sentences[2].startswith("With LEM instead of without it")
    for draw in finding.figures.values():
        png, svg = rendered(draw)
        assert png.startswith(b"\x89PNG")
        assert rendered(draw)[1] == svg


def test_a_frozen_backbone_has_nothing_before_and_after(tmp_path: Path) -> None:
    finding = found(tmp_path, "hsnet", "mini-lesion")
    assert finding.tables["changes"].empty
    assert list(dict.fromkeys(finding.tables["stages"]["weights"])) == [
        "after training, without LEM"
    ]
    assert "unchanged" in finding.sentences[1]
    assert "not both here" in finding.sentences[2]


def test_without_training_there_is_no_before_and_after(tmp_path: Path) -> None:
    finding = found(tmp_path, "prototype", "mini-lesion")
    assert set(finding.tables["stages"]["weights"]) == {"as pretrained"}
    assert finding.sentences[0].startswith("As pretrained")
    assert "Nothing was trained" in finding.sentences[1]
