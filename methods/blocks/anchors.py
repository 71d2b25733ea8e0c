"""PATNet's anchor transformation in its exact rank-2 form: no C x C map, no C-wide correlation.

The published code maps a feature f to `f' = P f` with `P = (pinv(C) R)^T`, C the normalised
prototypes and R the normalised anchors, rows background and foreground ([2, C] each). As
`pinv(C)^T = (C C^T)^+ C = M`, `f' = R^T M f`: two coordinates `z = M f` say it all, and every f' of
a tap lies in the plane that the two anchors span.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6
"""Added to norms and to the area of a mask (PATNet `model/patnet.py`)."""

_RANK = 1e-13
"""Eigenvalue of C C^T, relative to the largest, below which two prototypes count as one."""


def prototype_basis(back: Tensor, fore: Tensor) -> Tensor:
    """M [N, 2, C] of prototypes [N, C]: `M f` are the two coordinates of f (PATNet eq. 5-7).

    A vanished mask leaves a zero prototype; the pseudo-inverse then keeps to the other one.
    """
    rows = normalised(torch.stack((back, fore), dim=1)).double()
    gram = rows @ rows.transpose(1, 2)
    inverse = torch.linalg.pinv(gram, rtol=_RANK, hermitian=True)
    return (inverse @ rows).to(back.dtype)


def coordinates(basis: Tensor, features: Tensor) -> Tensor:
    """`M f` of every position: [N, 2, h, w] of `features` [N, C, h, w] in `basis` [N, 2, C]."""
    return (basis @ features.flatten(2)).unflatten(2, features.shape[-2:])


def normalised(rows: Tensor) -> Tensor:
    """[..., C] divided by (norm + 1e-6)."""
    return rows / (torch.linalg.vector_norm(rows, dim=-1, keepdim=True) + EPS)


def in_plane(coordinates: Tensor, anchors: Tensor) -> Tensor:
    """What f' is in the anchors' plane, orthonormal axes: [N, 2, h, w]; lengths and angles stay.

    Args:
        coordinates: `M f`, [N, 2, h, w].
        anchors: [2, C], rows background and foreground, not normalised.

    Anchors that are (nearly) parallel need no special case: the second axis is the rest that the
    foreground anchor has beside the background anchor, however short.
    """
    back, fore = normalised(anchors)
    length = torch.linalg.vector_norm(back)
    axis = back / length.clamp_min(1e-12)
    along = fore @ axis
    rest = torch.linalg.vector_norm(fore - along * axis)
    on_back, on_fore = coordinates.unbind(1)
    return torch.stack((length * on_back + along * on_fore, rest * on_fore), dim=1)


def transformed(coordinates: Tensor, anchors: Tensor) -> Tensor:
    """The whole f' [N, C, ...] of coordinates [N, 2, ...]; needed of prototypes only."""
    return torch.einsum("nk...,kc->nc...", coordinates, normalised(anchors))
