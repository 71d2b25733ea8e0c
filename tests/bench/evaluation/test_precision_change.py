"""Reduced precision: asked for, on the record, and never beside full precision."""

import dataclasses
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.evaluation.precision_change import differences
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.adaptation import copy_of

from ...support.contract import compositions, episodes, network, side


def ran(results: Path, precision: str) -> list[Outcome]:
    asked = Selection(
        methods=("ssp",),
        domains=("mini-lesion",),
        episodes=3,
        precision=precision,  # pyright: ignore[reportArgumentType]
    )
    return list(Runner(results, with_cost=False).run(plan(asked)))


def test_a_reduced_cell_is_a_cell_of_its_own_and_told_beside_fp32(tmp_path: Path) -> None:
    (reduced,) = ran(tmp_path, "bf16")
    (alone,) = differences([reduced], tmp_path)
    assert alone.startswith("1 cell has no fp32 record")
    (full,) = ran(tmp_path, "fp32")
    assert full.how == "computed"
    assert reduced.record is not None
    assert full.record is not None
    assert reduced.record.cell != full.record.cell
    assert reduced.record.evaluator.precision == "bf16"
    assert reduced.record.metrics is not None
    assert full.record.metrics is not None
    change = reduced.record.metrics.miou - full.record.metrics.miou
    assert 0 < abs(change) < 3
    (line,) = differences([reduced, full], tmp_path)
    assert line.endswith(f"{change:+.2f}")
    assert "bf16" in line
    assert line.startswith("ssp · mini-lesion · 1-shot · seed 0")


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision"):
        Selection(methods=("ssp",), precision="fp8")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", compositions())
def test_features_are_float32_and_near_those_of_fp32(name: str) -> None:
    full = network(name)
    if not hasattr(full, "backbone"):
        pytest.skip("looks at no features")
    reduced = copy_of(full)
    reduced.precision = "bf16"
    images = episodes(1, 1, side(name)).query_images
    with torch.no_grad():
        expected, found = full.encode(images), reduced.encode(images)
    apart = 0.0
    for key, tensor in expected.tensors.items():
        assert found.tensors[key].dtype == torch.float32
        scale = float(tensor.square().mean().sqrt())
        apart = max(apart, float((found.tensors[key] - tensor).square().mean().sqrt()) / scale)
    if "image" in expected.tensors and len(expected.tensors) == 1:
        assert apart == 0  # FPTrans: its images go through the transformer when they are matched
    else:
        assert 0 < apart < 0.1


def test_a_plan_file_may_ask_for_it() -> None:
    asked = Selection(methods=("ssp",), domains=("mini-lesion",), precision="bf16", episodes=2)
    (planned,) = plan(asked)
    assert planned.cell is not None
    assert planned.asked is not None
    assert planned.asked.precision == "bf16"
    assert dataclasses.replace(planned.cell, precision="fp32").id != planned.cell.id


def test_a_wrong_word_on_the_command_line_is_a_sentence() -> None:
    from cdfss_bench.bench.cli.selection_options import SelectionOptions

    with pytest.raises(UserError, match="precision"):
        SelectionOptions(methods=["ssp"]).selection(precision="int8")
