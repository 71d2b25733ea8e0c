"""FPTrans: Feature-Proxy Transformer for Few-Shot Segmentation (Zhang et al., NeurIPS 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from cdfss_bench.canonical import seed_of
from cdfss_bench.errors import CompositionError, UserError
from cdfss_bench.transfer import onto

from ..backbones.base import Backbone
from ..backbones.key_mapping import publish_as
from ..backbones.vit import UNUSED, ViT
from ..blocks.boundary import boundary_weights, weighted_cross_entropy
from ..blocks.pairs import pairwise_loss
from ..blocks.prototypes import masked_mean, nearest_masks
from ..blocks.proxies import Supports, proxy_scores
from ..blocks.purifier import Purifier
from ..blocks.regions import REGIONS, background, drawn_first, region_means, regions
from ..blocks.voting import upsampled
from ..core.contract import EpisodeBatch, LossTerm, SupportState
from ..core.feature_batch import FeatureBatch
from ..core.method import Method
from ..core.plugin_api import Place, Plugin, Role, ScorePlugin

TOKENS_PER_GROUP = 12
PAIR_WEIGHT = 0.02
_TOKEN_EPS, _PROXY_EPS = 1e-6, 1e-5


@dataclass(frozen=True, slots=True)
class Seen:
    """What the prompted encoder made of B episodes of S supports.

    Normalised maps [B, C, h, w] and [B, S, C, h, w]; prompts as they left the last block, [B, n,
    C], foreground first.
    """

    query: Tensor
    support: Tensor
    prompts: Tensor


class FPTrans(Method):
    """Query and support are seen together, by a transformer prompted with the support's classes.

    A frozen copy of the pretrained encoder turns each support into one foreground and five
    background tokens; added to learned prompts they travel with the patches of query and supports
    through the encoder. After every block the special tokens and the prompts are averaged over the
    images of the episode. Query positions are then compared with proxies, means of purified
    support features: one of the foreground, five per support of the background, of which the
    nearest counts.

    As published two samplers draw, and what they give depends on how often they were asked. Here
    the prompts' groups are drawn for each episode from its supports' contents, the first centre of
    a background from its own image and mask; `groups` and `firsts` take draws from elsewhere.

    Options: see `fptrans.yaml`.

    State-dict keys: `encoder.backbone.*` with `prompt_tokens`, `original_encoder.*`,
    `purifier.layers.*` (FPTrans `networks/FPTrans.py`).
    """

    offers = frozenset({Place.STAGE, Place.SCORE})
    backbone_prefix = "encoder.backbone."
    unused_keys = (
        *(f"encoder.backbone.{key}" for key in UNUSED),
        *(f"original_encoder.{key}" for key in UNUSED),
    )

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        classes: int = 20,
        shots: int = 1,
        hidden: int = 256,
        dropout: float = 0.1,
        boundary: bool = True,
    ):
        super().__init__(backbone, plugins)
        trunk = _transformer(backbone)
        for plugin in self.score_plugins:
            _check_stage(plugin, trunk)
        self.shots = shots
        self.boundary = boundary
        bank = classes * (1 + REGIONS * shots)
        self.prompt_tokens = nn.Parameter(torch.empty(bank, TOKENS_PER_GROUP, trunk.width))
        nn.init.normal_(self.prompt_tokens, std=0.02)
        self.original_encoder = copy.deepcopy(trunk).requires_grad_(requires_grad=False)
        self.purifier = Purifier(trunk.width, hidden=hidden, dropout=dropout)
        publish_as(self, "prompt_tokens", "encoder.backbone.prompt_tokens")

    @property
    def trunk(self) -> ViT:
        """The prompted encoder."""
        return cast("ViT", self.backbone)

    def on_pretrained(self) -> None:
        """Both encoders begin with the pretrained values; the copy keeps them."""
        self.original_encoder.load_state_dict(self.backbone.state_dict())

    # -- inference ---------------------------------------------------------------------------

    def features(self, images: Tensor) -> FeatureBatch:
        """The images: what is seen of one depends on the episode."""
        outputs = self.walked(images).tensors if self.score_plugins else {}
        return FeatureBatch((images.shape[-2], images.shape[-1]), {"image": images, **outputs})

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """Image, tokens, object and regions of each support, and a number of its contents."""
        images = support.tensors["image"]
        # What is drawn, and the regions, are decided on the host, which waits for the device once.
        contents = _contents(images, masks)
        seeds = [seed_of(row.numpy().tobytes()) for row in contents]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        masks = contents[:, -masks[0].numel() :].unflatten(1, masks.shape[1:])
        known = self.described(images, masks, lambda row, back: drawn_first(back, generators[row]))
        tensors = {
            "image": images,
            "fore": known.fore,
            "back": known.back,
            "objects": known.objects,
            "regions": known.regions,
            "seed": torch.tensor(seeds),
        }
        rows = FeatureBatch(support.size, tensors)
        return [rows[i : i + 1] for i in range(len(rows))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """One map per episode, [B, 1, 2, 2h, 2w].

        With as many supports as it was trained for all are seen together, as published. Otherwise
        each is seen alone with the query, and the logits are averaged.
        """
        rows = FeatureBatch.cat(cast("Sequence[FeatureBatch]", states))
        together = shots if shots == self.shots else 1
        known = Supports(
            **{name: rows.tensors[name] for name in ("fore", "back", "objects", "regions")}
        ).per_episode(together)
        support = rows.tensors["image"].unflatten(0, (-1, together))
        seeds = rows.tensors["seed"].unflatten(0, (-1, together)).tolist()
        groups = torch.stack([self.groups(each) for each in seeds])
        images = query.tensors["image"].repeat_interleave(shots // together, 0)
        seen = self.seen(images, support, known, groups)
        logits = self.compared(self.purifier(seen.query), self.purified(seen.support), known)
        return logits.unflatten(0, (-1, shots // together)).mean(1)[:, None]

    def groups(self, seeds: Sequence[int]) -> Tensor:
        """Prompt groups [1 + 5S] of an episode of S supports with these numbers, no group twice.

        The first is the foreground's, then come five per support. Which they are depends on the
        set of supports; which five are a support's does not depend on its place among them.
        """
        order = sorted(range(len(seeds)), key=lambda place: seeds[place])
        text = "/".join(str(seeds[place]) for place in order).encode()
        drawn = self.drawn_groups(len(seeds), _generator(text))
        rank = torch.tensor(order).argsort()
        return torch.cat((drawn[:1], drawn[1:].unflatten(0, (-1, REGIONS))[rank].flatten()))

    def drawn_groups(self, shots: int, rng: torch.Generator, *, episodes: int = 1) -> Tensor:
        """Prompt groups [episodes * (1 + 5S)] of the bank without replacement.

        Raises:
            UserError: if the bank holds fewer.
        """
        wanted, bank = episodes * (1 + REGIONS * shots), len(self.prompt_tokens)
        if wanted > bank:
            raise UserError(
                f"{episodes} episodes of {shots} supports take {wanted} groups of prompts, "
                f"FPTrans has {bank} here",
                hint="use smaller batches (--batch), or more 'classes' in its brackets",
            )
        return torch.randperm(bank, generator=rng)[:wanted]

    # -- its parts ---------------------------------------------------------------------------

    def described(
        self, images: Tensor, masks: Tensor, first: Callable[[int, Tensor], int]
    ) -> Supports:
        """Tokens, object and regions of supports, each on its own: [N, ...], without S.

        Args:
            images: [N, 3, H, W].
            masks: [N, H, W] of 0, 1, and in training 255; on the host.
            first: (row, background [h, w]) -> number of the first centre; asked for every row at
                the encoder's resolution, then for every row at the purified one.
        """
        with torch.no_grad():
            maps = next(iter(reversed(list(self.original_encoder.walk(images))))).output
        coarse = nearest_masks(masks, maps)
        fine = nearest_masks(masks, maps[..., :1, :1].expand(-1, -1, *_doubled(maps)))
        object_cells, objects, cells, regions = (
            onto(each, maps.device)
            for each in (
                coarse == 1,
                fine == 1,
                self._regions(coarse, first),
                self._regions(fine, first),
            )
        )
        return Supports(
            fore=masked_mean(maps, object_cells, eps=_TOKEN_EPS),
            back=region_means(maps, cells),
            objects=objects,
            regions=regions,
        )

    def seen(
        self,
        query: Tensor,
        support: Tensor,
        known: Supports,
        groups: Tensor,
        rng: torch.Generator | None = None,
    ) -> Seen:
        """The prompted encoder's view of B episodes.

        Args:
            query: images [B, 3, H, W].
            support: images [B, S, 3, H, W].
            known: of the supports.
            groups: of the prompt bank, [B, 1 + 5S], the foreground's first.
            rng: for stage plug-ins, in training.
        """
        trunk, images = self.trunk, 1 + support.shape[1]
        maps = trunk.embedded(torch.cat((query[:, None], support), 1).flatten(0, 1))
        size = (maps.shape[-2], maps.shape[-1])
        tokens = trunk.tokens(self._edited(0, maps, images, rng))
        patches = slice(trunk.prefix, tokens.shape[1])
        prompts = self._prompts(known, groups)
        tokens = torch.cat((tokens, prompts.repeat_interleave(images, 0)), dim=1)
        for index, block in enumerate(trunk.blocks, start=1):
            tokens = block(tokens).unflatten(0, (-1, images))
            own = tokens[:, :, patches]
            shared = tokens.mean(1, keepdim=True).expand_as(tokens)
            tokens = torch.cat(
                (shared[:, :, : patches.start], own, shared[:, :, patches.stop :]), dim=2
            ).flatten(0, 1)
            if self.stage_plugins:
                edited = self._edited(index, trunk.placed(tokens, size), images, rng)
                tokens = trunk.replaced(tokens, edited)
        maps = trunk.closed(tokens, size).unflatten(0, (-1, images))
        left = tokens.unflatten(0, (-1, images))[:, 0, patches.stop :]
        return Seen(maps[:, 0], maps[:, 1:], left)

    def purified(self, maps: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """[B, S, C, h, w] -> [B, S, C, 2h, 2w]."""
        return self.purifier(maps.flatten(0, 1), rng).unflatten(0, (-1, maps.shape[1]))

    def compared(self, query: Tensor, support: Tensor, known: Supports) -> Tensor:
        """Logits [B, 2, 2h, 2w] of purified query maps and support maps [B, S, C, 2h, 2w]."""
        shots = support.shape[1]
        maps = support.flatten(0, 1)
        fore = masked_mean(maps, known.objects.flatten(0, 1), eps=_PROXY_EPS)
        back = region_means(maps, known.regions.flatten(0, 1))
        fore = fore.unflatten(0, (-1, shots)).mean(1)
        back = back.unflatten(0, (-1, shots)).flatten(1, 2)
        return proxy_scores(query, fore, back)

    # -- training ------------------------------------------------------------------------------

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Cross entropies by proxies and by prompts, heavier at the object's border, and of pairs.

        `CE(out) + CE(out_prompt) + 0.02 pairs`, 255 ignored (FPTrans `networks/FPTrans.py`).

        Raises:
            ValueError: if the batch has no generator.
            UserError: if the bank holds too few prompt groups for it.
        """
        rng = batch.rng
        if rng is None:
            raise ValueError("FPTrans draws prompts: give the training batch a generator")
        episodes, shots = batch.support_masks.shape[:2]
        groups = self.drawn_groups(shots, rng, episodes=episodes).unflatten(0, (episodes, -1))
        images, masks = batch.support_images.flatten(0, 1), batch.support_masks.flatten(0, 1)
        known = self.described(images, masks.cpu(), lambda _row, back: drawn_first(back, rng))
        known = known.per_episode(shots)
        seen = self.seen(batch.query_images, batch.support_images, known, groups, rng)
        return self.objective(batch, known, seen)

    def objective(self, batch: EpisodeBatch, known: Supports, seen: Seen) -> Mapping[str, LossTerm]:
        """As `loss_terms`, from what was seen of the batch's B episodes of S supports."""
        shots = batch.support_masks.shape[1]
        size = (batch.query_images.shape[-2], batch.query_images.shape[-1])
        query = self.purifier(seen.query, batch.rng)
        support = self.purified(seen.support, batch.rng)
        maps = {
            "proxies": self.compared(query, support, known),
            "prompts": proxy_scores(query, *self.prompt_proxies(seen.prompts, batch.rng)),
        }
        truth = batch.query_masks
        weights = boundary_weights(truth) if self.boundary else torch.ones_like(truth).float()
        terms = {
            name: LossTerm(1.0, weighted_cross_entropy(upsampled(each, size), truth, weights))
            for name, each in maps.items()
        }
        masks = nearest_masks(batch.support_masks.flatten(0, 1), support)
        pairs = pairwise_loss(
            query, nearest_masks(truth, query), support, masks.unflatten(0, (-1, shots))
        )
        return {**terms, "pairs": LossTerm(PAIR_WEIGHT, pairs)}

    # -- details -------------------------------------------------------------------------------

    @staticmethod
    def _regions(masks: Tensor, first: Callable[[int, Tensor], int]) -> Tensor:
        backs = [background(mask) for mask in masks]
        return torch.stack([regions(back, first(row, back)) for row, back in enumerate(backs)])

    def _prompts(self, known: Supports, groups: Tensor) -> Tensor:
        """[B, 12 (1 + 5S), C]: groups of the bank, each with its class-aware token."""
        aware = torch.cat((known.fore.mean(1, keepdim=True), known.back.flatten(1, 2)), dim=1)
        groups = onto(groups, self.prompt_tokens.device)
        return (self.prompt_tokens[groups] + aware[:, :, None]).flatten(1, 2)

    def prompt_proxies(
        self, prompts: Tensor, rng: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Purified means of prompts: foreground [B, C], and of five runs of the rest [B, 5, C].

        With five shots a run is one shot's tokens, not one region's, and of the 2 x 2 positions
        that the purifier makes of a token the first is taken; both as published.
        """
        fore = prompts[:, :TOKENS_PER_GROUP].mean(1, keepdim=True)
        back = prompts[:, TOKENS_PER_GROUP:].unflatten(1, (REGIONS, -1)).mean(2)
        means = torch.cat((fore, back), dim=1)
        maps = self.purifier(means.flatten(0, 1)[..., None, None], rng)
        proxies = maps[..., 0, 0].unflatten(0, (-1, 1 + REGIONS))
        return proxies[:, 0], proxies[:, 1:]

    def _edited(self, index: int, maps: Tensor, images: int, rng: torch.Generator | None) -> Tensor:
        """Stage plug-ins on maps [B * images, C, h, w], the query's first in each episode."""
        if not self.stage_plugins:
            return maps
        grouped = maps.unflatten(0, (-1, images))
        query, support = grouped[:, 0], grouped[:, 1:].flatten(0, 1)
        for plugin in self.stage_plugins:
            support = plugin.edit(index, support, role=Role.SUPPORT, rng=rng)
            query = plugin.edit(index, query, role=Role.QUERY, rng=rng)
        support = support.unflatten(0, (-1, images - 1))
        return torch.cat((query[:, None], support), dim=1).flatten(0, 1)


def _transformer(backbone: Backbone) -> ViT:
    if not isinstance(backbone, ViT):
        raise CompositionError(
            f"fptrans prompts a transformer; {type(backbone).__name__} has no tokens to prompt"
        )
    return backbone


def _check_stage(plugin: ScorePlugin, trunk: ViT) -> None:
    if plugin.stage_name != trunk.stages[0].name:
        raise CompositionError(
            f"{type(plugin).__name__} on fptrans reads stage 1, the patch embedding, and not "
            f"{plugin.stage_name}: behind it the query's tokens have seen the supports'",
            hint="leave 'stage' at 1",
        )


def _doubled(maps: Tensor) -> tuple[int, int]:
    return (2 * maps.shape[-2], 2 * maps.shape[-1])


def _contents(images: Tensor, masks: Tensor) -> Tensor:
    """Bytes [N, ...] of images [N, 3, H, W] and then of their masks [N, H, W], on the host."""
    pixels = images.detach().float().flatten(1).contiguous().view(torch.uint8)
    return torch.cat((pixels, masks.to(torch.uint8).flatten(1)), dim=1).cpu()


def _generator(text: bytes) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(text))
