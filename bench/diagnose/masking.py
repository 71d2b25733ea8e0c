"""What a learnt filter of the features does in an episode: its masks, predictions, correlations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import LearningPlugin
from cdfss_bench.methods.plugins.apm import APM

from ..evaluation.pixel_counts import count
from ..evaluation.prediction import adaptation_stream, predict_episode
from ..records.cell_folder import EpisodeRow
from .correlation import channel_correlations, distribution

HOST, INITIAL, ADAPTED = "host", "0 steps", "adapted"

STATES = (HOST, INITIAL, ADAPTED)


@dataclass
class Masked:
    """What was seen in the episodes of one domain at one learning rate.

    Attributes:
        rows: the evaluator's rows by state.
        correlations: mean absolute channel correlation of each query's maps, by state.
        shares: distributions of them, by state, each [50].
        moved: of each episode, how far the mask entry that moved most did, in units of sigmoid.
        changed: of each episode, percent of pixels that the steps decided otherwise.
        masks: by `amplitude` and `phase`, of each episode, sigmoid of the learnt mask, mean over
            channels, zero frequency in the middle, [h, w].
        positions: of the maps.
    """

    rows: dict[str, list[EpisodeRow]] = field(default_factory=lambda: {s: [] for s in STATES})
    correlations: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STATES})
    shares: dict[str, list[NDArray[np.float64]]] = field(
        default_factory=lambda: {s: [] for s in STATES}
    )
    moved: list[float] = field(default_factory=list[float])
    changed: list[float] = field(default_factory=list[float])
    masks: dict[str, list[NDArray[np.float64]]] = field(
        default_factory=lambda: {"amplitude": [], "phase": []}
    )
    positions: int = 0


def masked(
    network: Method,
    domain: Domain,
    episodes: Sequence[Episode],
    *,
    rate: float,
    steps: int,
    device: str,
    seed: int,
    told: Callable[[], None],
) -> Masked:
    """Each episode without the plug-ins, with them at their start, and after `steps` of Adam."""
    network = network.optimized_for(device)
    bare, learner = copy_of(network), copy_of(network)
    bare.feature_plugins = []
    for plugin in learner.feature_plugins:
        plugin.lr, plugin.steps = rate, steps
    learners: list[LearningPlugin] = [*learner.feature_plugins]
    learner.learning_plugins = learners
    found = Masked()
    for index, episode in enumerate(episodes):
        tensors = domain.load(episode)
        with torch.no_grad():
            query = learner.encode(tensors.query_image[None].to(device))
            support = learner.encode(tensors.support_images.to(device))
        masks = tensors.support_masks.to(device)
        begun = copy_of(learner)
        for plugin in begun.feature_plugins:
            plugin.reset(_maps(begun, support), adaptation_stream(seed, episode))
        adapted = learner.adapt_encoded(support, masks, rng=adaptation_stream(seed, episode))
        predicted: dict[str, Tensor] = {}
        for state, method in zip(STATES, (bare, begun, adapted), strict=True):
            mask = predict_episode(method, query, support, masks, rng=None, adapt=False).mask
            predicted[state] = mask.cpu()
            with torch.no_grad():
                maps = _maps(method, method.apply_transforms(query))[0]
            ignore = None if tensors.query_ignore is None else tensors.query_ignore[None]
            counts = count(predicted[state], tensors.query_mask[None], ignore)[0]
            found.rows[state].append(EpisodeRow(index, episode, counts))
            correlations = channel_correlations(maps.cpu())
            found.correlations[state].append(float(correlations.mean()))
            found.shares[state].append(distribution(correlations).numpy())
            found.positions = maps.shape[-2] * maps.shape[-1]
        different = predicted[ADAPTED] != predicted[INITIAL]
        found.changed.append(100 * float(different.double().mean()))
        _note_masks(found, begun, adapted)
        told()
    return found


def _note_masks(found: Masked, begun: Method, adapted: Method) -> None:
    before, after = _apm(begun), _apm(adapted)
    moved = 0.0
    for name in found.masks:
        start = getattr(before, f"mask_{name}").detach().sigmoid()
        learnt = getattr(after, f"mask_{name}").detach().sigmoid()
        moved = max(moved, float((learnt - start).abs().max()))
        found.masks[name].append(learnt[0].double().mean(0).cpu().numpy())
    found.moved.append(moved)


def _apm(method: Method) -> APM:
    return next(plugin for plugin in method.feature_plugins if isinstance(plugin, APM))


def _maps(method: Method, rows: FeatureBatch) -> Tensor:
    """The last maps [N, C, h, w] of the stage on which feature plug-ins act."""
    stage = method.adaptable(method.backbone).name
    return rows.tensors[stage] if stage in rows.tensors else rows.group(stage)[-1]
