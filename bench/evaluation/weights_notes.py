"""What a record notes of weights files that are not known: other contents, half precision."""

from functools import lru_cache
from pathlib import Path

import torch

from cdfss_bench.methods.weights.checkpoints import read_checkpoint
from cdfss_bench.methods.weights.search import PACKAGED

from ..planning.cell import Cell

_SAMPLED = 1024
"""Values of each tensor that are looked at."""

_SMALLEST = 64
"""Smaller tensors are passed over: ones and zeros are exact in every precision."""


def weights_notes(cell: Cell) -> list[str]:
    """Of files that neither come with the package nor have the published sha256."""
    weights, notes = cell.weights, list[str]()
    published = weights.entry.sha256 if weights.entry is not None else ""
    files = (weights.pretrained, published), (weights.checkpoint, "")
    for (path, wanted), found in zip(files, cell.weights_sha256, strict=True):
        if path is None or path.parent == PACKAGED or (wanted and found.startswith(wanted)):
            continue
        if wanted:
            notes.append(
                f"{path.name} is not the published file, whose sha256 begins with {wanted[:8]}: it "
                "is a conversion of it, or other weights"
            )
        if stored := stored_precision(path, found):
            notes.append(f"{path.name} holds weights of half precision ({stored})")
    return notes


@lru_cache(maxsize=64)
def stored_precision(path: Path, _sha256: str = "") -> str:
    """`bf16` or `fp16` if most of a file's weights are values of it, else empty.

    Their values tell it, also in a file that was saved in full precision afterwards.
    """
    tensors = [t for t in read_checkpoint(path).tensors.values() if t.is_floating_point()]
    large = [t for t in tensors if t.numel() >= _SMALLEST]
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        rounded = sum(t.numel() for t in large if _is_of(dtype, t))
        if 2 * rounded > sum(t.numel() for t in large):
            return name
    return ""


def _is_of(dtype: torch.dtype, tensor: torch.Tensor) -> bool:
    values = tensor.flatten()[:: max(1, tensor.numel() // _SAMPLED)]
    return torch.equal(values.to(dtype).float(), values)
