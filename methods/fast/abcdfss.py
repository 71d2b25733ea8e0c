"""ABCDFSS whose adapters of a stage are fitted together, gradients written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..blocks.shear import Shear, sources
from ..core.feature_batch import FeatureBatch
from ..hosts.abcdfss import ABCDFSS, IMAGE, copies, on_grid
from .forms import FastForm
from .shear_fit import Source, fit_together

MOST_BYTES = 2**24
"""Of one tap's features of all sheared supports, up to which several taps are fitted together."""


class FastABCDFSS(FastForm, ABCDFSS):
    """The taps of a stage are fitted together, gradients written out."""

    counted = False

    @torch.no_grad()
    def fitted(
        self, support: FeatureBatch, masks: Tensor, query: FeatureBatch, shears: Sequence[Shear]
    ) -> list[Tensor]:
        """As in `ABCDFSS`, several taps of one stage at a time."""
        asked, shown = (self.encode(copies(r.tensors[IMAGE], shears)) for r in (query, support))
        moved = copies(masks.to(shown.tensors[IMAGE].dtype), shears)
        found: list[Tensor] = []
        for taps in together(self.taps, shown):
            asked_taps, shown_taps = (
                Source(
                    torch.stack([own.tensors[tap] for tap in taps]),
                    torch.stack([seen.tensors[tap] for tap in taps]),
                    indices(own.tensors[taps[0]], shears),
                )
                for own, seen in ((query, asked), (support, shown))
            )
            fitted = fit_together(
                [self.adapter(tap) for tap in taps],
                asked_taps,
                shown_taps,
                on_grid(moved, shown.tensors[taps[0]]),
                copies=len(shears),
                steps=self.steps,
            )
            found += fitted.unbind()
        return found


def indices(maps: Tensor, shears: Sequence[Shear]) -> Tensor:
    """Which cells of `maps` [N, C, h, w] their `copies` show, [N * A, h * w] on the host."""
    number, size = len(maps), (maps.shape[-2], maps.shape[-1])
    cells = size[0] * size[1]
    shown = torch.stack([sources(shear, size) for shear in shears])
    offsets = cells * torch.arange(number)[:, None, None]
    return torch.where(shown < cells, shown + offsets, number * cells).flatten(0, 1)


def together(taps: Sequence[str], rows: FeatureBatch) -> Iterator[list[str]]:
    """Taps of one stage side by side, as many as their maps in `rows` are few bytes."""
    for _, group in itertools.groupby(taps, lambda tap: tap.partition(".")[0]):
        alike = list(group)
        at_once = max(1, MOST_BYTES // rows.tensors[alike[0]].nbytes)
        for begin in range(0, len(alike), at_once):
            yield alike[begin : begin + at_once]
