"""The trained stages' faster form: the same maps and gradients as the plain modules."""

import pytest
import torch
from torch import Tensor, nn

from cdfss_bench.methods.fast import trained
from cdfss_bench.methods.fast.trained import FoldedConvolution
from cdfss_bench.methods.fast.trained_tiles import tiled_convolution


def pair(dilation: int, *, bias: bool) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    rng = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(4, 5, 3, padding=dilation, dilation=dilation, bias=bias)
    norm = nn.BatchNorm2d(5).eval().requires_grad_(requires_grad=False)
    for tensor in (*convolution.parameters(), norm.weight, norm.bias, norm.running_mean):
        assert tensor is not None
        tensor.data.copy_(torch.randn(tensor.shape, generator=rng))
    assert norm.running_var is not None
    norm.running_var.copy_(1 + torch.rand(5, generator=rng))
    return convolution.double(), norm.double()


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("tiled", [4, 5])
def test_a_folded_convolution_gives_the_plain_maps_and_gradients(
    dilation: int,
    *,
    bias: bool,
    layout: torch.memory_format,
    tiled: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trained, "_TILED", tiled)
    convolution, norm = pair(dilation, bias=bias)
    folded = FoldedConvolution(convolution, norm)
    rng = torch.Generator().manual_seed(1)
    maps = torch.randn(2, 4, 9, 7, generator=rng).double()  # no multiple of a dilation
    asked = maps.to(memory_format=layout).requires_grad_()
    asked_of = (asked, *convolution.parameters())

    def outcome(found: Tensor) -> tuple[Tensor, ...]:
        return found, *torch.autograd.grad(found.sin().sum(), asked_of)

    for found, expected in zip(
        outcome(folded(asked)), outcome(norm(convolution(asked))), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_tiles_are_for_wide_maps_that_lie_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []

    def seen(x: Tensor, *others: object) -> Tensor:
        asked.append(x.shape)
        return tiled_convolution(x, *others)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(trained, "tiled_convolution", seen)
    convolution, norm = (part.float() for part in pair(1, bias=True))
    maps = torch.randn(2, 4, 9, 7, generator=torch.Generator().manual_seed(1))
    last = maps.to(memory_format=torch.channels_last)
    FoldedConvolution(convolution, norm)(last)  # pyright: ignore[reportArgumentType]
    assert not asked
    monkeypatch.setattr(trained, "_TILED", 4)
    wide = FoldedConvolution(convolution, norm)  # pyright: ignore[reportArgumentType]
    wide(maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert wide(last).dtype == torch.bfloat16
    assert not asked
    wide(last)
    assert asked == [maps.shape]
