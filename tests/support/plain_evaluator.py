"""The plain evaluator: what the published scripts do, written down without any trick.

One episode after the other, nothing kept between them; HSNet and PATNet encode the query again for
every shot; correlations and PATNet's C x C maps are dense; everything is contiguous fp32 and
decided by `argmax`. It is slow on purpose: the oracle of exactness, and what speed is told against.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.blocks.correlation import hypercorrelation
from cdfss_bench.methods.blocks.prototypes import cosine_scores, fore_and_background, resized_masks
from cdfss_bench.methods.blocks.voting import vote
from cdfss_bench.methods.core.adaptation import copy_of, learning, maps_of
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import ScorePlugin
from cdfss_bench.methods.hosts.hsnet import HSNet
from cdfss_bench.methods.hosts.patnet import PATNet
from cdfss_bench.methods.hosts.ssp import SSP

NEAR = 1e-5


@torch.inference_mode()
def plain_logits(method: Method, query: Tensor, supports: Tensor, masks: Tensor) -> Tensor:
    """Logits [1, K or 1, 2, H, W] at image size of one episode.

    Args:
        method: HSNet, PATNet or SSP, with or without LCM.
        query: [3, H, W].
        supports: [K, 3, H, W].
        masks: [K, H, W] of 0 and 1.
    """
    if isinstance(method, HSNet):
        maps = [
            pyramid_map(method, query[None], supports[i : i + 1], masks[i : i + 1])
            for i in range(len(supports))
        ]
        logits = torch.stack([scores for scores, _ in maps], dim=1)
        low = maps[0][1]
    else:
        assert isinstance(method, SSP)
        logits, low = self_support_map(method, query[None], supports, masks)
    for plugin in method.score_plugins:
        logits = calibrated(plugin, logits, low, (query.shape[-2], query.shape[-1]))
    full = F.interpolate(
        logits.flatten(0, 1), query.shape[-2:], mode="bilinear", align_corners=True
    )
    return full[None]


def plain_mask(logits: Tensor) -> Tensor:
    """The decision on logits [1, K or 1, 2, H, W]: uint8 [1, H, W]."""
    return vote(logits.argmax(dim=2))


def calibrated(
    plugin: ScorePlugin, logits: Tensor, low: dict[str, Tensor], size: tuple[int, int]
) -> Tensor:
    """A score plug-in has one form only."""
    return plugin.calibrate(logits, low[f"output:{plugin.stage_name}"], size)


# -- HSNet and PATNet ------------------------------------------------------------------------------


def pyramid_map(
    method: HSNet, query: Tensor, support: Tensor, mask: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """One shot's map [1, 2, h, w], everything from the images, and the query's other features."""
    asked, shown = method.features(query), method.features(support)
    parts: list[Tensor] = []
    for stage in reversed(method.stages):
        left: list[Tensor] = []
        right: list[Tensor] = []
        for number, (q, s) in enumerate(zip(asked.group(stage), shown.group(stage), strict=True)):
            soft = resized_masks(mask, s)
            if isinstance(method, PATNet):
                transform = anchor_transform(s, soft, method.anchors(f"{stage}.{number}"))
                left.append(mapped(transform, q))
                right.append(mapped(transform, s * soft))
            else:
                left.append(q)
                right.append(s * soft)
        parts.append(hypercorrelation(left, right))
    return method.hpn_learner(parts), dict(asked.tensors)


def anchor_transform(features: Tensor, soft: Tensor, anchors: Tensor) -> Tensor:
    """PATNet's matrix [C, C] of one support (eqs. 5-7), by the pseudo-inverse as published."""
    eps = 1e-6
    back = (features * (1 - soft)).sum((2, 3)) / ((1 - soft).sum((2, 3)) + eps)
    fore = (features * soft).sum((2, 3)) / (soft.sum((2, 3)) + eps)
    prototypes = torch.cat((back, fore))
    rows = prototypes / (prototypes.norm(dim=1, keepdim=True) + eps)
    reference = anchors / (anchors.norm(dim=1, keepdim=True) + eps)
    return torch.linalg.pinv(rows) @ reference


def mapped(transform: Tensor, features: Tensor) -> Tensor:
    """Features [1, C, h, w] mapped by [C, C]."""
    flat = features.flatten(2)
    return (transform.T @ flat).reshape(features.shape)


# -- SSP -------------------------------------------------------------------------------------------


