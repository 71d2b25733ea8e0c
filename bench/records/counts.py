"""The evaluator's only measurement: integer pixel counts, per episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

EVALUATOR_VERSION = 1
"""Stands in every record. Bump when any count or metric changes; rows of different versions never
share a column."""


class Counts(NamedTuple):
    """Pixels of one episode on the evaluation grid.

    Attributes:
        inter: foreground in prediction and truth.
        union: foreground in prediction or truth.
        inter_bg: background in both.
        union_bg: background in either.
    """

    inter: int
    union: int
    inter_bg: int
    union_bg: int

    def fit(self, pixels: int | None = None) -> bool:
        """Whether they can be the counts of one pair of masks, of at most so many pixels."""
        in_all = self.inter + self.union_bg
        return (
            self.inter <= self.union
            and in_all == self.union + self.inter_bg
            and (pixels is None or in_all <= pixels)
        )


def count(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> list[Counts]:
    """Counts of each of B masks.

    Args:
        predicted: uint8 [B, H, W] of 0 and 1.
        truth: uint8 [B, H, W] of 0 and 1, on the same device.
        ignore: uint8 [B, H, W], 1 where a pixel counts nowhere (PASCAL's undecided border).

    Raises:
        ValueError: if the shapes differ or a mask holds anything but 0 and 1.
    """
    # Here and not above: reading records must not cost the import of torch.
    import torch

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
