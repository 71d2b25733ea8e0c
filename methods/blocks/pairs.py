"""FPTrans's pairwise loss: support and query positions of one class shall look alike."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

PAIR_SCALE = 10.0


def pairwise_loss(query: Tensor, truth: Tensor, support: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy of `10 cos(support position, query position)` against equal labels.

    Pairs count that hold at least one foreground position and no undecided one: `truth` [B, h, w]
    of `query` [B, C, h, w] and `masks` [B, S, h, w] of `support` [B, S, C, h, w] are 0, 1 and 255.
    """
    ours = F.normalize(query.flatten(2), dim=1)
    theirs = F.normalize(support.movedim(2, 1).flatten(2), dim=1)
    logits = PAIR_SCALE * theirs.transpose(1, 2) @ ours
    rows, columns = masks.flatten(1)[:, :, None], truth.flatten(1)[:, None]
    together = rows + columns
    counted = (together > 0) & (together < 255)
    equal = (rows == columns).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, equal, reduction="none")
    return (each * counted).sum() / counted.sum().clamp_min(1)
