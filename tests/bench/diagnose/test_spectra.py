"""The 3 x 3 filters and the correlations of channels against cases that one can compute."""

import math

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.diagnose.correlation import channel_correlations, distribution, noise_level
from cdfss_bench.bench.diagnose.spectra import Edge, Filter, cells, low_band


def picture(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def wave(cycles: int, shift: float = 0.0, side: int = 32) -> Tensor:
    along = torch.arange(side) / side
    return torch.cos(2 * math.pi * (cycles * along + shift)).expand(side, side)


@pytest.mark.parametrize("size", [(16, 16), (13, 13), (12, 15)])
def test_every_filter_gives_real_maps(size: tuple[int, int]) -> None:
    for cell in (*cells(0.4), *cells(0.4, "ideal")):
        spectrum = torch.fft.fft2(cell(picture(*size)).double())
        mirrored = spectrum.flip((-2, -1)).roll((1, 1), (-2, -1)).conj()
        torch.testing.assert_close(spectrum, mirrored, atol=1e-4, rtol=0)


@pytest.mark.parametrize("edge", ["gaussian", "ideal"])
def test_amplitudes_are_multiplied_by_what_the_band_keeps(edge: Edge) -> None:
    maps, low = picture(15, 15), low_band((15, 15), 0.5, edge)
    before = torch.fft.fft2(maps).abs()
    for cell in cells(0.5, edge):
        after = torch.fft.fft2(cell(maps)).abs()
        kept = {"all": torch.ones_like(low), "low": low, "high": 1 - low}[cell.amplitude]
        torch.testing.assert_close(after, before * kept, atol=1e-3, rtol=0)


def test_a_phase_that_is_not_kept_is_zero() -> None:
    slow, fast = wave(2, 0.2), wave(10, 0.2)
    both = slow + fast
    torch.testing.assert_close(
        Filter("all", "low", 0.3, "ideal")(both), slow + wave(10), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        Filter("all", "high", 0.3, "ideal")(both), wave(2) + fast, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(Filter("low", "all", 0.3, "ideal")(both), slow, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        Filter("high", "low", 0.3, "ideal")(both), wave(10), atol=1e-4, rtol=0
    )


def test_the_bands_end_where_the_radius_says() -> None:
    maps = picture(16, 16)
    assert Filter("all", "all", 0.2)(maps) is maps
    assert int(low_band((16, 16), 0.0).sum()) == 1
    assert bool(low_band((16, 16), 1.5, "ideal").all())
    assert float(low_band((16, 16), 0.5)[0, 4]) == pytest.approx(math.exp(-0.5))
    constant = Filter("low", "all", 0.0)(maps)
    expected = maps.mean((-2, -1), keepdim=True).expand_as(maps)
    torch.testing.assert_close(constant, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(Filter("low", "low", 1.5, "ideal")(maps), maps, atol=1e-5, rtol=0)


def test_only_a_soft_edge_tells_all_phases_from_the_kept_ones() -> None:
    """As the paper's figure does; with an ideal edge these cells are equal by construction."""
    maps = picture(16, 16)
    for band in ("low", "high"):
        ideal = [Filter(band, phase, 0.4, "ideal")(maps) for phase in ("all", band)]
        torch.testing.assert_close(*ideal, atol=1e-4, rtol=0)
        soft = [Filter(band, phase, 0.4)(maps) for phase in ("all", band)]
        assert float((soft[0] - soft[1]).abs().mean()) > 0.05


def test_correlations_of_channels() -> None:
    one, other = wave(2), wave(2, 0.25)
    maps = torch.stack((one, -2 * one + 5, other, torch.full_like(one, 3.0)))
    found = channel_correlations(maps)
    # The constant channel has none; a shift, a scale and a sign change nothing.
    torch.testing.assert_close(found, torch.tensor([1.0, 0, 0], dtype=found.dtype))
    shares = distribution(found)
    assert float(shares.sum()) == pytest.approx(1)
    assert (float(shares[0]), float(shares[-1])) == pytest.approx((2 / 3, 1 / 3))


@pytest.mark.parametrize("side", [4, 13])
def test_independent_channels_are_at_the_noise_level(side: int) -> None:
    maps = torch.randn(400, side, side, generator=torch.Generator().manual_seed(0))
    found = float(channel_correlations(maps).mean())
    assert found == pytest.approx(noise_level(side * side), rel=0.01)
    shared = torch.randn(1, side, side, generator=torch.Generator().manual_seed(1))
    assert float(channel_correlations(maps + shared).mean()) > 2 * noise_level(side * side)


def test_two_positions_have_no_correlation() -> None:
    with pytest.raises(ValueError, match="2 positions"):
        noise_level(2)
