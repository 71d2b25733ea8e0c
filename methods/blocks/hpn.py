"""HSNet's learner: the pyramid that squeezes hypercorrelations into a score map."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

from .conv4d import Squeeze, upsampled_query


class HPNLearner(nn.Module):
    """Squeezes three hypercorrelations, mixes them coarse to fine, decodes logits.

    Args:
        taps: number of taps of the coarse, middle and fine stage (HSNet `inch`, [3, 6, 4] for
            ResNet-50).
        widths: channels of the three convolutions of a block, (16, 64, 128) in the paper.

    State-dict keys are HSNet's (`model/learner.py`): `encoder_layer{4,3,2,4to3,3to2}`,
    `decoder1`, `decoder2`.
    """

    def __init__(self, taps: Sequence[int], widths: tuple[int, int, int] = (16, 64, 128)):
        super().__init__()
        coarse, middle, fine = taps
        first, second, third = widths
        self.encoder_layer4 = Squeeze((coarse, first, second, third), (3, 3, 3), (2, 2, 2))
        self.encoder_layer3 = Squeeze((middle, first, second, third), (5, 3, 3), (4, 2, 2))
        self.encoder_layer2 = Squeeze((fine, first, second, third), (5, 5, 3), (4, 4, 2))
        self.encoder_layer4to3 = Squeeze((third, third, third, third), (3, 3, 3), (1, 1, 1))
        self.encoder_layer3to2 = Squeeze((third, third, third, third), (3, 3, 3), (1, 1, 1))
        self.decoder1 = nn.Sequential(
            nn.Conv2d(third, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, second, 3, padding=1),
            nn.ReLU(),
        )
        self.decoder2 = nn.Sequential(
            nn.Conv2d(second, second, 3, padding=1), nn.ReLU(), nn.Conv2d(second, 2, 3, padding=1)
        )

    def forward(self, correlations: Sequence[Tensor]) -> Tensor:
        """Coarse, middle, fine [B, taps, hq, wq, hs, ws] -> logits [B, 2, 2h, 2w].

        h, w are the fine stage's query map.

        Raises:
            CompositionError: for image sizes at which the three squeezed support sizes differ.
        """
        return self.decode(self.mix(*self.squeeze(correlations)))

    def squeeze(self, correlations: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Each stage's correlation squeezed to [B, 128, hq, wq, 1 or 2, 1 or 2]."""
        squeezed = [block(part) for block, part in zip(self.blocks, correlations, strict=True)]
        check_support_sizes([tuple(part.shape[-2:]) for part in squeezed])
        return squeezed[0], squeezed[1], squeezed[2]

    @property
    def blocks(self) -> tuple[Squeeze, Squeeze, Squeeze]:
        """What squeezes the coarse, middle and fine correlation."""
        return self.encoder_layer4, self.encoder_layer3, self.encoder_layer2

    def mix(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Coarse to fine: [B, 128, h, w], the mean over what is left of the support."""
        mixed = self.encoder_layer4to3(
            upsampled_query(coarse, (middle.shape[2], middle.shape[3])) + middle
        )
        mixed = self.encoder_layer3to2(
            upsampled_query(mixed, (fine.shape[2], fine.shape[3])) + fine
        )
        return mixed.mean(dim=(-2, -1))

    def decode(self, encoded: Tensor) -> Tensor:
        """[B, 128, h, w] -> logits [B, 2, 2h, 2w]."""
        return self.decoder2(doubled(self.decoder1(encoded)))


def doubled(maps: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, C, 2h, 2w], bilinear, aligned."""
    height, width = maps.shape[-2:]
    return F.interpolate(maps, (height * 2, width * 2), mode="bilinear", align_corners=True)


def check_support_sizes(sides: Sequence[tuple[int, ...]]) -> None:
    """Refuses stages that differ in what is left of the support, (hs, ws).

    Raises:
        CompositionError: naming image sizes that fit.
    """
    sizes = set(sides)
    if len(sizes) != 1:
        raise CompositionError(
            f"the hypercorrelation pyramid ends in different support sizes {sorted(sizes)} "
            "at this image size",
            hint="use 128, 200, 256, 400 or 473 pixels",
        )
