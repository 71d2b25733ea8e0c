"""What LCM sees in an episode: similarities, anchors, and masks over its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.plugins.lcm import LCM

from ..evaluation.pixel_counts import count
from ..records.cell_folder import EpisodeRow
from ..statistics.metrics import iou

HOST = "host"

BINS = 50
"""Of a similarity's distribution on [-1, 1]."""


@dataclass
class Calibrated:
    """What was seen in the episodes of one domain.

    Attributes:
        rows: the evaluator's rows by setting; `host` is without LCM.
        hits: of each episode, which of its anchors lie in the true foreground, [deepest].
        chance: of each episode, share of patches that do.
        separation: of each episode, how often a patch of the true foreground is more similar to
            the anchors than one outside (area under the ROC curve); NaN where one kind is missing.
        fore: counts of the similarities of patches in the true foreground, [50].
        back: of those outside.
        above: of each episode, share of (anchor, patch) pairs at or above beta, foreground and
            background.
        worst: pictures of the episode in which LCM loses most with wrong anchors.
    """

    rows: dict[str, list[EpisodeRow]] = field(default_factory=dict[str, list[EpisodeRow]])
    hits: list[NDArray[np.bool_]] = field(default_factory=list[NDArray[np.bool_]])
    chance: list[float] = field(default_factory=list[float])
    separation: list[float] = field(default_factory=list[float])
    fore: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    back: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    above: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    worst: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])


def calibrated(
    network: Method,
    domain: Domain,
    episodes: Sequence[Episode],
    settings: Mapping[str, LCM],
    *,
    stated: str,
    deepest: LCM,
    device: str,
    told: Callable[[], None],
) -> Calibrated:
    """Each episode matched once by a host that carries an LCM, and corrected under every setting.

    `stated` names the setting that is looked at closely; anchors are judged as far as `deepest`
    has them; `told` is called after each episode.
    """
    found = Calibrated({name: [] for name in (HOST, *settings)})
    plugin = settings[stated]
    least = np.inf
    for index, episode in enumerate(episodes):
        tensors = domain.load(episode)
        with torch.no_grad():
            query = network.encode(tensors.query_image[None].to(device))
            support = network.encode(tensors.support_images.to(device))
            states = network.encode_support(support, tensors.support_masks.to(device))
            logits = network.score(
                network.apply_feature_plugins(query), states, shots=len(tensors.support_masks)
            )
            low = query.tensors[f"output:{plugin.stage_name}"]
            predicted = {HOST: network.decide(logits, query.size)}
            for name, setting in settings.items():
                corrected = setting.calibrate(logits, low, query.size)
                predicted[name] = network.decide(corrected, query.size)
        ignore = None if tensors.query_ignore is None else tensors.query_ignore[None]
        for name, mask in predicted.items():
            counts = count(mask.cpu(), tensors.query_mask[None], ignore)[0]
            found.rows[name].append(EpisodeRow(index, episode, counts))
        seen = _looked_at(found, plugin, logits, low, tensors.query_mask, deepest)
        after, before = (found.rows[name][-1].counts for name in (stated, HOST))
        gain = iou(after.inter, after.union) - iou(before.inter, before.union)
        wrong = found.hits[-1][: plugin.k].mean() < 0.5
        score = gain - 1000 * float(wrong)
        if score < least:
            least = score
            found.worst = {
                "support": np.asarray(
                    domain.image(domain.item(episode.support_class_id, episode.supports[0]))
                ),
                "support mask": tensors.support_masks[0].numpy(),
                "query": np.asarray(domain.image(domain.item(episode.class_id, episode.query))),
                "truth": tensors.query_mask.numpy(),
                "coarse": predicted[HOST][0].cpu().numpy(),
                "corrected": predicted[stated][0].cpu().numpy(),
                "gain": np.array([gain, float(wrong)]),
                **seen,
            }
        told()
    return found


def _looked_at(
    found: Calibrated, plugin: LCM, logits: Tensor, low: Tensor, truth: Tensor, deepest: LCM
) -> dict[str, NDArray[Any]]:
    """Notes anchors and similarities of one query; several shots' maps are looked at together."""
    maps = logits.flatten(0, 1)
    size = (truth.shape[-2], truth.shape[-1])
    grid = (max(1, round(size[0] / plugin.patch)), max(1, round(size[1] / plugin.patch)))
    inside = (F.adaptive_avg_pool2d(truth[None, None].float(), grid).flatten() >= 0.5).numpy()
    ranked = deepest.anchors(maps, grid).cpu().numpy()
    found.hits.append(inside[ranked].mean(0) >= 0.5)
    found.chance.append(float(inside.mean()))
    similarity = plugin.similarities(maps, low.repeat_interleave(len(maps), 0), grid)
    flat = similarity.flatten(0, 1).flatten(1).double().cpu().numpy()
    level = flat.mean(1, keepdims=True) if plugin.beta == "mean" else float(plugin.beta)
    passed = (flat >= level).astype(np.float64)
    # An anchor is like itself, which says nothing.
    own = plugin.anchors(maps, grid).flatten().cpu().numpy()
    for values in (flat, passed):
        values[np.arange(len(own)), own] = np.nan
    edges = np.linspace(-1, 1, BINS + 1)
    for counts, chosen in ((found.fore, inside), (found.back, ~inside)):
        values = flat[:, chosen][np.isfinite(flat[:, chosen])]
        counts += np.histogram(np.clip(values, -1, 1), edges)[0]
    heard = np.isfinite(flat).any(0)
    found.separation.append(_separation(np.nanmean(flat[:, heard], axis=0), inside[heard]))
    shares = [_share(passed[:, chosen]) for chosen in (inside, ~inside)]
    found.above.append((shares[0], shares[1]))
    return {
        "similarity": similarity[0].mean(0).cpu().numpy(),
        "anchors": ranked[0, : plugin.k],
    }


def _share(passed: NDArray[np.float64]) -> float:
    known = passed[np.isfinite(passed)]
    return float(known.mean()) if len(known) else float("nan")


def _separation(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half."""
    if inside.all() or not inside.any():
        return float("nan")
    fore, back = values[inside][:, None], values[~inside][None]
    return float(((fore > back) + 0.5 * (fore == back)).mean())
