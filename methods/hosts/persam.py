"""PerSAM (Zhang et al., ICLR 2024): SAM, prompted by where a query looks like the support's object.

The target embedding, the support embedding's mean over the object's cells, is compared with every
cell of the query embedding. The most and the least similar pixel become a positive and a negative
point; the similarity map guides the attention of SAM's first decoder call, the target embedding is
added to its tokens. Two further calls refine the mask. Nothing is trained.

PerSAM-F (`persam[finetune]`) takes the positive point alone and learns, on the support, how to mix
the three masks that SAM gives: two numbers, in 1000 steps.

The order of operations is that of the published `persam.py` and `persam_f.py`, which take one
support. A mask is fed as grey values of 255. More than one support is ours: target embeddings are
averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError
from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..blocks.mask_mixture import equal_mixture, mixing_steps
from ..blocks.sam_calls import Answer, Pixel, PromptedImage, pixel_of, pixels_of
from ..blocks.sam_decoder import Guide
from ..blocks.sam_frames import Frame
from ..blocks.sam_prompt import MASK_SCALE, NEGATIVE, POSITIVE
from ..core.adaptation import copy_of
from ..core.contract import Adaptation, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import AdaptationData
from ..core.plugin_api import Plugin
from .prompted import PromptedSAM

AMPLITUDE = 255
"""Grey value of a mask. SAM's normalisation makes a cell count above 123.675."""

_LEAST = 1e-12


class PerSAM(PromptedSAM):
    """SAM, prompted from the support.

    Options: see `persam.yaml`.

    Raises:
        CompositionError: if `vote` is asked of PerSAM-F, or the size does not divide into patches.
    """

    backbone_prefix = ""

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        combine: Literal["mean", "vote"] = "mean",
        finetune: bool = False,
        steps: int = 1000,
        input_size: int = 0,
    ):
        super().__init__(backbone, plugins, combine=combine, input_size=input_size)
        if finetune and combine == "vote":
            raise CompositionError(
                "persam[finetune] learns one mixture of masks for all supports and cannot vote",
                hint="leave out combine=vote, or finetune",
            )
        self.finetune = finetune
        self.steps = steps
        self.mixture: Tensor | None = None
        """PerSAM-F's weights of the three masks, once they are learnt."""

    @property
    def adaptation(self) -> Adaptation:
        """PerSAM-F learns from the support of each episode."""
        return "episode" if self.finetune else "none"

    # -- match ---------------------------------------------------------------------------------

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Of the object's cells the `mean` and the `peak` (half maximum, half mean), [1, C]."""
        maps = support.tensors["neck"]
        states: list[FeatureBatch] = []
        for embedding, chosen in zip(
            maps, cells(masks, self.frame(support.size), maps), strict=True
        ):
            places = onto(chosen.flatten().nonzero()[:, 0], embedding.device)
            inside = embedding.flatten(1)[:, places]
            mean = inside.mean(1)
            peak = inside.amax(1) / 2 + mean / 2
            states.append(FeatureBatch(support.size, {"mean": mean[None], "peak": peak[None]}))
        return states

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """The last call's best logits at image size, [B, K or 1, 2, H, W] with background 0."""
        kind = "peak" if self.finetune else "mean"
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        targets = rows.tensors[kind].unflatten(0, (-1, shots))
        if not self.votes:
            targets = averaged(targets)
        logits = torch.stack(
            [
                torch.stack([self.segmented(image, target) for target in several])
                for image, several in zip(self._prompted(query), targets, strict=True)
            ]
        )
        return torch.stack((torch.zeros_like(logits), logits), dim=2)

    def segmented(self, image: PromptedImage, target: Tensor) -> Tensor:
        """Logits [H, W] of the object that looks like the target embedding [C]."""
        last = self.answers(image, target)[-1]
        return last.of_best(last.high)

    def answers(self, image: PromptedImage, target: Tensor) -> list[Answer]:
        """Those of the three decoder calls."""
        similar = similarity(image, target)
        if self.finetune:
            return self._mixed_answers(image, similar)
        points = list(pixels_of(similar))
        labels = [POSITIVE, NEGATIVE]
        guide = Guide(attention_map(similar, image.embedding), target[None, None])
        first = image.ask(points, labels, several=False, guide=guide)
        second = image.ask(points, labels, low=first.low[0])
        return [first, second, refined(image, points, labels, second)]

    def _mixed_answers(self, image: PromptedImage, similar: Tensor) -> list[Answer]:
        """PerSAM-F: the learnt mixture of the first call's masks prompts the second call."""
        points, labels = [pixel_of(similar)], [POSITIVE]
        first = image.ask(points, labels)
        mixture = equal_mixture(first.low) if self.mixture is None else self.mixture
        low, high = (torch.einsum("m,mhw->hw", mixture, maps) for maps in (first.low, first.high))
        second = image.ask(points, labels, low=low, box_of=high > 0)
        return [first, second, refined(image, points, labels, second)]

    def _prompted(self, rows: FeatureBatch) -> list[PromptedImage]:
        frame, sam = self.frame(rows.size), self.backbone
        return [
            PromptedImage(sam.prompt_encoder, sam.mask_decoder, embedding, frame)
            for embedding in rows.tensors["neck"]
        ]

    # -- PerSAM-F ------------------------------------------------------------------------------

    def adapted_to(self, given: AdaptationData) -> Self:
        """A copy that learnt its mixture of masks; nothing is drawn."""
        support, masks, *_ = given
        with torch.inference_mode(mode=False), torch.no_grad():
            logits = self.support_logits(support, masks)
            copied = copy_of(self)
            *_, last = mixing_steps(logits, masks.to(logits.dtype), self.steps)
            copied.mixture = last.mixture
        return copied

    def support_logits(self, support: FeatureBatch, masks: Tensor) -> Tensor:
        """Three logits of each of K supports, prompted by itself [K, 3, H, W].

        They do not depend on what is learnt, so one call of the decoder serves all steps.
        """
        states = cast("Sequence[FeatureBatch]", self.encode_support(support, masks))
        target = averaged(FeatureBatch.cat(states).tensors["peak"][None])[0, 0]
        answers = [
            image.ask([pixel_of(similarity(image, target))], [POSITIVE])
            for image in self._prompted(support)
        ]
        return torch.stack([answer.high for answer in answers])


