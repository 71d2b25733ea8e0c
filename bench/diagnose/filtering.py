"""mIoU with filtered input images or features: the APM paper's 3 x 3 study over cut-offs."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.methods.backbones.base import Stage
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import FeaturePlugin, Place

from ..evaluation.evaluator import Settings, evaluate
from ..evaluation.feature_cache import FeatureStores
from ..records.cell_folder import EpisodeRow
from .apm_published import published
from .resampling import Resamples, paired
from .spectra import BANDS, Edge, Filter, cells

INPUT, FEATURES = "input", "features"

WHOLE = Filter("all", "all", 0.0)


class Filtering(FeaturePlugin):
    """A filter in the place where APM acts; it learns nothing."""

    def __init__(self, change: Filter):
        super().__init__(steps=0, lr=0)
        self.change = change

    def attach_to(self, stage: Stage) -> None:
        """Any stage will do."""
        del stage

    def reset(self, features: Tensor, rng: torch.Generator | None) -> None:
        """There is nothing to forget."""
        del features, rng

    def transform(self, features: Tensor) -> Tensor:
        """Filtered maps [N, C, h, w]."""
        return self.change(features)


@contextmanager
def filtered(network: Method, change: Filter, where: str) -> Generator[None]:
    """While it lasts `network` sees filtered images (normalised ones), or works on such features.

    Supports and queries alike, as in the paper.
    """
    if where == INPUT:
        plain = network.encode
        network.encode = lambda images: plain(change(images))
        try:
            yield
        finally:
            del network.encode
    else:
        network.feature_plugins.insert(0, Filtering(change))
        try:
            yield
        finally:
            network.feature_plugins.pop(0)


def can_filter(network: Method, where: str) -> bool:
    """Whether there are images or features to filter before the host matches them."""
    return where == INPUT or Place.FEATURE in network.offers


def study(
    network: Method,
    domain: Domain,
    episodes: Sequence[Episode],
    radii: Sequence[float],
    *,
    edge: Edge,
    where: str,
    device: str,
    told: Callable[[], None],
) -> tuple[pd.DataFrame, Resamples]:
    """A row per cell and radius, and the resamples of all of them.

    Gains are paired differences to the unfiltered network, with intervals that hold for each cell
    alone, and (`sure_low`, `sure_high`) for all cells of the table at once.
    """
    shared = FeatureStores()

    def asked(change: Filter) -> list[EpisodeRow]:
        stores = FeatureStores()
        if where == FEATURES:
            stores.features = shared.features
        settings = Settings(device=device)
        with filtered(network, change, where):
            batches = evaluate(network, domain, episodes, settings=settings, stores=stores)
            rows = sorted((r for b, _ in batches for r in b), key=lambda row: row.index)
        told()
        return rows

    changes = [WHOLE, *(c for radius in radii for c in cells(radius, edge) if not c.is_identity)]
    resamples = paired({_name(change): asked(change) for change in changes})
    names = [_name(change) for change in changes[1:]]
    sure = dict(zip(names, resamples.gains_at_once(names, _name(WHOLE)), strict=True))
    table: list[dict[str, Any]] = []
    for change in changes:
        name = _name(change)
        at_once = sure.get(name, resamples.gain(name, _name(WHOLE)))
        table.append(
            {
                "where": where,
                "domain": domain.title,
                "radius": change.radius,
                "amplitude": change.amplitude,
                "phase": change.phase,
                "episodes": len(episodes),
                **resamples.columns(name, _name(WHOLE), at_once),
            }
        )
    return pd.DataFrame(table), resamples


def agreement(
    domain: str, radii: Sequence[float], resamples: Resamples
) -> list[dict[str, float | str]]:
    """Per radius the correlation of our eight gains with the published eight, over resamples.

    Empty for a domain that the paper does not have.
    """
    printed = [published().cell(domain, a, p) for a in BANDS for p in BANDS]
    whole = printed[0]
    if whole is None:
        return []
    theirs = np.array([value - whole for value in printed[1:] if value is not None])
    found: list[dict[str, float | str]] = []
    for radius in radii:
        index = [resamples.names.index(_name(c)) for c in cells(radius) if not c.is_identity]
        ours = resamples.values[index] - resamples.values[0]
        drawn = resamples.replicates[index] - resamples.replicates[0]
        spread = [_pearson(theirs, column) for column in drawn.T]
        low, high = np.quantile(spread, (0.025, 0.975))
        row: dict[str, float | str] = {"domain": domain, "radius": radius}
        value = _pearson(theirs, ours)
        found.append({**row, "correlation": value, "low": float(low), "high": float(high)})
    return found


def _pearson(one: Any, other: Any) -> float:
    one, other = one - one.mean(), other - other.mean()
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    # Gains that are all alike are like nothing; what is not a number stays none.
    return float(one @ other) / length if not length <= 1e-9 else 0.0


def _name(change: Filter) -> str:
    if change.is_identity:
        return "whole"
    return f"{change.amplitude}/{change.phase} at {change.radius:g}"
