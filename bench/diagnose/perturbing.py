"""Noise in one stage's features, and in the weights, put in and taken out again."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cdfss_bench.canonical import seed_of
from cdfss_bench.methods.backbones.base import EditStage, StageMaps
from cdfss_bench.methods.core.method import Method


@contextmanager
def noisy_stage(network: Method, stage: int, radius: float, seed: int) -> Generator[None]:
    """While it lasts, `F_s + radius * std_c(F_s) * N(0, 1)` takes the place of stage s's features.

    Both what the next stage sees and the taps that a host reads are perturbed. `std_c` is the
    standard deviation of a channel over the positions of its image, so that a radius means the
    same in every stage. The noise of an image depends on the image, the stage and the seed alone.
    """
    backbone: Any = network.backbone
    walk = backbone.walk

    def noisy_walk(images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        streams = [_stream(image, stage, seed) for image in images]

        def noisy_edit(index: int, output: Tensor) -> Tensor:
            seen = output if edit is None else edit(index, output)
            return noised(seen, radius, streams) if index == stage else seen

        for index, maps in enumerate(walk(images, noisy_edit)):
            if index == stage:
                taps = [noised(tap, radius, streams) for tap in maps.taps]
                yield replace(maps, taps=taps)
            else:
                yield maps

    own = vars(backbone).get("walk")
    backbone.walk = noisy_walk
    try:
        yield
    finally:
        del backbone.walk
        if own is not None:
            backbone.walk = own


def noised(maps: Tensor, radius: float, streams: Sequence[torch.Generator]) -> Tensor:
    """`maps` [N, C, h, w] with white noise of `radius` standard deviations of each channel."""
    scale = maps.std((2, 3), keepdim=True, correction=0)
    noise = torch.stack(
        [torch.randn(m.shape, generator=g) for m, g in zip(maps, streams, strict=True)]
    )
    return maps + radius * scale * noise.to(maps)


@contextmanager
def moved(parameters: Sequence[nn.Parameter], steps: Sequence[Tensor]) -> Generator[None]:
    """While it lasts, each parameter is moved by its step; then it is what it was, to the bit."""
    kept = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.add_(step.to(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def filter_direction(parameters: Sequence[nn.Parameter], rng: torch.Generator) -> list[Tensor]:
    """A random direction in which every filter has the norm of the parameter's own filter.

    Vectors (biases, normalisation) do not move (Li et al., NeurIPS 2018, section 4).
    """
    steps: list[Tensor] = []
    for parameter in parameters:
        value = parameter.detach().cpu()
        if value.ndim < 2:
            steps.append(torch.zeros_like(value))
            continue
        drawn = torch.randn(value.shape, generator=rng)
        norms = [t.flatten(1).norm(dim=1).clamp_min(1e-12) for t in (value, drawn)]
        shape = (-1, *[1] * (value.ndim - 1))
        steps.append(drawn * (norms[0] / norms[1]).view(shape))
    return steps


def _stream(image: Tensor, stage: int, seed: int) -> torch.Generator:
    content = image.detach().cpu().contiguous().numpy().tobytes()
    return torch.Generator().manual_seed(seed_of(f"{stage}/{seed}/".encode() + content))
