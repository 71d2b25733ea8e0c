"""What a method costs: every part is counted, adaptation by its steps."""

from typing import Any

import pytest
from torch import Tensor

from cdfss_bench.bench.cost import profile
from cdfss_bench.bench.cost.profile import cost_of, probe
from cdfss_bench.bench.records.schema import CostPart
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.conformance.probe import seeded


def cost(name: str) -> CostPart:
    network = seeded(build(parse(name).in_miniature(), backbone="resnet-mini"))
    return cost_of(network, shots=2, size=128, device="cpu")


def test_a_method_that_does_not_learn_at_test_pays_nothing_for_it() -> None:
    found = cost("hsnet")
    assert found.flops_adapt == 0
    assert set(found.latency_ms) == {"encode", "match", "episode"}
    assert found.flops_episode == 3 * found.flops_encode + found.flops_match


@pytest.mark.parametrize("name", ["hsnet+apm-s[steps={}]", "patnet+tfi[steps={},repair=soft_mask]"])
def test_each_step_of_adaptation_costs_the_same_and_counts_in_the_episode(name: str) -> None:
    one, two, three = (cost(name.format(steps)) for steps in (1, 2, 3))
    assert one.flops_adapt > 0
    assert three.flops_adapt - two.flops_adapt == two.flops_adapt - one.flops_adapt > 0
    assert one.flops_episode == 3 * one.flops_encode + one.flops_adapt + one.flops_match
    assert set(one.latency_ms) == {"encode", "match", "adapt", "episode"}


@pytest.mark.parametrize("name", ["hsnet+apm-s[steps=1]", "hsnet+finetune[steps=1]"])
def test_what_is_counted_is_the_same_whatever_the_masks_leave(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU leaves out zeros, and is not what is counted."""
    expected = cost(name).flops_adapt

    def half(*values: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
        query, supports, masks = probe(*values, **named)
        masks[..., : masks.shape[-1] // 2] = 0
        return query, supports, masks

    monkeypatch.setattr(profile, "probe", half)
    assert cost(name).flops_adapt == expected


def test_transforms_are_counted_apart() -> None:
    found = cost("hsnet+apm-s[steps=1]")
    assert found.flops_fft > 0
    assert not any("fft" in name for name in found.uncounted)
    assert cost("hsnet").flops_fft == 0


def test_what_no_published_code_does_has_no_published_figure() -> None:
    assert cost("hsnet+apm-s[steps=1]").flops_published is None
    assert cost("hsnet+lcm").flops_published is None
    assert (cost("hsnet").flops_published or 0) > cost("hsnet").flops_episode
