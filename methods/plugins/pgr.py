"""PGR, perceptual Gaussian refinement (HERA, CVPR 2026): attention pulled to a neighbourhood.

HERA pulls the attention of the last block that it reads, after the choice of layers; so does this.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone
from ..backbones.pulled import attended
from ..backbones.transformer import Transformer
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import MapPlugin

GRAPH = "graph"
"""How patches attend to each other in the pulled attention, [N, P, P]; PAC reads it."""


class PGR(MapPlugin):
    """Pulls the attention of the last block that is read to each patch's neighbourhood.

    Nothing is learnt. Choices of layers are made on plain attention.
    """

    def fit(self, backbone: Backbone) -> None:
        """Notes the stages behind which tokens are needed.

        Raises:
            CompositionError: for a network without tokens.
        """
        if not isinstance(backbone, Transformer):
            raise CompositionError(
                f"pgr changes a transformer's attention, and {type(backbone).__name__} has none"
            )
        # Candidates of hls are the second half of the stages with taps, each made from the one
        # before it.
        blocks = len(backbone.blocks)
        self.tokens = [stage.name for stage in backbone.stages[blocks // 2 : blocks]]

    def refined(self, backbone: Backbone, rows: FeatureBatch, tap: str) -> Mapping[str, Tensor]:
        """The map of the block of `tap`, [N, C, h, w], and the `graph` of its patches."""
        assert isinstance(backbone, Transformer)
        index = int(tap.split(".")[1])
        before = rows.tensors[f"tokens:{backbone.stages[index].name}"]
        stage = rows.tensors[backbone.semantic]
        size = (stage.shape[-2], stage.shape[-1])
        middle, graph = attended(backbone, index, before, size)
        behind = middle + backbone.block(index).mixed(middle)
        is_last = index == len(backbone.blocks) - 1
        maps = backbone.closed(behind, size) if is_last else backbone.placed(behind, size)
        return {"map": maps, GRAPH: graph}
