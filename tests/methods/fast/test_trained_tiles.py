"""Convolutions of a training step by tiles beside torch's own: the same maps and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.fast.trained_tiles import tiled_convolution


def given(
    channels: int, size: tuple[int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two maps, a kernel, a bias, and a gradient of the result."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, *size, generator=rng)
    weight = torch.randn(channels + 1, channels, 3, 3, generator=rng) / (3 * channels**0.5)
    bias, grad = (
        torch.randn(shape, generator=rng) for shape in (len(weight), (2, len(weight), *size))
    )
    return x.to(dtype), weight.to(dtype), bias.to(dtype), grad.to(dtype)


def outcome(found: Tensor, asked: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    return found.detach(), *torch.autograd.grad(found, asked, grad)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 18), (1, 1)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_and_gradients_are_those_of_torch(
    size: tuple[int, int], dilation: int, layout: torch.memory_format
) -> None:
    x, weight, bias, grad = given(4, size, torch.float64)
    asked = (
        x.to(memory_format=layout).requires_grad_(),
        weight.requires_grad_(),
        bias.requires_grad_(),
    )
    expected = F.conv2d(*asked, padding=dilation, dilation=dilation)
    found = tiled_convolution(*asked, dilation)
    grad = grad.to(memory_format=layout)
    for ours, theirs in zip(
        outcome(found, asked, grad), outcome(expected, asked, grad), strict=True
    ):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_only_the_gradients_that_are_asked_are_given() -> None:
    x, weight, bias, grad = given(4, (6, 6), torch.float64)
    weight.requires_grad_()
    (alone,) = torch.autograd.grad(tiled_convolution(x, weight, bias), weight, grad)
    x.requires_grad_()
    both = torch.autograd.grad(tiled_convolution(x, weight, bias), (x, weight), grad)
    torch.testing.assert_close(alone, both[1])
    with torch.no_grad():
        assert not tiled_convolution(x, weight, bias).requires_grad


@pytest.mark.parametrize("dilation", [1, 2])
def test_rounding_is_small(dilation: int) -> None:
    """Relative to the standard deviation; the points 0, 1, -1, 2, -2 would give 2.5e-6."""
    x, weight, bias, grad = given(128, (26, 26), torch.float32)
    asked = (x.relu().requires_grad_(), weight.requires_grad_())
    exact = tuple(each.detach().double().requires_grad_() for each in asked)
    result = F.conv2d(exact[0], exact[1], bias.double(), padding=dilation, dilation=dilation)
    expected = outcome(result, exact, grad.double())
    found = outcome(tiled_convolution(*asked, bias, dilation), asked, grad)
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).std() / theirs.std()) < 1.5e-6
