"""SAM's prompt encoder (Kirillov et al., ICCV 2023): points, boxes and masks as tokens and maps.

A prompt is given in pixels (x, y) of the frame that the image encoder saw (`sam_frames`), and
becomes

* sparse tokens [B, T, C]: one per point, two per box, and
* a dense map [B, C, h, w] that is added to the image embedding: of a mask, or of none.

    encoder = PromptEncoder(256)
    sparse, dense = encoder(
        frame=(1024, 1024), grid=(64, 64), points=xy, labels=labels, boxes=None, masks=None
    )
    positions = encoder.dense_positions((64, 64))    # [1, C, 64, 64], for the mask decoder

A network that makes its own prompts needs `dense_positions` and `no_mask_embed.weight` only.
State-dict keys are those of the published `prompt_encoder.`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cdfss_bench.transfer import onto

from .layer_norm import LayerNorm2d

MASK_SCALE = 4
"""Side of a mask prompt, and of the decoder's masks, in cells of the image embedding."""

PADDING, NEGATIVE, POSITIVE = -1, 0, 1
"""Labels of points; a padding point is a token that stands nowhere."""


class PositionalEncoding(nn.Module):
    """Random Fourier features of places in [0, 1], `pe_layer`.

    Args:
        channels: of a code, half sines and half cosines.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Places (x, y) [..., 2] in [0, 1] -> codes [..., C]."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks as what the mask decoder takes."""

    def __init__(self, channels: int, mask_channels: int = 16):
        super().__init__()
        self.channels = channels
        self.pe_layer = PositionalEncoding(channels)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, channels) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.no_mask_embed = nn.Embedding(1, channels)
        quarter = mask_channels // 4
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, quarter, 2, stride=2),
            LayerNorm2d(quarter),
            nn.GELU(),
            nn.Conv2d(quarter, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, channels, 1),
        )

    def dense_positions(self, grid: tuple[int, int]) -> Tensor:
        """Codes [1, C, h, w] of the centres of the cells of a grid (h, w)."""
        like = self.pe_layer.positional_encoding_gaussian_matrix
        y, x = (
            (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side for side in grid
        )
        places = torch.stack((x.expand(grid), y[:, None].expand(grid)), dim=-1)
        return self.pe_layer(places).permute(2, 0, 1)[None]

    def forward(
        self,
        *,
        frame: tuple[int, int],
        grid: tuple[int, int],
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sparse tokens [B, T, C] and the dense map [B, C, h, w].

        Without any prompt B is 1 and T is 0. Points without a box are followed by one padding
        token, as published.

        Args:
            frame: (H, W) of the encoder's input in pixels.
            grid: (h, w) of the image embedding.
            points: (x, y) in pixels of the frame [B, P, 2].
            labels: of the points [B, P]: 1 in the object, 0 outside, -1 padding.
            boxes: (x0, y0, x1, y1) in pixels of the frame [B, 4].
            masks: logits at 4 times the grid [B, 1, 4h, 4w], as the decoder gave them.

        Raises:
            ValueError: if points come without labels.
        """
        parts: list[Tensor] = []
        if points is not None:
            if labels is None:
                raise ValueError("points need labels")
            if boxes is None:
                points = torch.cat((points, points.new_zeros(len(points), 1, 2)), dim=1)
                padding = labels.new_full((len(labels), 1), PADDING)
                labels = torch.cat((labels, padding), dim=1)
            parts.append(self._points(points, labels, frame))
        if boxes is not None:
            corners = self._codes(boxes.unflatten(1, (2, 2)), frame)
            first, second = (self._embedding(2), self._embedding(3))
            parts.append(corners + torch.stack((first, second)))
        given = next((t for t in (points, boxes, masks) if t is not None), None)
        batch = 1 if given is None else len(given)
        none = self.no_mask_embed.weight
        sparse = torch.cat(parts, dim=1) if parts else none.new_zeros(batch, 0, self.channels)
        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        # A copy: a view of the parameter could be changed through what is returned.
        return sparse, none[:, :, None, None].expand(batch, -1, *grid).clone()

    def _points(self, points: Tensor, labels: Tensor, frame: tuple[int, int]) -> Tensor:
        codes = self._codes(points, frame)
        kinds = labels[..., None]
        tokens = torch.where(kinds == POSITIVE, codes + self._embedding(1), codes)
        tokens = torch.where(kinds == NEGATIVE, codes + self._embedding(0), tokens)
        return torch.where(kinds == PADDING, self.not_a_point_embed.weight[0], tokens)

    def _codes(self, pixels: Tensor, frame: tuple[int, int]) -> Tensor:
        """Codes of pixels (x, y) [..., 2], meant at their centres."""
        height, width = frame
        like = self.pe_layer.positional_encoding_gaussian_matrix
        size = onto(torch.tensor((width, height), dtype=like.dtype), like.device)
        places = (pixels.to(like.dtype) + 0.5) / size
        return self.pe_layer(places)

    def _embedding(self, kind: int) -> Tensor:
        embedding = self.point_embeddings[kind]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight[0]
