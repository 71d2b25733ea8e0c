"""TFI, PATNet's task-adaptive fine-tuning inference, repaired: the released loss reaches no anchor.

Lei et al. (ECCV 2022), section 5.3: at test the anchors learn to bring the foreground prototypes of
support and query together, the query's mask being the network's own prediction. The released
`finetune_reference` compares prototypes from before the transformation, whose value no anchor
changes; the two repairs here are both ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..blocks.anchors import prototype_basis, transformed
from ..core.contract import Adaptation
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import AnchorPlugin, PluginHost
from ..hosts.patnet import PATNet, prototypes


class TFI(AnchorPlugin):
    """The first pair of anchors learns, from the support's labels and the unlabelled query.

    Options: see `tfi.yaml`.
    """

    def __init__(self, *, steps: int = 50, lr: float = 1e-3, repair: str = "prototypes"):
        super().__init__(steps=steps, lr=lr)
        self.soft = repair == "soft_mask"

    @property
    def adaptation(self) -> Adaptation:
        """It looks at the query image."""
        return "transductive" if self.steps else "none"

    def learned(self, host: PluginHost) -> Sequence[Tensor]:
        """The first pair of anchors, [2, C]."""
        return [_patnet(host).reference_layer1.weight]

    def objective(
        self, host: PluginHost, support: FeatureBatch, masks: Tensor, query: FeatureBatch
    ) -> Callable[[], Tensor] | None:
        """None where the first prediction is empty: there is no prototype of nothing."""
        net = _patnet(host)
        with torch.no_grad():
            predicted = net.decide(net.match(query, support, masks[None]), query.size)
        if not bool(predicted.any()):
            return None
        if self.soft:
            return soft_mask_divergence(net, support, masks, query)
        return transformed_divergence(net, support, masks, query, predicted)


def transformed_divergence(
    host: PATNet, support: FeatureBatch, masks: Tensor, query: FeatureBatch, predicted: Tensor
) -> Callable[[], Tensor]:
    """What gives the divergence of foreground prototypes AFTER the transformation.

    The sum over taps, queries and channels, averaged over shots, of N queries with masks
    `predicted` [N, H, W] and N * K supports with masks [N * K, H, W], an episode's side by side.
    The host's first pair of anchors is read at each call.
    """
    shots = len(support) // len(query)
    pairs: list[tuple[str, Tensor, Tensor]] = []
    with torch.no_grad():
        for tap in host.lowest_taps:
            back, fore = prototypes(support.tensors[tap], masks)
            basis = prototype_basis(back, fore)
            _, asked = prototypes(query.tensors[tap], predicted)
            asked = asked.repeat_interleave(shots, 0)
            own, other = (torch.einsum("nkc,nc->nk", basis, p) for p in (fore, asked))
            pairs.append((tap, own, other))

    def loss() -> Tensor:
        terms = [
            divergence(*(transformed(z, host.anchors(tap)) for z in coordinates))
            for tap, *coordinates in pairs
        ]
        return torch.stack(terms).sum() / shots

    return loss


def soft_mask_divergence(
    host: PATNet, support: FeatureBatch, masks: Tensor, query: FeatureBatch
) -> Callable[[], Tensor]:
    """What gives the divergence of untransformed prototypes under the predicted soft mask.

    The query's prototype is `sum(F p [p >= 0.5]) / sum(p)` with p the foreground probability at the
    tap's size; the gradient reaches the anchors, which are read at each call, through p alone. It
    is the sum over taps and channels, averaged over K supports with masks [K, H, W].
    """
    taps = host.lowest_taps
    count = range(len(support))
    replays = [host.replay(query, support[i : i + 1], masks[i : i + 1]) for i in count]
    with torch.no_grad():
        fores = [prototypes(support.tensors[tap], masks)[1] for tap in taps]

    def loss() -> Tensor:
        terms: list[Tensor] = []
        for i, replay in enumerate(replays):
            probability = replay()[:, 0].softmax(1)[:, 1:]
            for tap, fore in zip(taps, fores, strict=True):
                maps = query.tensors[tap]
                size = (maps.shape[-2], maps.shape[-1])
                weights = F.interpolate(probability, size, mode="bilinear", align_corners=True)
                sure = weights * (weights >= 0.5)
                asked = (maps * sure).sum((2, 3)) / weights.sum((2, 3))
                terms.append(divergence(fore[i : i + 1], asked))
        return torch.stack(terms).sum() / len(replays)

    return loss


def divergence(support: Tensor, query: Tensor) -> Tensor:
    """KL(softmax(support) || softmax(query)) of prototypes [N, C], summed over all."""
    return F.kl_div(query.log_softmax(1), support.softmax(1), reduction="sum")


def _patnet(host: PluginHost) -> PATNet:
    if not isinstance(host, PATNet):
        raise CompositionError(f"tfi needs PATNet's anchors, which {type(host).__name__} lacks")
    return host
