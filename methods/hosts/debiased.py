"""What INSID3 and FROST have in common: one frozen map per image, rid of what tells positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError

from ..backbones.base import Backbone
from ..blocks.positional_basis import black_images, positional_basis, without
from ..blocks.token_masks import token_masks
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Plugin

MAP = "map"
"""Name of the encoded map."""
OF_CHANNELS = 1024
"""Width of the encoder for which the published numbers of directions were set."""
LEAST = 1e-3
"""Share of the largest singular value below which a convolutional network's directions are left."""
KEPT = 4
"""Bases that are kept, one per image size, device and precision."""


class Debiased(Method):
    """A method without parameters of its own, on the last map of a frozen encoder.

    The encoder is shown a black image once per image size; what it makes of that is removed from
    all features. The basis follows from weights and size: it is kept, but is no part of the state
    dict, and is computed anew when the weights change.

    Args:
        backbone: any; the map is the last tap of its `semantic` stage.
        size: side in pixels to which images are brought before they are encoded; 0 leaves them.
        svd: directions to remove; -1 means `published` of every 1024 channels on a transformer
            and none on a convolutional network, whose map of a black image varies at the borders
            alone.
        published: number of directions of the published method, whose encoder has 1024 channels.

    Raises:
        CompositionError: if `svd` would remove all channels, or the backbone refuses `size`.
    """

    def __init__(
        self, backbone: Backbone, plugins: Sequence[Plugin], *, size: int, svd: int, published: int
    ):
        super().__init__(backbone, plugins)
        self.stage = backbone.semantic
        channels = backbone.stage(self.stage).channels
        self.is_convolutional = bool(backbone.pyramid)
        if svd < 0:
            svd = 0 if self.is_convolutional else round(channels * published / OF_CHANNELS)
        if svd >= channels:
            raise CompositionError(
                f"svd={svd} would remove all {channels} channels of the backbone",
                hint=f"choose fewer than {channels} directions, or svd=0 for none",
            )
        if size:
            backbone.resize_to(size)
        self.directions = svd
        self.side = size
        self._bases: dict[tuple[object, ...], tuple[tuple[object, ...], Tensor]] = {}

    def encode(self, images: Tensor) -> FeatureBatch:
        """As `Host.encode`; the first call for a size also computes its basis."""
        self.basis((images.shape[-2], images.shape[-1]), images)
        return super().encode(images)

    def features(self, images: Tensor) -> FeatureBatch:
        """The semantic stage's last tap, `map` [N, C, h, w]."""
        rows = self.walked(images, last_taps=[self.stage])
        return FeatureBatch(rows.size, {MAP: rows.tensors[self.stage]})

    def seen(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Masks [N, H, W] at the map's `size`, bool [N, h, w]."""
        if self.side not in (0, masks.shape[-1]) or self.side not in (0, masks.shape[-2]):
            side = (self.side, self.side)
            masks = F.interpolate(masks[:, None].float(), side, mode="nearest")[:, 0]
        return token_masks(masks, size)

    def debiased(self, unit: Tensor, size: tuple[int, int]) -> Tensor:
        """`unit` [..., C, N] without the basis of images of `size`, of length 1 at each position.

        INSID3 section 3.2: what is left is compared between images.
        """
        return without(self.basis(size, unit), unit)

    def basis(self, size: tuple[int, int], like: Tensor) -> Tensor | None:
        """The directions that are removed from images of `size`, [C, s]; None where none are.

        The device of `like` computes.
        """
        if not self.directions:
            return None
        key, state = (size, str(like.device), self.precision), self._weights_state()
        kept = self._bases.get(key)
        if kept is not None and kept[0] == state:
            return kept[1]
        with torch.inference_mode(mode=False), torch.no_grad():
            dtype = next(self.backbone.parameters()).dtype
            black = black_images(size, device=like.device, dtype=dtype)
            unit = unit_columns(super().encode(black).tensors[MAP])[0]
            least = LEAST if self.is_convolutional else 0.0
            found = positional_basis(unit, self.directions, least=least)
        while len(self._bases) >= KEPT:
            self._bases.pop(next(iter(self._bases)))
        self._bases[key] = (state, found)
        return found

    def _weights_state(self) -> tuple[object, ...]:
        """Differs after every change of the backbone's parameters and buffers, and in a copy."""
        tensors = chain(self.backbone.parameters(), self.backbone.buffers())
        return tuple((id(t), 0 if t.is_inference() else t._version) for t in tensors)


def unit_columns(maps: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, h*w], of length 1 at each position."""
    return F.normalize(maps.flatten(2), dim=1)
