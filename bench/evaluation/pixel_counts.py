"""Count the pixels of predicted against true masks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records.counts import Counts


def count(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> list[Counts]:
    """Counts of each of B masks.

    Args:
        predicted: uint8 [B, H, W] of 0 and 1.
        truth: uint8 [B, H, W] of 0 and 1, on the same device.
        ignore: uint8 [B, H, W], 1 where a pixel counts nowhere (PASCAL's undecided border).

    Raises:
        ValueError: if the shapes differ or a mask holds anything but 0 and 1.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted {list(predicted.shape)} and true {list(truth.shape)} masks differ in shape"
        )
    for name, mask in (("predicted", predicted), ("true", truth)):
        if mask.dtype != torch.uint8:
            raise ValueError(f"the {name} mask must be uint8 of 0 and 1")
    fore, true = predicted.bool(), truth.bool()
    valid = torch.ones_like(fore) if ignore is None else ignore == 0
    both = (fore & true & valid).flatten(1).sum(1)
    either = ((fore | true) & valid).flatten(1).sum(1)
    pixels = valid.flatten(1).sum(1)
    wrong = torch.stack([(mask > 1).any() for mask in (predicted, truth)])
    # Background is what is left: neither mask says foreground, or not both do. All numbers leave
    # the device together, which is waited for once.
    rows = torch.stack((both, either, pixels - either, pixels - both), dim=1)
    *numbers, predicted_wrong, truth_wrong = torch.cat((rows.flatten(), wrong)).cpu().tolist()
    for name, is_wrong in (("predicted", predicted_wrong), ("true", truth_wrong)):
        if is_wrong:
            raise ValueError(f"the {name} mask must be uint8 of 0 and 1")
    return [Counts(*numbers[i : i + 4]) for i in range(0, len(numbers), 4)]
