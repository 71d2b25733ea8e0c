"""Wide convolutions by their spectra at inference: the same values up to rounding."""

import pytest
import torch
from torch import nn

from cdfss_bench.methods.fast import spectra
from cdfss_bench.methods.fast.dra import FastDRA
from cdfss_bench.methods.fast.spectra import Spectral

from ...support.contract import as_a, episodes, network, same_scores, side
from ...support.draws import normal


def convolution(*, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 7, dilation=2, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
def test_values_are_those_of_the_convolution(*, bias: bool) -> None:
    own = convolution(bias=bias)
    form = Spectral(own)
    with torch.inference_mode():
        for shape in ((2, 3, 40, 33), (1, 3, 13, 90), (2, 3, 40, 33)):
            maps = normal(*shape)
            found = form(maps)
            assert found.stride(1) == 1
            torch.testing.assert_close(found, own(maps), rtol=1e-5, atol=1e-5)


def test_gradients_and_mixed_precision_are_left_to_the_convolution() -> None:
    own = convolution()
    maps = normal(1, 3, 20, 20)
    assert Spectral(own)(maps).requires_grad
    with torch.no_grad():
        assert not torch.equal(Spectral(own)(maps), own(maps))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(Spectral(own)(maps), own(maps))
        half = own.bfloat16()(maps.bfloat16())
        assert torch.equal(Spectral(own)(maps.bfloat16()), half)


def test_the_adapters_of_dra_are_computed_so_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "_WIDE", 3)
    monkeypatch.setattr(spectra, "_MANY", 1)
    plain = network("dra")
    for device, many in (("cpu", 9), ("cuda", 0)):
        form = as_a(FastDRA, plain.optimized_for(device))
        assert sum(isinstance(module, Spectral) for module in form.modules()) == many
        same_scores(plain, device, *episodes(2, 2, side("dra")).inputs)
