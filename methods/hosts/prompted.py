"""What hosts share that prompt a SAM: the square in which it sees an image, its embedding."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone
from ..backbones.sam import SAM
from ..blocks.sam_frames import Frame
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Plugin


class PromptedSAM(Method):
    """A host whose features are SAM's image embeddings.

    Args:
        backbone: a SAM.
        combine: how several supports are; `vote` by the masks that each gives.
        input_size: side in pixels of SAM's square; 0 is the backbone's own.

    Raises:
        CompositionError: if the size does not divide into patches.
    """

    backbone: SAM

    def __init__(
        self, backbone: Backbone, plugins: Sequence[Plugin] = (), *, combine: str, input_size: int
    ):
        super().__init__(backbone, plugins)
        assert isinstance(backbone, SAM)
        if input_size % backbone.plan.patch:
            raise CompositionError(
                f"{type(self).__name__.lower()}'s input_size of {input_size} pixels does not "
                f"divide into patches of {backbone.plan.patch}",
                hint=f"use a multiple of {backbone.plan.patch}, or 0 for {backbone.side}",
            )
        self.combine = combine
        self.side = input_size or backbone.side

    @property
    def votes(self) -> bool:
        """Whether each support gives a mask of its own."""
        return self.combine == "vote"

    # -- encode --------------------------------------------------------------------------------

    def features(self, images: Tensor) -> FeatureBatch:
        """The image embedding `neck` [N, C, g, g]."""
        frame = self.frame((images.shape[-2], images.shape[-1]))
        return FeatureBatch(frame.size, {"neck": self.backbone.embedding(frame.pictured(images))})

    def frame(self, size: tuple[int, int]) -> Frame:
        """The square in which SAM sees an image of `size`."""
        return Frame(size, self.side)
