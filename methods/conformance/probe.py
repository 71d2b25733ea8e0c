"""Networks with drawn parameters and drawn episodes, on which any method is checked."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import UserError

from ..core.contract import EpisodeBatch
from ..core.method import Method
from ..registry.build import build, fitting
from ..registry.name_grammar import Composition, parse

SIDES = (64, 96, 128)
"""Image sides to try, smallest first."""


def composition(name: str) -> Composition:
    """`name` with the mini suite's options; adaptation takes two steps."""
    parsed = parse(name)
    return parsed.with_defaults(
        {
            part.card.name: part.card.mini.options
            | ({"steps": 2} if "steps" in part.options else {})
            for part in parsed.parts
        }
    )


def built(name: str) -> Method:
    """The composition on its smallest backbone, parameters as constructed."""
    backbones = fitting(parse(name))
    small = [backbone for backbone in backbones if backbone.endswith("mini")]
    return build(composition(name), backbone=next(iter([*small, *backbones]), None))


def seeded(module: Method, seed: int = 0) -> Method:
    """`module` with every state-dict entry drawn from its name, so that no layer is trivial."""
    state = {key: _drawn(key, value, seed) for key, value in module.state_dict().items()}
    module.load_state_dict(state)
    return module


def _drawn(key: str, like: Tensor, seed: int) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like)
    rng = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{key}".encode()))
    noise = torch.randn(like.shape, generator=rng)
    role = key.rpartition(".")[2]
    if role.startswith("mask_"):
        # A filter's mask begins at one. At zero it would halve the phase of a negative sum, pi, and
        # leave a channel's mean to rounding.
        return 1 + 0.3 * noise
    if role == "running_var":
        return 1 + 0.2 * noise.abs()
    if role in ("running_mean", "bias"):
        return 0.1 * noise
    if like.ndim <= 1:
        return 1 + 0.1 * noise
    return noise * (2 / like[0].numel()) ** 0.5


@dataclass(frozen=True, slots=True)
class Episodes:
    """B episodes of K supports; the query's masks are for training only."""

    query_images: Tensor
    query_masks: Tensor
    support_images: Tensor
    support_masks: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `predict` takes."""
        return self.query_images, self.support_images, self.support_masks

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return (self.query_images.shape[-2], self.query_images.shape[-1])

    def only(self, chosen: Sequence[int]) -> Episodes:
        """These episodes, in this order."""
        rows = list(chosen)
        return Episodes(
            self.query_images[rows],
            self.query_masks[rows],
            self.support_images[rows],
            self.support_masks[rows],
        )

    def reordered(self, shots: Sequence[int]) -> Episodes:
        """The same episodes with their supports in another order."""
        order = list(shots)
        return Episodes(
            self.query_images,
            self.query_masks,
            self.support_images[:, order],
            self.support_masks[:, order],
        )

    def batch(self, seed: int = 0) -> EpisodeBatch:
        """As training shows them, with a new private generator."""
        return EpisodeBatch(
            self.query_images,
            self.query_masks,
            self.support_images,
            self.support_masks,
            rng=torch.Generator().manual_seed(seed),
        )


def episodes(
    count: int, shots: int, height: int, width: int | None = None, seed: int = 0
) -> Episodes:
    """Pictures of one textured, tinted ellipse each on another texture; every episode its own."""
    rng = torch.Generator().manual_seed(seed)
    width = width or height
    number = count * (1 + shots)
    masks = _ellipses(number, height, width, rng)
    tint = torch.randn((count, 2, 3, 1, 1), generator=rng).repeat_interleave(1 + shots, 0)
    fore, back = tint[:, 0], tint[:, 1]
    grain = torch.randn((number, 3, height // 4, width // 4), generator=rng)
    grain = F.interpolate(grain, (height, width), mode="bilinear", align_corners=True)
    fine = 0.3 * torch.randn((number, 3, height, width), generator=rng)
    images = torch.where(masks[:, None] > 0, fore - grain, back + grain) + fine
    images = images.unflatten(0, (count, 1 + shots))
    masks = masks.unflatten(0, (count, 1 + shots))
    return Episodes(images[:, 0], masks[:, 0], images[:, 1:], masks[:, 1:])


def side(network: Method) -> int:
    """The smallest of `SIDES` that the method accepts.

    Raises:
        UserError: if it accepts none, with what it says to each.
    """
    refusals: list[str] = []
    for candidate in SIDES:
        try:
            network.predict(*episodes(1, 1, candidate).inputs)
        except UserError as error:
            refusals.append(f"{candidate} px: {error}")
        else:
            return candidate
    raise UserError(f"{type(network).__name__} accepts none of the probe's sizes: {refusals}")


def _ellipses(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    centre = 0.3 + 0.4 * torch.rand((2, count, 1, 1), generator=rng)
    radius = 0.18 + 0.2 * torch.rand((2, count, 1, 1), generator=rng)
    y = (torch.arange(height) + 0.5)[None, :, None] / height
    x = (torch.arange(width) + 0.5)[None, None, :] / width
    inside = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1
    return inside.to(torch.uint8)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, those outside the state dict included."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: value.detach().clone() for name, value in named}
