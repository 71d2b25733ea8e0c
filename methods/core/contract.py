"""What passes between a method and whoever runs it, and the border where it is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:  # names of classes only: cards and command lines, which read this, run no network
    import torch
    from torch import Tensor

Adaptation = Literal["none", "episode", "transductive"]
"""What a method learns from at test: nothing; the episode's annotated support; or the support and
the unlabelled query image besides. The three never share a column unmarked."""

Precision = Literal["fp32", "bf16", "fp16-features"]
"""Float32, or bfloat16 wherever torch's automatic mixed precision takes it, or float32 with the
encoder's outputs rounded to float16, so that half the disk keeps them."""


class SupportState(Protocol):
    """What a method keeps of a support image with its mask; a `FeatureBatch` of length 1 is one."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """B training episodes of K supports.

    Attributes:
        query_images: float32 [B, 3, H, W], ImageNet-normalised.
        query_masks: uint8 or int64 [B, H, W]: 0, 1, or 255 for undecided.
        support_images: float32 [B, K, 3, H, W].
        support_masks: [B, K, H, W], values as above.
        rng: the step's private generator, for methods that draw.
    """

    query_images: Tensor
    query_masks: Tensor
    support_images: Tensor
    support_masks: Tensor
    rng: torch.Generator | None = None


@dataclass(frozen=True, slots=True)
class PublishedWork:
    """How the published code does an episode, where that differs from what runs here.

    Attributes:
        shot_by_shot: whether K shots are K episodes of one shot each, the query encoded anew.
        operations: FLOPs of what it has in the place of `replaced`, per such episode.
        replaced: the part of our matching of such an episode that it does otherwise, to be counted;
            None where it does the same.
    """

    shot_by_shot: bool = False
    operations: int = 0
    replaced: Callable[[], object] | None = None


class LossTerm(NamedTuple):
    """One summand of a training objective: its weight and its unweighted value, a scalar.

    `over` says what the value is a mean over, so that parts of a batch can be weighed together:
    the decided pixels of the queries, those of the supports, or the episodes.
    """

    weight: float
    value: Tensor
    over: Literal["queries", "supports", "episodes"] = "queries"


def check_episode(
    query_images: Tensor,
    support_images: Tensor,
    support_masks: Tensor,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """The one place where shapes, types and values are checked: see `Method.predict`.

    Images shall have the `dtype` of the network's parameters; None for one without.

    Raises:
        ValueError: saying what was expected and what came.
    """
    if query_images.ndim != 4 or query_images.shape[1] != 3:
        raise ValueError(f"query images must be [B, 3, H, W], not {list(query_images.shape)}")
    batch, _, height, width = query_images.shape
    expected = (batch, 3, height, width)
    shape = support_images.shape
    if support_images.ndim != 5 or (shape[0], *shape[2:]) != expected or shape[1] < 1:
        raise ValueError(
            f"support images must be [{batch}, K, 3, {height}, {width}], not {list(shape)}"
        )
    if support_masks.shape != (batch, shape[1], height, width):
        raise ValueError(
            f"support masks must be [{batch}, {shape[1]}, {height}, {width}], "
            f"not {list(support_masks.shape)}"
        )
    for images in (query_images, support_images):
        if not images.is_floating_point() or (dtype is not None and images.dtype != dtype):
            wanted = "floating point" if dtype is None else str(dtype)
            raise ValueError(f"images must be {wanted} and ImageNet-normalised, not {images.dtype}")
    if bool(((support_masks != 0) & (support_masks != 1)).any()):
        raise ValueError("support masks must hold 0 and 1 only")