def self_support_map(
    method: SSP, query: Tensor, supports: Tensor, masks: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The map [1, 1, 2, h, w] of one episode, and the query's other features."""
    asked = method.features(query)
    shown = [method.features(supports[i : i + 1]) for i in range(len(supports))]
    pairs = [
        fore_and_background(rows.tensors[method.stage], masks[i : i + 1])
        for i, rows in enumerate(shown)
    ]
    fore = torch.stack([f for f, _ in pairs]).mean(0)[..., None, None]
    back = torch.stack([b for _, b in pairs]).mean(0)[..., None, None]
    features = asked.tensors[method.stage]
    own = own_prototypes(features, cosine_scores(features, fore, back))
    fore_1 = 0.5 * fore + 0.5 * own[0]
    back_1 = 0.3 * own[1] + 0.7 * own[2]
    first = cosine_scores(features, fore_1, back_1)
    if not method.refine:
        return first[:, None], dict(asked.tensors)
    own = own_prototypes(features, first)
    fore_2 = 0.5 * fore + 0.5 * own[0]
    back_2 = 0.3 * own[1] + 0.7 * own[2]
    fore_2 = 0.5 * fore + 0.2 * fore_1 + 0.3 * fore_2
    back_2 = 0.5 * back + 0.2 * back_1 + 0.3 * back_2
    second = cosine_scores(features, fore_2, back_2)
    return (0.7 * second + 0.3 * first)[:, None], dict(asked.tensors)


def own_prototypes(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means of the confident pixels and the local background, episode by episode (SSP eqs. 3-9).

    The attention to the foreground is computed and left unused, as published.
    """
    probability = logits.softmax(1).flatten(2)
    fores: list[Tensor] = []
    backs: list[Tensor] = []
    local: list[Tensor] = []
    for index in range(len(features)):
        rows = features[index].flatten(1)
        chosen_fore = _chosen(rows, probability[index, 1], 0.7)
        chosen_back = _chosen(rows, probability[index, 0], 0.6)
        fores.append(chosen_fore.mean(1))
        backs.append(chosen_back.mean(1))
        unit = (rows / rows.norm(2, 0, keepdim=True)).t()
        attended = [_attended(unit, chosen) for chosen in (chosen_fore, chosen_back)]
        local.append(attended[1].t().reshape(features.shape[1:]))
    return (
        torch.stack(fores)[..., None, None],
        torch.stack(backs)[..., None, None],
        torch.stack(local),
    )


def _chosen(rows: Tensor, probability: Tensor, threshold: float) -> Tensor:
    above = probability > threshold
    return rows[:, above] if bool(above.any()) else rows[:, probability.topk(12).indices]


def _attended(unit: Tensor, chosen: Tensor) -> Tensor:
    directions = chosen / chosen.norm(2, 0, keepdim=True)
    weights = (unit @ directions * 2.0).softmax(-1)
    return weights @ chosen.t()


# -- comparing -------------------------------------------------------------------------------------


class Masks:
    """Keeps the last mask that a method decided on, whichever copy of it was asked."""

    def __init__(self, method: Method):
        self._last: Tensor | None = None
        decide = type(method).decide

        def kept(logits: Tensor, size: tuple[int, int]) -> Tensor:
            self._last = decide(method, logits, size)
            return self._last

        method.decide = kept

    def taken(self) -> Tensor:
        """Uint8 [B, H, W]."""
        assert self._last is not None
        return self._last.cpu()


class Difference(NamedTuple):
    """Pixels compared; those that differ; those of them where the plain scores are not near."""

    pixels: int
    differ: int
    wrong: int


def difference(mask: Tensor, logits: Tensor) -> Difference:
    """A mask [1, H, W] against the plain scores [1, K or 1, 2, H, W] of the same episode.

    Where a shot's two scores are nearer than 1e-5, rounding may decide that shot.
    """
    apart = mask != plain_mask(logits)
    margin = (logits[:, :, 1] - logits[:, :, 0]).abs().amin(1)
    return Difference(apart.numel(), int(apart.sum()), int((apart & (margin >= NEAR)).sum()))


# -- learning at test ------------------------------------------------------------------------------


def plain_steps(method: Method, support: Tensor, mask: Tensor, steps: int) -> None:
    """So many steps of an adaptation as the published APM takes them.

    The support is encoded and matched with itself from the start in every step, though only the
    plug-ins' parameters change.

    Args:
        method: with feature or head plug-ins.
        support: [1, 3, H, W].
        mask: [1, H, W] of 0 and 1.
        steps: of Adam.
    """
    copied = copy_of(method)
    learners = copied.learning_plugins
    with torch.no_grad():
        maps = maps_of(copied, copied.features(support))
    for plugin in copied.feature_plugins:
        plugin.reset(maps, torch.Generator().manual_seed(0))
    with learning(copied, learners):
        optimizers = [torch.optim.Adam(p.learned(copied), lr=p.lr) for p in learners]
        for _ in range(steps):
            with torch.no_grad():
                rows = copied.features(support)
            scores = Method.self_prediction(copied, rows, mask)()[:, 0]
            full = F.interpolate(scores, support.shape[-2:], mode="bilinear", align_corners=True)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(full, mask.long()).backward()
            for optimizer in optimizers:
                optimizer.step()
