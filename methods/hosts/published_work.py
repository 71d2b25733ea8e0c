"""What the published code of a method computes where ours gives the same with fewer operations.

A table of costs that says only what runs here would flatter us, and one that says only what was
published would hide what can be had. Beside the networks and not in them: no mask depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..blocks.prototypes import cosine_scores
from ..blocks.self_support import BACK_THRESHOLD, FORE_THRESHOLD, confident
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from .dra import DRA
from .hsnet import HSNet
from .ifa import IFA
from .patnet import PATNet
from .ssp import SSP


@dataclass(frozen=True, slots=True)
class PublishedWork:
    """How the published code does an episode.

    Attributes:
        shot_by_shot: whether K shots are K episodes of one shot each, the query encoded anew.
        operations: FLOPs of what it has in the place of `replaced`, per such episode.
        replaced: the part of our matching of such an episode that it does otherwise, to be counted;
            None where it does the same.
    """

    shot_by_shot: bool = False
    operations: int = 0
    replaced: Callable[[], object] | None = None


def published_work(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """How the published code does this episode; None where that is not known.

    It is not known of plug-ins that correct scores and of learning at test: no such code was
    published (LCM, APM's fine-tuning, TFI), or it does another thing (IFA's).

    Args:
        method: in its plain form.
        query: features of one query.
        support: features of its K supports.
        masks: [K, H, W] of 0 and 1.
    """
    rule = _RULES.get(type(method))
    if rule is None or method.adaptation != "none" or method.score_plugins:
        return None
    return rule(method, query, support, masks)


def _hsnet(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """HSNet `model/hsnet.py` predict_mask_nshot: the whole network once per shot."""
    del method, query, support, masks
    return PublishedWork(shot_by_shot=True)


def _patnet(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """PATNet `model/patnet.py`: per tap `P = (pinv(C) R)^T`, C x C, times every position.

    Ours has two coordinates per position in its place (`blocks/anchors.py`), and correlates these
    instead of C channels. As HSNet it does shot after shot.
    """
    assert isinstance(method, PATNet)
    first = support[:1]
    operations = 0
    for stage in method.stages:
        for asked, shown in zip(query.group(stage), first.group(stage), strict=True):
            channels = asked.shape[1]
            here, there = (tap.shape[-2] * tap.shape[-1] for tap in (asked, shown))
            transformation = 2 * channels * 2 * channels
            transformed = 2 * channels * channels * (here + there)
            operations += transformation + transformed + 2 * channels * here * there

    def ours() -> None:
        states = FeatureBatch.cat([method.masked(first, masks[:1])])
        for stage in method.stages:
            method.correlation(stage, query, states)

    return PublishedWork(shot_by_shot=True, operations=operations, replaced=ours)


def _ssp(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """SSP `model/SSP_matching.py` SSP_func: attention to the confident foreground too, unused.

    Two products of N positions with the chosen ones, for the foreground and for the background and
    in every round from nothing: `4 C N (N_fore + N_back)` FLOPs. How many are chosen depends on the
    features. Means are sums and count nothing.
    """
    assert isinstance(method, SSP)
    if method.feature_plugins:
        return None
    features = query.tensors[method.stage]
    states = method.support_states(support, masks)
    fore, back = method.averaged(states, shots=len(states))
    scores = [cosine_scores(features, fore[..., None, None], back[..., None, None])]
    if method.refine:
        scores.append(method.self_supported(features, fore, back).first)
    chosen = 0
    for logits in scores:
        probability = logits.flatten(2).softmax(1)
        chosen += int(confident(probability[:, 1], FORE_THRESHOLD).sum())
        chosen += int(confident(probability[:, 0], BACK_THRESHOLD).sum())
    return PublishedWork(
        operations=4 * features[0].numel() * chosen,
        replaced=lambda: method.self_supported(features, fore, back),
    )


def _dra(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """DR-Adapter `model/SSP_matching.py`: SSP's; with several shots the published test crashes."""
    return _ssp(method, query, support, masks) if len(masks) == 1 else None


_Rule = Callable[[Method, FeatureBatch, FeatureBatch, Tensor], PublishedWork | None]
# By the class itself: what somebody derives from SSP was not published by SSP's authors.
_RULES: dict[type[Method], _Rule] = {
    HSNet: _hsnet,
    PATNet: _patnet,
    SSP: _ssp,
    IFA: _ssp,
    DRA: _dra,
}
