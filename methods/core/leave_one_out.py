"""Choosing from the support alone: each support is asked as a query of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from .feature_batch import FeatureBatch
from .host import Host
from .plugin_api import Trial

COPIES = 2
"""Of a single support, beside it."""


def choose_on(host: Host, support: FeatureBatch, masks: Tensor) -> None:
    """Lets the score plug-ins of an episode's copy choose, in the order in which they act.

    What feature or head plug-ins have learnt by then, they learnt from all K supports, whose masks
    are [K, H, W] of 0 and 1.
    """
    if all(plugin.adaptation == "none" for plugin in host.score_plugins):
        return
    with torch.no_grad():
        states = host.encode_support(support, masks)
        maps: list[Tensor] = []
        asked: list[FeatureBatch] = []
        for index in range(len(support)):
            left = remaining(support, masks, index)
            shown = [states[other] for other in left]
            query = host.apply_feature_plugins(support[index : index + 1])
            maps.append(host.score(query, shown, shots=len(left)))
            asked.append(query)
        for plugin in host.score_plugins:
            if plugin.adaptation != "none":
                trials = [
                    Trial(m, rows.tensors[plugin.kept_as], truth, rows)
                    for m, rows, truth in zip(maps, asked, masks, strict=True)
                ]
                plugin.choose(trials, host.decide)
            maps = [plugin.correct(m, rows) for m, rows in zip(maps, asked, strict=True)]


def support_views(host: Host, support: FeatureBatch, masks: Tensor) -> tuple[FeatureBatch, Tensor]:
    """The supports; of a single one itself and two copies of it, their foreground doubled.

    HERA's copies: its random placing of the object has one outcome, so that both are equal.
    `support` has its `image`, masks are [K, H, W] of 0 and 1.
    """
    if len(support) > 1:
        return support, masks
    image = support.tensors["image"]
    copied = host.encode(image + image * masks[:, None].to(image.dtype))
    return FeatureBatch.cat([support, *[copied] * COPIES]), masks.expand(1 + COPIES, -1, -1)


def remaining(support: FeatureBatch, masks: Tensor, index: int) -> list[int]:
    """Which supports are left when one is left out, and every copy of it (samplers repeat).

    Where nothing is left, as with one shot, it is the support itself: a prediction from itself,
    which flatters.
    """
    tensor = next(iter(support.tensors.values()))

    def is_copy(other: int) -> bool:
        return torch.equal(tensor[other], tensor[index]) and torch.equal(masks[other], masks[index])

    return [other for other in range(len(support)) if not is_copy(other)] or [index]