def cells(masks: Tensor, frame: Frame, maps: Tensor, *, amplitude: int = AMPLITUDE) -> Tensor:
    """Cells of the maps [N, C, g, g] in which the masks [N, H, W] count, bool [N, g, g].

    They are on the host, which must know how many there are. A mask of 0 and 1 goes the way of an
    image, normalisation and padding included, as published. A mask without any cell has the one in
    which it is strongest (ours); never one of the padding, whose 0 is above what black becomes.
    """
    grey = (masks * amplitude).to(torch.uint8)
    seen = frame.input_of(grey[:, None])
    size = (maps.shape[-2], maps.shape[-1])
    small = F.interpolate(seen, size, mode="bilinear", align_corners=False)[:, 0].cpu()
    inside = small > 0
    rows, columns = (
        (torch.arange(count) + 0.5) * frame.side < length * count
        for count, length in zip(size, frame.inner, strict=True)
    )
    small = small.where(rows[:, None] & columns, -torch.inf)
    for own, strength in zip(inside, small, strict=True):
        if not bool(own.any()):
            x, y = pixel_of(strength)
            own[y, x] = True
    return inside


def averaged(targets: Tensor) -> Tensor:
    """The mean over shots of [B, K, C] as [B, 1, C]; in float64, so that no order counts."""
    return targets.double().mean(1, keepdim=True).to(targets.dtype)


def similarity(image: PromptedImage, target: Tensor) -> Tensor:
    """Cosine of the target embedding [C] to the image's cells, at image size [H, W]."""
    unit = target / target.norm().clamp(min=_LEAST)
    cosine = torch.einsum(
        "c,chw->hw",
        unit,
        image.embedding / image.embedding.norm(dim=0, keepdim=True).clamp(min=_LEAST),
    )
    enlarged = F.interpolate(
        cosine[None, None], scale_factor=MASK_SCALE, mode="bilinear", align_corners=False
    )
    return image.frame.restored(enlarged)[0, 0]


def attention_map(similar: Tensor, embedding: Tensor) -> Tensor:
    """The guide of the decoder's attention, [1, g*g], of a similarity map [H, W].

    The map of a padded image is stretched over the padding, as published.
    """
    standard = (similar - similar.mean()) / similar.std().clamp(min=_LEAST)
    size = (embedding.shape[-2], embedding.shape[-1])
    small = F.interpolate(standard[None, None], size, mode="bilinear", align_corners=False)
    return small.sigmoid().flatten(1)


def refined(
    image: PromptedImage, points: Sequence[Pixel], labels: Sequence[int], before: Answer
) -> Answer:
    """The last call: the best mask of the one before, as logits and as a box."""
    box_of = before.of_best(before.high) > 0
    return image.ask(points, labels, low=before.of_best(before.low), box_of=box_of)
