"""Wide convolutions by their spectra: values and gradients are the plain ones up to rounding."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from cdfss_bench.methods import build, parse
from cdfss_bench.methods.fast import trained_spectra
from cdfss_bench.methods.fast.trained_spectra import SpectralConvolution, wide_convolutions

RNG = torch.Generator()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=RNG, dtype=torch.float64)


def convolution(size: int, dilation: int, *, bias: bool = True) -> nn.Conv2d:
    RNG.manual_seed(size)
    made = nn.Conv2d(3, 4, size, dilation=dilation, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(drawn(*parameter.shape))
    return made


def outcome(way: nn.Module | SpectralConvolution, own: nn.Conv2d, *maps: Tensor) -> list[Tensor]:
    found = [way(each) for each in maps]
    RNG.manual_seed(1)
    slopes = [drawn(*each.shape) for each in found]
    return [*found, *torch.autograd.grad(found, [*maps, *own.parameters()], slopes)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("size", "dilation", "sides"),
    [
        (7, 2, [(40, 37), (13, 14)]),
        (7, 1, [(7, 50), (40, 20)]),
        (5, 3, [(31, 45)]),
        (4, 1, [(20, 21)]),
        (3, 1, [(90, 10)]),
    ],
)
def test_values_and_gradients_are_those_of_the_convolution(
    size: int, dilation: int, sides: list[tuple[int, int]], *, bias: bool
) -> None:
    own = convolution(size, dilation, bias=bias)
    # Twice the same size: gradients of the kernel are added before they are transformed.
    maps = [drawn(2, 3, *side).requires_grad_() for side in (*sides, sides[0])]
    plain = outcome(own, own, *maps)
    found = outcome(SpectralConvolution(own), own, *maps)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [8, 12, 20, 32])
def test_every_side_of_the_tiles_gives_the_same(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own = convolution(7, 2)
    maps = drawn(1, 3, 40, 33).requires_grad_()
    given = trained_spectra.Tiling(7, 2, side, 1, (40, 33))
    monkeypatch.setattr(trained_spectra.Tiling, "of", lambda *_, **__: given)
    found = outcome(SpectralConvolution(own), own, maps)
    for one, other in zip(found, outcome(own, own, maps), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_single_precision_loses_no_more_than_a_sum_does() -> None:
    own = convolution(7, 2).float()
    maps = drawn(2, 3, 50, 50).float().requires_grad_()
    for one, other in zip(
        outcome(SpectralConvolution(own), own, maps), outcome(own, own, maps), strict=True
    ):
        assert float((one - other).detach().abs().max() / other.detach().abs().max()) < 1e-5


def test_the_maps_need_no_gradient() -> None:
    own, maps = convolution(7, 2), drawn(1, 3, 20, 20)
    SpectralConvolution(own)(maps).sum().backward()
    found = own.weight.grad
    assert found is not None
    own.weight.grad = None
    own(maps).sum().backward()
    torch.testing.assert_close(found, own.weight.grad)


def test_spectra_are_gone_with_the_graph() -> None:
    own = convolution(7, 2)
    found = SpectralConvolution(own)(drawn(1, 3, 20, 20))
    (kernel,) = (weakref.ref(o) for o in gc.get_objects() if type(o).__name__ == "_Kernel")
    found.sum().backward()
    assert kernel() is not None
    del found
    assert kernel() is None


def test_mixed_precision_takes_the_convolution_itself() -> None:
    own = convolution(7, 2).float()
    maps = drawn(1, 3, 20, 20).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SpectralConvolution(own)(maps), own(maps))


def test_only_wide_convolutions_of_many_channels_outside_the_backbone_are_taken() -> None:
    published = build(parse("dra"), backbone="resnet50-deep")
    assert len(wide_convolutions(published)) == 9
    assert wide_convolutions(build(parse("dra[kernel=3]"), backbone="resnet50-deep")) == []
    assert wide_convolutions(build(parse("dra"), backbone="resnet-mini")) == []
