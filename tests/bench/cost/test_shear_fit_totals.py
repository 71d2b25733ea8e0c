"""The counter against hand-derived operations of ABCDFSS, whose work is the same for all data."""

import pytest
import torch

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.shear_fit import Adapter, Views, fit
from cdfss_bench.methods.conformance.probe import seeded

from ...support.hand_counts import resnet_mini

WIDTH, COPIES = 64, 2
MINI = [(48, 16, 2), (96, 8, 2), (128, 4, 2)]
"""Channels, side and taps of resnet-mini's pyramid at 128 pixels."""


def layers(channels: int, positions: int) -> tuple[int, int]:
    """An adapter's two layers on so many positions."""
    return 2 * channels * WIDTH * positions, 2 * WIDTH * WIDTH * positions


def step(channels: int, side: int, shots: int) -> int:
    """Forward and backward: the first layer's input asks for no gradient, all else for both."""
    images = COPIES * (1 + shots)
    first, second = layers(channels, 2 * images * side**2)
    return 2 * first + 3 * (second + 2 * images * side**4 * WIDTH)


def matching(channels: int, side: int, shots: int) -> int:
    """The adapters on all images, every query position against every support position."""
    first, second = layers(channels, (1 + shots) * side**2)
    return first + second + 2 * shots * side**4 * (WIDTH + 1)


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("steps", [1, 2])
def test_the_record_of_the_mini_suites_abcdfss(shots: int, steps: int) -> None:
    method = seeded(build("abcdfss", backbone="resnet-mini", steps=steps)).eval()
    cost = cost_of(method, shots=shots, size=128, device="cpu")
    image = resnet_mini(128)
    fitting = steps * sum(taps * step(c, side, shots) for c, side, taps in MINI)
    adapt = COPIES * (1 + shots) * image + fitting
    match = sum(taps * matching(c, side, shots) for c, side, taps in MINI)
    assert cost.flops_encode == cost.flops_support == image
    assert cost.flops_adapt == adapt
    assert cost.flops_match == match
    assert cost.flops_episode == (1 + shots) * image + adapt + match
    assert cost.flops_published is None


def test_a_step_on_a_tap_of_a_real_size() -> None:
    channels, side = 2048, 13
    maps = torch.randn(4, COPIES, channels, side, side, generator=torch.Generator().manual_seed(0))
    views = Views(maps[0], maps[1], maps[2], maps[3], torch.ones(COPIES, side, side))
    adapter = Adapter(channels)
    assert operations_of(lambda: fit(adapter, views, 1)).flops == step(channels, side, 1)


def test_the_printed_figures() -> None:
    real = [(512, 50, 4), (1024, 25, 6), (2048, 13, 3)]

    def fitting(shots: int, *, to_features: bool) -> float:
        """The published code asks for gradients of the features too, and uses them nowhere."""
        total = 0
        for channels, side, taps in real:
            unused = layers(channels, 2 * COPIES * (1 + shots) * side**2)[0]
            total += taps * (step(channels, side, shots) + (unused if to_features else 0))
        return 25 * total / 1e9

    assert [round(fitting(shots, to_features=True)) for shots in (1, 5)] == [1891, 5674]
    assert [round(fitting(shots, to_features=False)) for shots in (1, 5)] == [1635, 4906]
