"""PATNet: Pyramid Anchor Transformation for cross-domain few-shot segmentation (ECCV 2022).

Lei et al., "Cross-Domain Few-Shot Semantic Segmentation". This is the network as published, without
task-adaptive fine-tuning; that is the plug-in `tfi`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..backbones.base import Backbone
from ..blocks.anchors import EPS, coordinates, in_plane, prototype_basis
from ..blocks.prototypes import masked_mean, resized_masks
from ..core.contract import PublishedWork
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin
from .hsnet import HSNet

_COUNTED = (4, 10)
"""Taps before these numbers use the first and the second pair (`patnet.py`, written for the 4, 6
and 3 taps of ResNet-50)."""


class PATNet(HSNet):
    """HSNet on features that the support's prototypes map onto learnt, domain-agnostic anchors.

    Every feature of a tap is mapped by the matrix that takes the support's normalised prototypes to
    a pair of anchors, one pair per stage. Only two coordinates per position are computed, which is
    exact (see `blocks/anchors.py`); a support is kept as its coordinates and its basis.

    Args:
        backbone: any with stages at strides 8, 16 and 32.
        plugins: what it carries.
        widths: `16-64-128`, channels of the pyramid's blocks.
        anchors: `published` counts taps as the published code does, which on VGG-16 gives conv5_1
            the first pair and leaves the third idle; `stage` is one pair per stage. They differ
            only where all stages have equal channels.

    State-dict keys: `backbone.*`, `hpn_learner.*`, `reference_layer{1,2,3}.{weight,bias}` (PATNet
    `model/patnet.py`); the biases are never read.
    """

    offers = HSNet.offers | {Place.ANCHORS}

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        widths: str = "16-64-128",
        anchors: str = "published",
    ):
        super().__init__(backbone, plugins, widths=widths)
        stages = [backbone.stage(name) for name in self.stages]
        self.reference_layer1 = _anchor_pair(stages[0].channels)
        self.reference_layer2 = _anchor_pair(stages[1].channels)
        self.reference_layer3 = _anchor_pair(stages[2].channels)
        counts = anchors == "published" and len({stage.channels for stage in stages}) == 1
        numbered = [
            (index, stage, tap) for index, stage in enumerate(stages) for tap in range(stage.taps)
        ]
        self._pairs = {
            f"{stage.name}.{tap}": sum(number >= limit for limit in _COUNTED) if counts else index
            for number, (index, stage, tap) in enumerate(numbered)
        }

    def anchors(self, tap: str) -> Tensor:
        """The pair that `tap` uses, [2, C]; row 0 is the background's."""
        layers = (self.reference_layer1, self.reference_layer2, self.reference_layer3)
        return layers[self._pairs[tap]].weight

    @property
    def lowest_taps(self) -> list[str]:
        """The taps that use the first pair of anchors."""
        return [tap for tap, pair in self._pairs.items() if pair == 0]

    def masked(self, support: FeatureBatch, masks: Tensor) -> FeatureBatch:
        """Per tap the basis [N, 2, C] and the masked coordinates [N, 2, h, w]."""
        tensors: dict[str, Tensor] = {}
        for stage in self.stages:
            for i, tap in enumerate(support.group(stage)):
                basis = prototype_basis(*prototypes(tap, masks))
                tensors[f"basis:{stage}.{i}"] = basis
                tensors[f"{stage}.{i}"] = coordinates(basis, tap) * resized_masks(masks, tap)
        return FeatureBatch(support.size, tensors)

    def compared(
        self, stage: str, query: FeatureBatch, support: FeatureBatch
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """As in `HSNet`, in the anchors' plane: two channels."""
        bases = support.group(f"basis:{stage}")
        seen = [coordinates(b, q) for b, q in zip(bases, query.group(stage), strict=True)]
        return (
            [in_plane(z, self.anchors(f"{stage}.{i}")) for i, z in enumerate(seen)],
            [in_plane(z, self.anchors(f"{stage}.{i}")) for i, z in enumerate(support.group(stage))],
        )

    def published_work(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> PublishedWork:
        """Per tap `P = (pinv(C) R)^T`, C x C, times every position (`model/patnet.py`).

        Ours has two coordinates per position in its place (`blocks/anchors.py`), and correlates
        these instead of C channels. As HSNet it does shot after shot.
        """
        first = support[:1]
        operations = 0
        for stage in self.stages:
            for asked, shown in zip(query.group(stage), first.group(stage), strict=True):
                channels = asked.shape[1]
                here, there = (tap.shape[-2] * tap.shape[-1] for tap in (asked, shown))
                transformation = 2 * channels * 2 * channels
                transformed = 2 * channels * channels * (here + there)
                operations += transformation + transformed + 2 * channels * here * there

        def ours() -> None:
            states = self.masked(first, masks[:1])
            for stage in self.stages:
                self.correlation(stage, query, states)

        return PublishedWork(shot_by_shot=True, operations=operations, replaced=ours)


def prototypes(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Background and foreground [N, C] of `features` [N, C, h, w] under `masks` [N, H, W].

    Whatever is not foreground is background (PATNet `mask_feature`).
    """
    weights = resized_masks(masks, features)
    outside = 1 - weights
    back = (features * outside).sum((2, 3)) / (outside.sum((2, 3)) + EPS)
    return back, masked_mean(features, masks, eps=EPS)


def _anchor_pair(channels: int) -> nn.Linear:
    layer = nn.Linear(channels, 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    layer.bias.requires_grad = False
    return layer
