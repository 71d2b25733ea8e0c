"""HERA: hierarchical layer selection on the support (CVPR 2026), from its published code.

The published script stops at its first episode (it calls two methods that do not exist). This
follows what its own functions compute when they are called as it means to; card `hera.yaml` lists
where that is not enough. No figure of the paper was made with this code.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError
from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..backbones.pulled import attended
from ..backbones.transformer import Transformer
from ..blocks.layer_choice import (
    LayerChoice,
    choose_layers,
    first_copies,
    leave_one_out,
    mixed,
    smoothed_iou,
)
from ..blocks.prototypes import fore_and_background
from ..blocks.residual_logits import calibrated
from ..blocks.self_support import local_prototypes
from ..blocks.subset_fitting import RATE, FusionMLP, fit
from ..blocks.voting import upsampled
from ..controls.prototype import Prototype
from ..core.adaptation import copy_of, ordinary
from ..core.contract import Adaptation, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.leave_one_out import support_views
from ..core.method import AdaptationData
from ..core.plugin_api import Plugin
from .ssp import self_supported_scores

NORM_EPS = 1e-6
"""Added to the norms in SSP's attention to confident positions."""
WINNING_VOTES = 2
"""Supports whose IoU PAC must not lower to be used, of two or more; of one support, one."""


