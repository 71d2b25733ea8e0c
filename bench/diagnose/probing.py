"""Episodes asked as the evaluator asks them, with the loss of each beside its counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.datasets.core.transforms import normalised
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method

from ..evaluation.pixel_counts import count
from ..evaluation.prediction import adaptation_stream, predict_episode
from ..records.cell_folder import EpisodeRow


@dataclass(frozen=True)
class Probe:
    """What some episodes gave.

    Attributes:
        rows: as the evaluator's.
        losses: mean pixel cross entropy of each episode, undecided pixels left out, [E]; of
            several maps (one per shot) the mean.
    """

    rows: Sequence[EpisodeRow]
    losses: NDArray[np.float64]


def probed(
    network: Method,
    domain: Domain,
    episodes: Sequence[Episode],
    device: str,
    *,
    seed: int = 0,
    adapt: bool = True,
) -> Probe:
    """Asks `network` as it is, hooks and noise included; nothing is kept between calls.

    `seed` is as in `evaluate`; without `adapt` no method learns.

    Raises:
        DataError: if a picture is missing or unreadable.
    """
    network = network.optimized_for(device)
    features: dict[str, FeatureBatch] = {}

    def encoded(item: Item, by: Method) -> FeatureBatch:
        with torch.no_grad():
            return by.encode(normalised(domain.image(item)[None]).to(device))

    def known(item: Item) -> FeatureBatch:
        if item.image not in features:
            features[item.image] = encoded(item, network)
        return features[item.image]

    rows: list[EpisodeRow] = []
    losses: list[float] = []
    for index, episode in enumerate(episodes):
        asked = domain.item(episode.class_id, episode.query)
        shown = [domain.item(episode.support_class_id, name) for name in episode.supports]
        masks = torch.from_numpy(np.stack([domain.truth(item) for item in shown])).to(device)

        def by(
            ready: Method, asked: Item = asked, shown: Sequence[Item] = shown
        ) -> tuple[FeatureBatch, FeatureBatch]:
            support = FeatureBatch.cat([encoded(item, ready) for item in shown])
            return encoded(asked, ready), support

        logits, decided = predict_episode(
            network,
            known(asked),
            FeatureBatch.cat([known(item) for item in shown]),
            masks,
            rng=adaptation_stream(seed, episode),
            encode_again=by,
            adapt=adapt,
        )
        truth = torch.from_numpy(domain.truth(asked)[None].copy())
        undecided = domain.undecided(asked)
        ignore = None if undecided is None else torch.from_numpy(undecided[None].copy())
        (counted,) = count(decided.cpu(), truth, ignore)
        rows.append(EpisodeRow(index, episode, counted))
        losses.append(_loss(logits, truth, ignore))
    return Probe(rows, np.array(losses))


def _loss(logits: Tensor, truth: Tensor, ignore: Tensor | None) -> float:
    target = truth.long()
    if ignore is not None:
        target = target.masked_fill(ignore.bool(), 255)
    full = upsampled(logits, (truth.shape[-2], truth.shape[-1]))[0].float().cpu()
    target = target.expand(len(full), -1, -1)
    return float(F.cross_entropy(full, target, ignore_index=255))
