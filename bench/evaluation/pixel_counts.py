"""Count the pixels of predicted against true masks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records.counts import Counts


class NotBinaryError(ValueError):
    """A mask holds anything but 0 and 1.

    Attributes:
        row: of the batch, the first with such a mask.
        value: the largest of that mask.
    """

    def __init__(self, name: str, row: int = 0, value: int = 0):
        super().__init__(f"the {name} mask must be uint8 of 0 and 1")
        self.row = row
        self.value = value


def count(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> list[Counts]:
    """Counts of each of B masks.

    Args:
        predicted: uint8 [B, H, W] of 0 and 1.
        truth: uint8 [B, H, W] of 0 and 1, on the same device.
        ignore: uint8 [B, H, W], 1 where a pixel counts nowhere (PASCAL's undecided border).

    Raises:
        ValueError: if the shapes differ.
        NotBinaryError: if a mask holds anything but 0 and 1.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted {list(predicted.shape)} and true {list(truth.shape)} masks differ in shape"
        )
    for name, mask in (("predicted", predicted), ("true", truth)):
        if mask.dtype != torch.uint8:
            raise NotBinaryError(name)
    fore, true = predicted.bool(), truth.bool()
    valid = torch.ones_like(fore) if ignore is None else ignore == 0
    both = (fore & true & valid).flatten(1).sum(1)
    either = ((fore | true) & valid).flatten(1).sum(1)
    pixels = valid.flatten(1).sum(1)
    largest = [mask.flatten(1).amax(1) for mask in (predicted, truth)]
    # Background is what is left: neither mask says foreground, or not both do. All numbers leave
    # the device together, which is waited for once.
    rows = torch.stack((both, either, pixels - either, pixels - both, *largest), dim=1).tolist()
    for row, (*_, in_predicted, in_true) in enumerate(rows):
        for name, value in (("predicted", in_predicted), ("true", in_true)):
            if value > 1:
                raise NotBinaryError(name, row, value)
    return [Counts(*row[:4]) for row in rows]