class HERA(Prototype):
    """SSP's matching on the layer, or mix of layers, that predicts the supports best.

    An episode's copy chooses among the second half of the blocks (HLS), pulls the attention of the
    last block it reads to each patch's neighbourhood (PGR), fits that block's MLP, or a small MLP
    behind a mix, to the support, and corrects the query's scores (PAC). Before an episode it reads
    the last block.

    Options: see `hera.yaml`.

    State-dict keys: `backbone.` and the backbone's.
    """

    offers = frozenset()
    backbone_prefix = "backbone."
    backbone: Transformer

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        pgr: bool = True,
        pac: str = "always",
        fit: bool = True,
    ):
        if not isinstance(backbone, Transformer) or len(backbone.blocks) < 2:
            raise CompositionError("hera reads the blocks of a transformer with at least two")
        super().__init__(backbone, plugins)
        self.pgr = pgr
        self.pac = pac
        self.fits = fit
        depth = len(backbone.blocks)
        self.candidates = range(depth // 2, depth)
        self.choice: LayerChoice | None = None
        self.mlp: nn.Module | None = None
        """What learns: the MLP in the place of the chosen block's, or the one behind a mix."""
        self.refining = pac == "always"

    @property
    def adaptation(self) -> Adaptation:
        """It chooses, and learns, from the support."""
        return "episode"

    # -- encode: once per image, whatever is chosen later ----------------------------------------

    def features(self, images: Tensor) -> FeatureBatch:
        """The images, and all tokens [N, T, C] in front of and behind every candidate block."""
        kept = [self.candidates[0] - 1, *self.candidates]
        found = self.backbone.read(images, blocks=kept)
        tokens = {f"tokens.{block}": found.tokens[block] for block in kept}
        size = (images.shape[-2], images.shape[-1])
        grid = images.new_empty((len(images), *found.size, 0))  # only its shape says something
        return FeatureBatch(size, {"image": images, "grid": grid, **tokens})

    def plain(self, rows: FeatureBatch, block: int) -> Tensor:
        """Unit features [N, C, h, w] behind `block`, attention as it is, no final normalisation."""
        return self._unit(rows.tensors[f"tokens.{block}"], _grid(rows))

    def _unit(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return F.normalize(self.backbone.placed(tokens, grid), dim=1)

    # -- what is read after the choice -----------------------------------------------------------

    def read(self, rows: FeatureBatch) -> tuple[Tensor, Tensor]:
        """The features [N, C, h, w] that are matched, and how patches attend [N, P, P]."""
        again, graph = self.matched_maps(rows)
        return again(), graph

    def matched_maps(self, rows: FeatureBatch) -> tuple[Callable[[], Tensor], Tensor]:
        """As `read`, the features at the present parameters of what learns, again and again.

        What the MLP sees does not depend on what is learnt, and is computed once.
        """
        layers = self.choice.layers if self.choice is not None else (len(self.candidates) - 1,)
        last, grid = self.candidates[layers[-1]], _grid(rows)
        before = rows.tensors[f"tokens.{last - 1}"]
        middle, graph = attended(self.backbone, last, before, grid, pull=self.pgr)
        block = self.backbone.block(last)
        if len(layers) == 1:
            inside = block.norm2(middle)

            def single() -> Tensor:
                mlp = block.mlp if self.mlp is None else self.mlp
                return self._unit(middle + block.ls2(mlp(inside)), grid)

            return single, graph
        assert self.choice is not None
        maps = [self.plain(rows, self.candidates[layer]) for layer in layers[:-1]]
        maps.append(self._unit(middle + block.mixed(middle), grid))
        # Each map is divided by its root mean square, which is 1/sqrt(C) for unit features: the
        # correction is added to the mix and depends on its size.
        mix = math.sqrt(maps[0].shape[1]) * mixed(maps, self.choice.weights)
        return (lambda: mix if self.mlp is None else self.mlp(mix)), graph

    # -- match -----------------------------------------------------------------------------------

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Foreground and background prototype, [1, C] each."""
        fore, back = fore_and_background(self.read(support)[0], masks)
        rows = FeatureBatch(support.size, {"fore": fore, "back": back})
        return [rows[i : i + 1] for i in range(len(rows))]

    @property
    def shows_rounding(self) -> bool:
        """PAC enlarges differences of scores."""
        return True

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, h, w], at image size where PAC acts."""
        fore, back = self.averaged(states, shots=shots)
        maps, graph = self.read(query)
        logits = segmented(maps, fore, back)
        if self.refining:
            full = upsampled(logits, query.size)
            logits = calibrated(full, maps, query.tensors["image"], graph)
        return logits[:, None]

    # -- adapt -----------------------------------------------------------------------------------

    def adapted_to(self, given: AdaptationData) -> Self:
        """An episode's copy that has chosen its layers and fitted its MLP."""
        with torch.inference_mode(mode=False):
            support, masks = ordinary(given.support), given.masks.clone()
            copied = copy_of(self)
            shots = len(support)
            with torch.no_grad():
                support, masks = support_views(copied, support, masks)
                copied.choice = copied.chosen(support, masks)
            if self.fits:
                with torch.enable_grad():
                    copied.learn(support, masks, given.rng)
            if self.pac == "auto":
                with torch.no_grad():
                    votes = copied.votes_for_pac(support, masks, shots)
                    copied.refining = votes >= min(WINNING_VOTES, shots)
            return copied

    def chosen(self, support: FeatureBatch, masks: Tensor) -> LayerChoice:
        """HLS on plain features of two or more views."""
        maps = [self.plain(support, block) for block in self.candidates]
        copies = first_copies(support.tensors["image"], masks)
        return choose_layers(
            maps, lambda each: self.judge(each, masks, copies), mixable=range(len(maps))
        )

    def judge(self, maps: Tensor, masks: Tensor, copies: Sequence[int]) -> Tensor:
        """IoU [N] of each of N images predicted from the others by features [N, C, h, w]."""
        size = (masks.shape[-2], masks.shape[-1])
        fore, back = fore_and_background(maps, masks)

        def segment(asked: int, others: Sequence[int]) -> Tensor:
            shown = onto(torch.tensor(others), fore.device)
            logits = segmented(
                maps[asked : asked + 1],
                fore[shown].mean(0, keepdim=True),
                back[shown].mean(0, keepdim=True),
            )
            return self.decide(logits[:, None], size)

        return leave_one_out(segment, masks, copies)

    def learn(
        self, support: FeatureBatch, masks: Tensor, rng: torch.Generator | None
    ) -> list[list[float]]:
        """Fits a copy of the chosen block's MLP, or a new MLP behind a mix, to the views.

        Returns:
            The cross entropies of each step; see `subset_fitting.fit`.
        """
        assert self.choice is not None
        if self.choice.is_mix:
            if self.mlp is None:
                device = masks.device
                draws = torch.Generator(device).manual_seed(0) if rng is None else rng
                self.mlp = FusionMLP(self.backbone.width, draws).to(device)
            assert isinstance(self.mlp, FusionMLP)
            learned = self.mlp.learned
        else:
            self.mlp = copy.deepcopy(self.backbone.block(self.candidates[self.choice.best]).mlp)
            learned = list(self.mlp.parameters())
        for parameter in self.mlp.parameters():
            parameter.requires_grad = any(parameter is each for each in learned)
        with torch.no_grad():
            again, _ = self.matched_maps(support)
        losses = fit(again, masks, learned, fore_and_background, segmented, rate=RATE)
        for parameter in learned:
            parameter.requires_grad = False
            parameter.grad = None
        return losses

    def votes_for_pac(self, support: FeatureBatch, masks: Tensor, shots: int) -> int:
        """How many real supports, predicted from the other views, PAC does not make worse."""
        before, after = self.ious_around_pac(support, masks, shots)
        return int((after >= before).sum())

    def ious_around_pac(
        self, support: FeatureBatch, masks: Tensor, shots: int
    ) -> tuple[Tensor, Tensor]:
        """IoU [K] of each real support predicted from the other views, without and with PAC."""
        maps, graph = self.read(support)
        fore, back = fore_and_background(maps, masks)
        images = support.tensors["image"]
        found: list[Tensor] = []
        for asked in range(shots):
            row = slice(asked, asked + 1)
            shown = [other for other in range(len(masks)) if other != asked]
            logits = segmented(
                maps[row], fore[shown].mean(0, keepdim=True), back[shown].mean(0, keepdim=True)
            )
            full = upsampled(logits, support.size)
            better = calibrated(full, maps[row], images[row], graph[row])
            decided = [self.decide(each[:, None], support.size) for each in (full, better)]
            found.append(torch.cat([smoothed_iou(each, masks[row]) for each in decided]))
        before, after = torch.stack(found, dim=1)
        return before, after


def segmented(features: Tensor, fore: Tensor, back: Tensor) -> Tensor:
    """Logits [B, 2, h, w]: one round of SSP, of features [B, C, h, w] and prototypes [B, C]."""
    fore, back, rows = fore[..., None, None], back[..., None, None], features.flatten(2)

    def attention(chosen: Tensor) -> Tensor:
        return local_prototypes(rows, chosen, eps=NORM_EPS).reshape(features.shape)

    found = self_supported_scores(features, fore, back, rounds=1, attention=attention)
    return found.final


def _grid(rows: FeatureBatch) -> tuple[int, int]:
    _, height, width, _ = rows.tensors["grid"].shape
    return height, width
