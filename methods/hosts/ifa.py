"""IFA: Cross-Domain Few-Shot Segmentation via Iterative Support-Query Correspondence Mining.

Nie et al., CVPR 2024.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..blocks.augment import view
from ..blocks.prototypes import cosine_scores
from ..blocks.self_support import self_support
from ..core.contract import Adaptation, LossTerm
from ..core.feature_batch import FeatureBatch
from ..core.leave_one_out import choose_on
from ..core.method import AdaptationData
from ..core.plugin_api import Place, Plugin
from .ssp import (
    SSP,
    SSPScores,
    map_terms,
    mean_prototypes,
    pixel_error,
    self_supported_prototypes,
    self_supported_scores,
)

IMAGE = "image"
SUPPORT_WEIGHT = 0.4
ITERATION_WEIGHT = 0.1
PASSES = 3
FROZEN_STAGES = 2
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of fine-tuning (`ifa.py`)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One bi-directional prediction."""

    query: SSPScores  # the support's prototypes applied to the query, and the query's own
    support: Tensor  # the query's prototypes applied back to each support, [B*K, 2, h, w]
    fore: Tensor  # the foreground prototype for the next pass, [B, C, 1, 1]
    back: Tensor  # its background prototype, one per position, [B, C, h, w]


class IFA(SSP):
    """SSP at inference; trained, and adapted at test, by predictions in both directions.

    The support's prototypes segment the query, then the query's prototypes segment the supports,
    and the prototypes found there begin the next of three passes. `adapt` fine-tunes the later
    stages on the episode's own supports, whose augmented views take the place of the query; every
    episode begins with the same weights.

    Options: see `ifa.yaml`.

    State-dict keys: as SSP (IFA `model/IFA_matching.py`).
    """

    offers = frozenset({Place.STAGE, Place.SCORE})

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        steps: int = 20,
        views: int = 1,
        lr: float = 5e-4,
    ):
        super().__init__(backbone, plugins, refine=True)
        self.steps = steps
        self.views = views
        self.lr = lr

    @property
    def adaptation(self) -> Adaptation:
        """From the episode's support, unless there are no steps."""
        return "episode" if self.steps else super().adaptation

    @property
    def adapts_encoder(self) -> bool:
        """Every update changes the later stages."""
        return self.steps > 0

    def features(self, images: Tensor) -> FeatureBatch:
        """The semantic stage's last tap; and the image, which adaptation learns from."""
        rows = super().features(images)
        return FeatureBatch(rows.size, {**rows.tensors, IMAGE: images})

    # Each class says it of itself (`core/published_work.py`).
    published_work = SSP.published_work

    # -- prediction in both directions ---------------------------------------------------------

    def predicted_both_ways(
        self, query: Tensor, support: Tensor, fore: Tensor, back: Tensor, *, rounds: int
    ) -> Pass:
        """One pass (`iter_BFP`) of features [B, C, h, w] and [B*K, C, h, w].

        An episode's K supports stand side by side. Prototypes are [B, C, 1, 1], that of the
        background may be one per position [B, C, h, w]; `rounds` of self-support on the query are 2
        with refinement.
        """
        there = self_supported_scores(query, fore, back, rounds=rounds)
        shots = len(support) // len(query)

        def each(prototype: Tensor) -> Tensor:
            return prototype.repeat_interleave(shots, 0)

        own = self_support(support, cosine_scores(support, each(there.fore), each(there.back)))
        found, around = self_supported_prototypes(each(fore), own)
        return Pass(
            there,
            cosine_scores(support, found, around),
            found.unflatten(0, (-1, shots)).mean(1),
            around.unflatten(0, (-1, shots)).mean(1),
        )

    def passes(
        self, query: Tensor, support: Tensor, support_masks: Tensor, *, count: int = PASSES
    ) -> list[Pass]:
        """`count` passes, each beginning with the prototypes that the one before ended with.

        Features as in `predicted_both_ways`, masks [B, K, H, W] of 0, 1 and 255. The first pass
        refines, the others do not.
        """
        fore, back = (p[..., None, None] for p in mean_prototypes(support, support_masks))
        done: list[Pass] = []
        for number in range(count):
            rounds = 2 if number == 0 else 1
            done.append(self.predicted_both_ways(query, support, fore, back, rounds=rounds))
            fore, back = done[-1].fore, done[-1].back
        return done

    def matching_terms(
        self, query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor
    ) -> dict[str, LossTerm]:
        """SSP's terms and `0.4 CE(supports found from the query)` (`train.py`)."""
        return self.pass_terms(query, support, query_masks, support_masks, count=1)

    def tuning_terms(
        self, query: Tensor, support: Tensor, query_masks: Tensor, support_masks: Tensor
    ) -> dict[str, LossTerm]:
        """The source terms, and 0.1 of each map of the second and third pass (`ifa.py`)."""
        return self.pass_terms(query, support, query_masks, support_masks, count=PASSES)

    def pass_terms(
        self,
        query: Tensor,
        support: Tensor,
        query_masks: Tensor,
        support_masks: Tensor,
        *,
        count: int,
    ) -> dict[str, LossTerm]:
        """The terms of `count` passes; arguments as in `SSP.matching_terms`."""
        first, *later = self.passes(query, support, support_masks, count=count)
        masks = support_masks.flatten(0, 1)
        terms = map_terms(first.query, query, support, query_masks, support_masks)
        terms["support_1"] = LossTerm(SUPPORT_WEIGHT, pixel_error(first.support, masks), "supports")
        for number, one in enumerate(later, start=2):
            error = pixel_error(one.query.first, query_masks)
            terms[f"query_{number}"] = LossTerm(ITERATION_WEIGHT, error)
            error = pixel_error(one.support, masks)
            terms[f"support_{number}"] = LossTerm(ITERATION_WEIGHT, error, "supports")
        return terms

    # -- adaptation ----------------------------------------------------------------------------

    def adapted_to(self, given: AdaptationData) -> Self:
        """A copy whose later stages were tuned on the episode's support and nothing else.

        Raises:
            ValueError: without a generator.
        """
        if self.steps == 0:
            return super().adapted_to(given)
        support, masks, rng, _ = given
        if rng is None:
            raise ValueError("IFA draws views of the support: give adapt a generator")
        ready = copy.deepcopy(self)
        with torch.enable_grad():
            ready.tune(support.tensors[IMAGE], masks, rng)
        with torch.no_grad():
            choose_on(ready, ready.encode(support.tensors[IMAGE]), masks)
        return ready

    def tune(self, images: Tensor, masks: Tensor, rng: torch.Generator) -> None:
        """`steps` updates of this network on K images [K, 3, H, W] and masks [K, H, W] of 0 and 1.

        The first stages and every normalisation are left alone.
        """
        shots = len(images)
        optimizer = torch.optim.SGD(
            self._tunable(), lr=self.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        for _ in range(self.steps):
            chosen = torch.randint(shots, (self.views,), generator=rng).tolist()
            views = [view(images[i], masks[i], rng) for i in chosen]
            shown = torch.cat((images, torch.stack([image for image, _ in views])))
            features = self.walked(shown, last_taps=[self.stage]).tensors[self.stage]
            support = features[:shots].repeat(self.views, 1, 1, 1)
            query_masks = torch.stack([mask for _, mask in views])
            terms = self.tuning_terms(
                features[shots:], support, query_masks, masks.expand(self.views, -1, -1, -1)
            )
            loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        self.requires_grad_(requires_grad=False)

    def _tunable(self) -> list[nn.Parameter]:
        """The convolutions behind the first two stages, alone asking for a gradient."""
        self.requires_grad_(requires_grad=False)
        for index in range(FROZEN_STAGES, len(self.backbone.stages)):
            for part in self.backbone.stage_modules(index):
                for module in part.modules():
                    if isinstance(module, nn.Conv2d):
                        module.requires_grad_(requires_grad=True)
        return [p for p in self.parameters() if p.requires_grad]
