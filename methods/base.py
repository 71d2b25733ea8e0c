"""The method's contract: encode, match, decide; loss; adapt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

from .backbones.base import Backbone
from .blocks.voting import foreground, upsampled, vote
from .plugins import Place, Plugin, Role, ScorePlugin, StagePlugin
from .rows import Rows


class SupportState(Protocol):
    """What a support image with its mask amounts to for one method; `Rows` of length 1 is one."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """B training episodes of K supports.

    Attributes:
        query_images: float32 [B, 3, H, W], ImageNet-normalised.
        query_masks: uint8 or int64 [B, H, W]: 0, 1, or 255 for undecided.
        support_images: float32 [B, K, 3, H, W].
        support_masks: [B, K, H, W], values as above.
        rng: the step's private generator, for methods that draw.
    """

    query_images: Tensor
    query_masks: Tensor
    support_images: Tensor
    support_masks: Tensor
    rng: torch.Generator | None = None


class LossTerm(NamedTuple):
    """One summand of a training objective: its weight and its unweighted value, a scalar."""

    weight: float
    value: Tensor


class Method(nn.Module, ABC):
    """A few-shot segmentation network in eval mode, with the plug-ins it carries.

    The three inference steps are `encode` (per image, cacheable), `match` (per episode) and
    `decide` (the method's own k-shot rule); `predict` is the three in a row. `match` itself is
    `condense` (per support image and mask, cacheable too) and `score`. The result for one episode
    depends on nothing but that episode.

    State-dict keys are those of the published implementation.

    Attributes:
        offers: the places at which plug-ins may act.
        unused_keys: prefixes of entries in published checkpoints that no computation reads.
        backbone_prefix: what the published keys have in the place of our `backbone.`.
    """

    offers: ClassVar[frozenset[Place]] = frozenset()
    unused_keys: ClassVar[tuple[str, ...]] = ()
    backbone_prefix: ClassVar[str] = "backbone."
    norm_is_frozen: ClassVar[bool] = True
    """Whether batch normalisation keeps its statistics while training."""

    def __init__(self, backbone: Backbone | None, plugins: Sequence[Plugin] = ()):
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
        self.stage_plugins = [p for p in plugins if isinstance(p, StagePlugin)]
        self.score_plugins = [p for p in plugins if isinstance(p, ScorePlugin)]
        for plugin in plugins:
            if plugin.place not in self.offers:
                raise CompositionError(
                    f"{type(self).__name__} offers no {plugin.place} for "
                    f"{type(plugin).__name__} to act on"
                )
            if backbone is not None:
                plugin.fit(backbone)
            if plugin.key:
                self.add_module(plugin.key, plugin)
        self.register_state_dict_post_hook(_publish_keys)
        self.register_load_state_dict_pre_hook(_adopt_keys)

    @property
    def adaptation(self) -> str:
        """`episode` for a method that learns from each episode's support, else `none`."""
        return "none"

    # -- inference ---------------------------------------------------------------------------

    @abstractmethod
    def features(self, images: Tensor) -> Rows:
        """[N, 3, H, W] -> N rows, without knowledge of role or episode: what `encode` calls."""

    @abstractmethod
    def summaries(self, support: Rows, masks: Tensor) -> Sequence[SupportState]:
        """N states of N support images with masks [N, H, W] of 0/1: what `condense` calls."""

    @abstractmethod
    def score(self, query: Rows, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """Logits [B, K or 1, 2, h, w] from B queries and B*K states (an episode's K together)."""

    def encode(self, images: Tensor) -> Rows:
        """[N, 3, H, W] -> N rows of features, without knowledge of role or episode.

        On a CPU image by image: kernels for one image and for many round differently, and a
        result shall not depend on the batch it came in. There is nothing to gain there either.
        """
        if _one_by_one(images):
            return Rows.cat([self.features(image[None]) for image in images])
        return self.features(images)

    def condense(self, support: Rows, masks: Tensor) -> Sequence[SupportState]:
        """What each support image with its mask [N, H, W] (0/1) amounts to; N states."""
        if _one_by_one(masks):
            rows = range(len(support))
            return [s for i in rows for s in self.summaries(support[i : i + 1], masks[i : i + 1])]
        return self.summaries(support, masks)

    def match(self, query: Rows, support: Rows, masks: Tensor) -> Tensor:
        """Logits [B, K or 1, 2, h, w], score plug-ins applied.

        Args:
            query: features of B queries.
            support: features of B*K supports, an episode's K side by side.
            masks: [B, K, H, W] of 0 and 1.
        """
        states = self.condense(support, masks.flatten(0, 1))
        return self.match_states(query, states, shots=masks.shape[1])

    def match_states(self, query: Rows, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """As `match`, from supports that `condense` has already dealt with."""
        if len(query) > 1 and _one_by_one(next(iter(query.tensors.values()))):
            parts = [
                self.match_states(
                    query[i : i + 1], states[i * shots : (i + 1) * shots], shots=shots
                )
                for i in range(len(query))
            ]
            return torch.cat(parts)
        logits = self.score(query, states, shots=shots)
        for plugin in self.score_plugins:
            logits = plugin.calibrate(logits, query.tensors[_kept(plugin)], query.size)
        return logits

    def decide(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [B, K or 1, 2, h, w] -> mask uint8 [B, H, W] by the method's k-shot rule.

        Several maps per episode are decided one by one and vote (HSNet's rule).
        """
        return vote(foreground(upsampled(logits, size)))

    def predict(
        self, query_images: Tensor, support_images: Tensor, support_masks: Tensor
    ) -> Tensor:
        """Masks uint8 [B, H, W].

        Args:
            query_images: [B, 3, H, W], ImageNet-normalised.
            support_images: [B, K, 3, H, W].
            support_masks: [B, K, H, W] of 0 and 1.

        Raises:
            ValueError: if the shapes do not fit together.
        """
        logits, size = self._matched(query_images, support_images, support_masks)
        return self.decide(logits, size)

    def logits(self, query_images: Tensor, support_images: Tensor, support_masks: Tensor) -> Tensor:
        """The scores behind `predict` at image size, float32 [B, K or 1, 2, H, W].

        Raises:
            ValueError: if the shapes do not fit together.
        """
        logits, size = self._matched(query_images, support_images, support_masks)
        return upsampled(logits, size).float()

    def _matched(
        self, query_images: Tensor, support_images: Tensor, support_masks: Tensor
    ) -> tuple[Tensor, tuple[int, int]]:
        check_shapes(query_images, support_images, support_masks)
        query = self.encode(query_images)
        support = self.encode(support_images.flatten(0, 1))
        return self.match(query, support, support_masks), query.size

    # -- training and adaptation ---------------------------------------------------------------

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Every term of the published objective by name, in the published order.

        Raises:
            CompositionError: for a method without anything to train.
        """
        raise CompositionError(f"{type(self).__name__} has nothing to train")

    def loss(self, batch: EpisodeBatch) -> Tensor:
        """The published training objective with every auxiliary term, a scalar.

        Raises:
            CompositionError: for a method without anything to train.
        """
        terms = self.loss_terms(batch).values()
        return torch.stack([term.weight * term.value for term in terms]).sum()

    def adapt(
        self,
        support_images: Tensor,
        support_masks: Tensor,
        *,
        rng: torch.Generator | None = None,
    ) -> Method:
        """This method, made ready for one episode: [K, 3, H, W] and [K, H, W] of its support.

        Methods without adaptation return themselves.
        """
        del support_images, support_masks, rng
        return self

    def train(self, mode: bool = True) -> Method:  # noqa: FBT001, FBT002  (torch's signature)
        """As in torch, but normalisation statistics stay frozen where the recipe says so."""
        super().train(mode)
        if self.norm_is_frozen:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
                    module.eval()
        return self

    # -- for hosts -----------------------------------------------------------------------------

    def walked(
        self,
        images: Tensor,
        *,
        taps: Sequence[str] = (),
        last_taps: Sequence[str] = (),
        role: Role | None = None,
        rng: torch.Generator | None = None,
    ) -> Rows:
        """Features of `images` [N, 3, H, W] from one walk through the backbone.

        Args:
            images: ImageNet-normalised.
            taps: stages of which every tap is kept, as `layer3.0`, `layer3.1`, ...
            last_taps: stages of which the last tap is kept, as `layer3`.
            role: query or support, in training only.
            rng: for stage plug-ins that draw.

        Stage outputs that score plug-ins want are kept beside them.
        """
        wanted = {plugin.stage_name for plugin in self.score_plugins}
        remaining = {*taps, *last_taps, *wanted}
        tensors: dict[str, Tensor] = {}

        def edit(index: int, output: Tensor) -> Tensor:
            for plugin in self.stage_plugins:
                output = plugin.edit(index, output, role=role, rng=rng)
            return output

        for maps in self.backbone.walk(images, edit if self.stage_plugins else None):
            name = maps.stage.name
            if name in taps:
                tensors |= {f"{name}.{i}": tap for i, tap in enumerate(maps.taps)}
            if name in last_taps:
                tensors[name] = maps.taps[-1]
            if name in wanted:
                tensors[f"output:{name}"] = maps.output
            remaining.discard(name)
            if not remaining:
                break
        return Rows((images.shape[-2], images.shape[-1]), tensors)


def check_shapes(query_images: Tensor, support_images: Tensor, support_masks: Tensor) -> None:
    """The one place where shapes and types are checked.

    Raises:
        ValueError: saying what was expected and what came.
    """
    if query_images.ndim != 4 or query_images.shape[1] != 3:
        raise ValueError(f"query images must be [B, 3, H, W], not {list(query_images.shape)}")
    batch, _, height, width = query_images.shape
    expected = (batch, 3, height, width)
    shape = support_images.shape
    if support_images.ndim != 5 or (shape[0], *shape[2:]) != expected or shape[1] < 1:
        raise ValueError(
            f"support images must be [{batch}, K, 3, {height}, {width}], not {list(shape)}"
        )
    if support_masks.shape != (batch, shape[1], height, width):
        raise ValueError(
            f"support masks must be [{batch}, {shape[1]}, {height}, {width}], "
            f"not {list(support_masks.shape)}"
        )
    if not query_images.is_floating_point() or not support_images.is_floating_point():
        raise ValueError("images must be floating point and ImageNet-normalised")


def _one_by_one(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _kept(plugin: ScorePlugin) -> str:
    return f"output:{plugin.stage_name}"


def _publish_keys(
    module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Mapping[str, Any]
) -> None:
    """Renames our `backbone.` to the published prefix, keeping the order of entries."""
    assert isinstance(module, Method)
    ours, published = f"{prefix}backbone.", f"{prefix}{module.backbone_prefix}"
    if ours == published:
        return
    for key in list(state):
        value = state.pop(key)
        state[published + key[len(ours) :] if key.startswith(ours) else key] = value


def _adopt_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_ignored: object) -> None:
    """The way back: published names of the backbone's entries become ours."""
    assert isinstance(module, Method)
    ours, published = f"{prefix}backbone.", f"{prefix}{module.backbone_prefix}"
    if ours == published or not hasattr(module, "backbone"):
        return
    children = {name for name, _ in module.backbone.named_children()}
    for key in list(state):
        if key.startswith(published):
            rest = key[len(published) :]
            if rest.split(".", 1)[0] in children:
                state[ours + rest] = state.pop(key)
