"""Choosing from the support alone: each support is asked as a query of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from .feature_batch import FeatureBatch
from .host import Host
from .plugin_api import Trial


def choose_on(host: Host, support: FeatureBatch, masks: Tensor) -> None:
    """Lets the score plug-ins of `host` that adapt choose, in the order in which they act.

    What feature or head plug-ins have learnt by then, they learnt from all supports.

    Args:
        host: an episode's own copy, which changes.
        support: features of the K supports.
        masks: [K, H, W] of 0 and 1.
    """
    if all(plugin.adaptation == "none" for plugin in host.score_plugins):
        return
    with torch.no_grad():
        states = host.encode_support(support, masks)
        maps: list[Tensor] = []
        for index in range(len(support)):
            left = remaining(support, masks, index)
            shown = [states[other] for other in left]
            query = host.apply_feature_plugins(support[index : index + 1])
            maps.append(host.score(query, shown, shots=len(left)))
        for plugin in host.score_plugins:
            low = support.tensors[plugin.kept_as].split(1)
            if plugin.adaptation != "none":
                trials = [Trial(*each) for each in zip(maps, low, masks, strict=True)]
                plugin.choose(trials, host.decide)
            maps = [
                plugin.calibrate(m, each, support.size) for m, each in zip(maps, low, strict=True)
            ]


def remaining(support: FeatureBatch, masks: Tensor, index: int) -> list[int]:
    """Which supports are left when one is left out, and every copy of it (samplers repeat).

    Where nothing is left, as with one shot, it is the support itself: a prediction from itself,
    which flatters.
    """
    tensor = next(iter(support.tensors.values()))

    def is_copy(other: int) -> bool:
        return torch.equal(tensor[other], tensor[index]) and torch.equal(masks[other], masks[index])

    return [other for other in range(len(support)) if not is_copy(other)] or [index]
