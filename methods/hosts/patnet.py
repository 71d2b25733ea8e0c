"""PATNet: Pyramid Anchor Transformation for cross-domain few-shot segmentation (ECCV 2022).

Lei et al., "Cross-Domain Few-Shot Semantic Segmentation". This is the network as published, without
task-adaptive fine-tuning; that is the plug-in `tfi`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..blocks.anchors import EPS, coordinates, in_plane, prototype_basis
from ..blocks.correlation import hypercorrelation, self_correlation
from ..blocks.prototypes import masked_mean, resized_masks
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin
from ..fast.patnet import anchored_volumes
from ..fast.sparse_pyramid import Volume
from ..fast.spots import Spots, SpottedSupport, spotted
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

    def learning_stages(self) -> set[str]:
        """Those of `HSNet`, and those whose anchors ask for a gradient."""
        taps = [tap for tap in self._pairs if self.anchors(tap).requires_grad]
        return super().learning_stages() | {tap.rpartition(".")[0] for tap in taps}

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

    def correlation(self, stage: str, query: FeatureBatch, support: FeatureBatch) -> Tensor:
        """Hypercorrelation [B, taps, hq, wq, hs, ws] of the transformed features."""
        bases = support.group(f"basis:{stage}")
        seen = [coordinates(b, q) for b, q in zip(bases, query.group(stage), strict=True)]
        return hypercorrelation(
            [in_plane(z, self.anchors(f"{stage}.{i}")) for i, z in enumerate(seen)],
            [in_plane(z, self.anchors(f"{stage}.{i}")) for i, z in enumerate(support.group(stage))],
        )

    # -- fast forms: what no paper describes ---------------------------------------------------

    def spots(self, support: FeatureBatch, mask: Tensor) -> SpottedSupport:
        """As in HSNet: the coordinates of what the mask leaves, and per tap the basis [2, C]."""
        stages: dict[str, Spots] = {}
        bases: dict[str, Tensor] = {}
        for stage in self.stages:
            planes: list[Tensor] = []
            for number, tap in enumerate(support.group(stage)):
                name = f"{stage}.{number}"
                basis, plane = self._own_plane(name, tap, mask)
                bases[name] = basis[0]
                planes.append(plane)
            if planes:
                stages[stage] = spotted(planes, mask)
        return SpottedSupport(stages, bases)

    def volumes(
        self, stage: str, query: FeatureBatch, supports: Sequence[SpottedSupport]
    ) -> Iterator[Volume]:
        """As in HSNet, from two coordinates: each support's basis maps the query too."""
        names = [f"{stage}.{number}" for number in range(len(query.group(stage)))]
        return anchored_volumes(
            query.group(stage),
            [support.stages[stage] for support in supports],
            [torch.stack([support.bases[name] for support in supports]) for name in names],
            [self.anchors(name) for name in names],
        )

    def correlation_with_itself(self, stage: str, support: FeatureBatch, masks: Tensor) -> Tensor:
        """As in HSNet, of the transformed features."""
        planes = [
            self._own_plane(f"{stage}.{number}", tap, masks)[1]
            for number, tap in enumerate(support.group(stage))
        ]
        return self_correlation(planes, masks)

    def _own_plane(self, name: str, tap: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The basis [N, 2, C] of a support's own prototypes, and the tap in its anchors' plane."""
        basis = prototype_basis(*prototypes(tap, masks))
        return basis, in_plane(coordinates(basis, tap), self.anchors(name))


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
