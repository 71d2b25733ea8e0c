"""How DR-Adapter (CVPR 2024) learns styles: perturbed, rectified, drawn back to a running bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .style import Adapter, Style, StyleNoise, cycled, perturbed, rectified

BANK_MOMENTUM = 0.99


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What is drawn for one training step: a noise per adapter, B rows each."""

    local: Sequence[StyleNoise] | None  # about each image's own mean, if drawn
    shared: Sequence[StyleNoise] | None  # about the bank's ("global")


@dataclass(frozen=True, slots=True)
class StyleTrace:
    """Styles at one stage; rows are the queries, then the supports.

    Attributes:
        seen: of the stage's output, before anything was done to it.
        target: what rectification shall come back to: `seen`, or the bank's where only the shared
            perturbation acted; None where nothing was perturbed.
        first: after rectification.
        second: after another perturbation and rectification.
    """

    seen: Style
    target: Style | None = None
    first: Style | None = None
    second: Style | None = None


def disturbed(
    streams: Sequence[tuple[Tensor, int]],
    adapter: Adapter,
    seen: Style,
    bank: Style,
    *,
    local: StyleNoise | None,
    shared: StyleNoise | None,
) -> tuple[list[Tensor], StyleTrace]:
    """Features of each stream at one stage, perturbed and rectified, and what came of their styles.

    A stream is features [N, C, h, w] and how many of its rows share a row of the noise; `seen` are
    the styles of all of them, `bank` is the running one. One noise is given at least.
    """
    changed: list[Tensor] = []
    first: list[Style] = []
    second: list[Style] = []
    for features, repeats in streams:
        factors: StyleNoise | None = None
        if local is not None:
            factors = local.repeated(repeats, features)
            features = perturbed(features, features.mean((2, 3), keepdim=True), factors)
        if shared is not None:
            noise = shared.repeated(repeats, features)
            features = perturbed(features, bank.mean, noise)
            # The local noise goes round the cycle where both act.
            factors = factors or noise
        assert factors is not None
        features, style = rectified(features, adapter)
        changed.append(features)
        first.append(style)
        second.append(cycled(features, style, adapter, factors))
    target = seen if local is not None else bank.expand(len(seen.mean))
    return changed, StyleTrace(seen, target, Style.cat(first), Style.cat(second))


def alignment(traces: Sequence[StyleTrace]) -> Tensor:
    """The mean over stages of the distances of the first and second style to the target."""
    terms = [
        trace.target.distance(trace.first) + trace.target.distance(trace.second)
        if trace.target is not None and trace.first is not None and trace.second is not None
        else trace.seen.mean.new_zeros(())
        for trace in traces
    ]
    return torch.stack(terms).mean()


def folded(bank: Sequence[Style] | None, new: Sequence[Style]) -> Sequence[Style]:
    """The bank with the styles of a step, `0.99 old + 0.01 new`; it begins with the first."""
    if bank is None:
        return new
    kept, added = BANK_MOMENTUM, 1 - BANK_MOMENTUM
    return [
        Style(
            kept * before.mean.to(now.mean) + added * now.mean,
            kept * before.var.to(now.var) + added * now.var,
        )
        for before, now in zip(bank, new, strict=True)
    ]
