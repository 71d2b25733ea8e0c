"""What to do when a device has no memory left: ask for less at once, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from cdfss_bench.errors import UserError

from .accelerator import accelerator

T = TypeVar("T")

DEFAULT_BUDGET = 2 << 30
"""Bytes of features kept per run."""

# Neither torch's allocator for main memory nor the libraries of some devices raise its own class.
_SENTENCES = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error).lower() for s in _SENTENCES)


def spare(device: str) -> int:
    """Bytes that may be kept for speed: `DEFAULT_BUDGET`, or half of what a GPU has free.

    Pictures that are not encoded again are what memory buys; there each is worth milliseconds.
    """
    if (module := accelerator(device)) is None:
        return DEFAULT_BUDGET
    free, _ = module.mem_get_info(device)
    return max(DEFAULT_BUDGET, free // 2)


def backing_off(
    compute: Callable[[Sequence[T]], Tensor], parts: Sequence[T], free: Callable[[], None]
) -> Tensor:
    """What `compute` gives for `parts`, in halves where the device cannot take them at once.

    An episode's result does not depend on its batch, so the halves are the whole.

    Args:
        compute: from parts to rows, one each.
        parts: a batch.
        free: gives up what is only kept for speed; called before a single part is tried again.

    Raises:
        UserError: if not even one part fits.
    """
    try:
        return compute(parts)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside of the handler: the error's frames hold what shall be freed.
    if len(parts) > 1:
        _return_cached_blocks()
        half = len(parts) // 2
        halves = (parts[:half], parts[half:])
        return torch.cat([backing_off(compute, part, free) for part in halves])
    free()
    _return_cached_blocks()
    try:
        return compute(parts)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "one episode alone does not fit into the memory of the device",
            hint="use --device cpu, fewer shots (-k 1), or end what else uses the device",
        ) from error


def _return_cached_blocks() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
