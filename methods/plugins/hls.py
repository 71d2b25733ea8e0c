"""HLS, hierarchical layer selection (HERA, CVPR 2026): which block output segments supports best.

HERA chooses among the blocks of a transformer and fits the chosen one; here the choice alone is
made, for any host that matches one map, and on convolutional networks too (ours).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone, Stage
from ..blocks.layer_choice import LayerChoice, choose_layers, first_copies, leave_one_out
from ..core.contract import Adaptation
from ..core.feature_batch import FeatureBatch
from ..core.host import Host
from ..core.leave_one_out import support_views
from ..core.plugin_api import MapPlugin, MixedTaps, PluginHost


class HLS(MapPlugin):
    """Reads the tap, or mix of taps, by which the supports predict each other best.

    Candidates are the second half of a transformer's blocks; of a convolutional network the last
    block before the host's stage and every block of that stage. A single support is compared with
    two copies of itself, as HERA does.

    Options: see `hls.yaml`.
    """

    wants_image = True

    def __init__(self, *, mix: bool = True):
        super().__init__()
        self.mix = mix
        self.choice: LayerChoice | None = None
        self.mixable = range(0)
        """Indices of the last candidates, whose maps have one shape."""

    @property
    def adaptation(self) -> Adaptation:
        """It chooses from the support's labels."""
        return "episode"

    def fit(self, backbone: Backbone) -> None:
        """Notes the candidates.

        Raises:
            CompositionError: if there are fewer than two.
        """
        own = backbone.stage(backbone.semantic)
        before = backbone.stages[: backbone.stages.index(own)]
        earlier = [stage for stage in before if stage.taps]
        if backbone.pyramid:
            stages = [*earlier[-1:], own]
            taps = [(earlier[-1], earlier[-1].taps - 1)] if earlier else []
            taps += [(own, index) for index in range(own.taps)]
        else:
            stages = [*earlier, own]
            taps = [(stage, 0) for stage in stages[len(stages) // 2 :]]
        if len(taps) < 2:
            raise CompositionError(
                f"hls has nothing to choose from: {type(backbone).__name__} offers one map there"
            )
        self.taps = [f"{stage.name}.{index}" for stage, index in taps]
        alike = [_shape(stage) == _shape(own) for stage, _ in taps]
        first = max((i + 1 for i, same in enumerate(alike) if not same), default=0)
        self.mixable = range(first, len(taps))

    @property
    def chosen(self) -> MixedTaps | None:
        """The taps of the choice."""
        if self.choice is None:
            return None
        names = tuple(self.taps[layer] for layer in self.choice.layers)
        return MixedTaps(names, self.choice.weights)

    def choose(self, host: PluginHost, support: FeatureBatch, masks: Tensor) -> None:
        """By mean leave-one-out IoU of the host's own matching, score plug-ins left out.

        Beside a feature plug-in, which acts on maps of one width, only maps of the host's own
        shape are candidates.
        """
        assert isinstance(host, Host)
        shown, truth = support_views(host, support, masks)
        stage = host.adaptable(host.backbone).name
        first = self.mixable[0] if host.feature_plugins else 0

        copies = first_copies(shown.tensors["image"], truth)

        def judge(maps: Tensor) -> Tensor:
            rows = FeatureBatch(shown.size, {stage: maps})
            # One after the other, as they are asked: a result shall not depend on a batch.
            states = [
                state
                for i in range(len(rows))
                for state in host.support_states(rows[i : i + 1], truth[i : i + 1])
            ]

            def segment(asked: int, others: Sequence[int]) -> Tensor:
                told = [states[other] for other in others]
                logits = host.score(rows[asked : asked + 1], told, shots=len(told))
                return host.decide(logits, shown.size)

            return leave_one_out(segment, truth, copies)

        maps = [shown.tensors[f"tap:{name}"] for name in self.taps[first:]]
        mixable = [index - first for index in self.mixable] if self.mix else []
        with torch.no_grad():
            found = choose_layers(
                maps, judge, mixable=mixable, directions=lambda each: F.normalize(each, dim=1)
            )
        self.choice = found.shifted(first)


def _shape(stage: Stage) -> tuple[int, int]:
    return stage.channels, stage.stride
