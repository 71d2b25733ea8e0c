"""APSeg, a reconstruction (Auto-Prompt Network, CVPR 2024, arXiv 2406.08372).

Neither the code nor the account of losses and sizes is public. Stated are four things, which are
kept; the rest is ours, and the card says what:

1. SAM is frozen; anchors and prompt generator are trained.
2. Prototypes of the support are fused with those of a pseudo query, found by cycle consistency, and
   features are mapped in closed form, `W P = A` with learnt anchors A (PATNet's transformation).
3. A meta prompt generator makes sparse and dense prompts in the place of SAM's prompt encoder.
4. Training is episodic, on PASCAL VOC.

A map transformed by W has rank 2, so it is nothing that a mask could be decoded from: SAM's decoder
is given the query's own embedding, and transformed maps only inform the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..blocks.anchors import EPS, coordinates, prototype_basis, transformed
from ..blocks.cycle_consistency import matched
from ..blocks.prompt_generator import PromptGenerator
from ..blocks.sam_frames import Frame
from ..core.contract import EpisodeBatch, LossTerm, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Plugin
from .prompted import PromptedSAM

DICE_SMOOTHING = 1.0
VOID = 255


@dataclass(frozen=True, slots=True)
class Prompts:
    """What SAM's decoder is given for B queries: sparse tokens [B, T, C], dense map [B, C, g, g].

    The latter includes that of a missing mask prompt.
    """

    sparse: Tensor
    dense: Tensor


class APSeg(PromptedSAM):
    """A frozen SAM, prompted by what support and query have in common.

    Options: see `apseg.yaml`.

    Raises:
        CompositionError: if the size does not divide into patches.

    State-dict keys: `backbone.*`, `anchors`, `generator.*`.
    """

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        combine: Literal["vote", "prototype_mean", "token_concat"] = "vote",
        alpha: float = 0.5,
        tokens: int = 8,
        input_size: int = 0,
    ):
        super().__init__(backbone, plugins, combine=combine, input_size=input_size)
        self.alpha = alpha
        self.backbone.requires_grad_(requires_grad=False)
        plan = self.backbone.plan
        self.anchors = nn.Parameter(torch.empty(2, plan.channels))
        nn.init.kaiming_normal_(self.anchors, nonlinearity="linear")
        self.generator = PromptGenerator(plan.channels, plan.decoder_heads, tokens)

    # -- domain-agnostic prototypes (DPAT) -------------------------------------------------------

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Cells [C, g, g], their share of background and object [2, g, g], prototypes [2, C]."""
        maps = support.tensors["neck"]
        shares = cell_shares(masks, self.frame(support.size), maps)
        sums = torch.einsum("nchw,nkhw->nkc", maps, shares)
        means = sums / (shares.sum((2, 3))[..., None] + EPS)
        rows = FeatureBatch(support.size, {"neck": maps, "shares": shares, "prototypes": means})
        return [rows[i : i + 1] for i in range(len(rows))]

    def fused(
        self, query: Tensor, support: Tensor, shares: Tensor, own: Tensor, *, is_padded: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Prototypes P [2, C] of one query with S supports, and its prior [1, g, g].

        Args:
            query: embedding [C, g, g].
            support: embeddings [S, C, g, g].
            shares: of background and object in the support's cells [S, 2, g, g].
            own: the supports' prototypes [S, 2, C].
            is_padded: whether some cells may show padding.

        The pseudo query's prototypes are means of the cells that cycle-consistent selection keeps
        for any of the supports; a class that keeps none has the support's. Padding takes no part.
        """
        every = torch.arange(query[0].numel(), device=query.device)
        # To learn which cells these are an accelerator is waited for.
        seen = every[(shares[0].sum(0) > 0.5).flatten()] if is_padded else every
        asked = query.flatten(1)[:, seen].t()
        kept = torch.zeros(2, len(asked), dtype=torch.bool, device=query.device)
        likeness = asked.new_full((len(asked),), -1.0)
        for cells, share in zip(support.flatten(2), shares.flatten(2), strict=True):
            inside = share[1, seen] > 0.5
            found = matched(cells[:, seen].t(), asked, inside)
            kept |= torch.stack((found.kept(~inside), found.kept(inside)))
            likeness = torch.maximum(likeness, found.likeness)
        mean = own.double().mean(0).to(own.dtype)
        count = kept.sum(1, keepdim=True)
        pseudo = torch.where(count > 0, kept.to(asked.dtype) @ asked / count.clamp(min=1), mean)
        prior = query.new_zeros(every.shape)
        low, high = likeness.aminmax()
        prior[seen] = (likeness - low) / (high - low).clamp(min=EPS)
        fused = self.alpha * mean + (1 - self.alpha) * pseudo
        return fused, prior.unflatten(0, query.shape[1:])[None]

    # -- prompts (MPG) and mask ------------------------------------------------------------------

    def prompts(self, query: Tensor, supports: FeatureBatch) -> Prompts:
        """The prompts of B queries [B, C, g, g] with S supports each, an episode's side by side."""
        height, width = supports.size
        per_episode = {
            name: tensor.unflatten(0, (len(query), -1)) for name, tensor in supports.tensors.items()
        }
        support, shares = per_episode["neck"], per_episode["shares"]
        with torch.no_grad():
            found = [
                self.fused(*each, is_padded=height != width)
                for each in zip(query, support, shares, per_episode["prototypes"], strict=True)
            ]
        fused, prior = (torch.stack(parts) for parts in zip(*found, strict=True))
        basis = prototype_basis(fused[:, 0], fused[:, 1])
        fore = fused[:, 1]
        asked = transformed(coordinates(basis, query), self.anchors)
        shown = transformed(coordinates(basis, support.transpose(1, 2).flatten(2, 3)), self.anchors)
        masked = shown.unflatten(2, (-1, shares.shape[-2])) * shares[:, :, 1][:, None]
        grid = (query.shape[-2], query.shape[-1])
        positions = self.backbone.prompt_encoder.dense_positions(grid)
        sparse = self.generator.sparse(fore, *map(_cells, (masked.flatten(2, 3), asked, positions)))
        dense = self.generator.dense(query, asked, fore, prior)
        nothing = self.backbone.prompt_encoder.no_mask_embed.weight[..., None, None]
        return Prompts(sparse, dense + nothing)

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """Mask logits at image size, [B, K or 1, 2, H, W] with background 0."""
        supports = cast("Sequence[FeatureBatch]", states)
        embedding = query.tensors["neck"]
        if self.combine == "prototype_mean":
            given = [self.prompts(embedding, FeatureBatch.cat(supports))]
        else:
            # Shot by shot: what a support gives depends on no other.
            given = [
                self.prompts(embedding, FeatureBatch.cat(supports[shot::shots]))
                for shot in range(shots)
            ]
        if self.combine == "token_concat":
            dense = torch.stack([each.dense for each in given]).double().mean(0)
            sparse = torch.cat([each.sparse for each in given], dim=1)
            given = [Prompts(sparse, dense.to(embedding.dtype))]
        frame = self.frame(query.size)
        logits = torch.cat([frame.restored(self.decoded(embedding, each)) for each in given], dim=1)
        return torch.stack((torch.zeros_like(logits), logits), dim=2)

    def decoded(self, embedding: Tensor, prompts: Prompts) -> Tensor:
        """SAM's one mask for a clear prompt, logits [B, 1, 4g, 4g]."""
        grid = (embedding.shape[-2], embedding.shape[-1])
        positions = self.backbone.prompt_encoder.dense_positions(grid)
        masks, _ = self.backbone.mask_decoder(
            embedding, positions, prompts.sparse, prompts.dense, several=False
        )
        return masks

    # -- training --------------------------------------------------------------------------------

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Binary cross-entropy and Dice of the query's mask, shot by shot; 255 is ignored (ours).

        Gradients go through SAM's decoder to anchors and prompt generator.
        """
        with torch.no_grad():
            query = self.features(batch.query_images)
            support = self.features(batch.support_images.flatten(0, 1))
            states = self.support_states(support, (batch.support_masks == 1).flatten(0, 1))
        logits = self.score(query, states, shots=batch.support_masks.shape[1])[:, :, 1]
        decided = (batch.query_masks != VOID)[:, None].expand_as(logits)
        truth = (batch.query_masks == 1)[:, None].expand_as(logits).to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        area = decided.sum().clamp(min=1)
        return {
            "entropy": LossTerm(1.0, (entropy * decided).sum() / area),
            "dice": LossTerm(1.0, dice(logits, truth, decided), "episodes"),
        }


def dice(logits: Tensor, truth: Tensor, decided: Tensor) -> Tensor:
    """Dice loss, a mean over B x K masks; all three are [B, K, H, W]."""
    probability = logits.sigmoid() * decided
    truth = truth * decided
    common = (probability * truth).sum((2, 3))
    both = probability.sum((2, 3)) + truth.sum((2, 3))
    return (1 - (2 * common + DICE_SMOOTHING) / (both + DICE_SMOOTHING)).mean()


def cell_shares(masks: Tensor, frame: Frame, maps: Tensor) -> Tensor:
    """Share of background and object [N, 2, g, g] in each cell of `maps`; of padding neither.

    Masks [N, H, W] are padded to the frame's square and resized as PATNet resizes them.
    """
    height, width = frame.size
    longest = max(frame.size)
    inside = (masks > 0).float()
    both = F.pad(torch.stack((1 - inside, inside), 1), (0, longest - width, 0, longest - height))
    size = (maps.shape[-2], maps.shape[-1])
    return F.interpolate(both, size, mode="bilinear", align_corners=True).to(maps.dtype)


def _cells(maps: Tensor) -> Tensor:
    """[B, C, ...] -> [B, cells, C]."""
    return maps.flatten(2).transpose(1, 2)
