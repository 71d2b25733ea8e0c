"""An encoder that returns given maps for given images."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from cdfss_bench.methods.backbones.base import Backbone, EditStage, Stage, StageMaps


class GivenMaps(Backbone):
    """Returns the map that belongs to an image; every image without content has the black map.

    Args:
        images: [n, 3, H, W], all different.
        maps: theirs, [n, C, h, w].
        black: of an image whose channels are constant, [C, h, w].
    """

    pyramid = ()
    semantic = "given"

    def __init__(self, images: Tensor, maps: Tensor, black: Tensor):
        super().__init__()
        self.images = images
        self.maps = nn.Parameter(maps)
        self.black = black
        self.stages = (Stage("given", maps.shape[1], images.shape[-1] // maps.shape[-1], 1),)

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`."""
        del edit
        found = torch.stack([self._map_of(image) for image in images])
        yield StageMaps(self.stages[0], [found], found)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """There are none."""
        del index
        return []

    def _map_of(self, image: Tensor) -> Tensor:
        if bool((image == image[:, :1, :1]).all()):
            return self.black
        (number,) = (i for i, known in enumerate(self.images) if torch.equal(known, image))
        return self.maps[number]
