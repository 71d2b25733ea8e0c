"""The method's contract: inference as in `Host`; loss; adapt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

from ..blocks.voting import upsampled
from . import adaptation as adapting
from .contract import Adaptation, EpisodeBatch, LossTerm, PublishedWork, check_episode
from .feature_batch import FeatureBatch
from .host import Host
from .plugin_api import LearningPlugin


class AdaptationData(NamedTuple):
    """What a method may learn from at test.

    Attributes:
        support: features of the episode's K supports.
        masks: [K, H, W] of 0 and 1.
        rng: the episode's private generator.
        query: features of the query, without its mask; given to transductive methods only.
    """

    support: FeatureBatch
    masks: Tensor
    rng: torch.Generator | None
    query: FeatureBatch | None


class Method(Host):
    """A few-shot segmentation network in eval mode, with the plug-ins it carries.

    `predict` is `encode`, `match` and `decide` in a row; see `Host`.

    State-dict keys are those of the published implementation.

    Attributes:
        unused_keys: prefixes of entries in published checkpoints that no computation reads.
    """

    unused_keys: ClassVar[tuple[str, ...]] = ()
    shots_vote: ClassVar[bool] = False
    """Whether `score` gives a map per shot, none of which depends on another support."""
    norm_is_frozen: ClassVar[bool] = True
    """Whether batch normalisation keeps its statistics while training."""
    optimize: Callable[[Method, str], Method] | None = None
    """What `optimized_for` asks; `build` sets it, so that a method does not know its fast form."""

    @property
    def adaptation(self) -> Adaptation:
        """Whether and from what it learns at test, the most that any plug-in does."""
        found = {plugin.adaptation for plugin in self._plugins}
        if "transductive" in found:
            return "transductive"
        return "episode" if "episode" in found else "none"

    @property
    def adapts_encoder(self) -> bool:
        """Whether adaptation changes what `encode` gives, so that cached features are void."""
        return False

    def on_pretrained(self) -> None:
        """Told once that the backbone's pretrained values are in place, before a checkpoint's."""

    @property
    def keys_without_training(self) -> tuple[str, ...]:
        """Prefixes of state-dict entries that source training does not make."""
        return tuple(f"{p.key}." for p in self._plugins if p.key and isinstance(p, LearningPlugin))

    @property
    def votes(self) -> bool:
        """Whether what a query and one support give together is the same in every episode."""
        return self.shots_vote and not self.score_plugins

    # -- inference ---------------------------------------------------------------------------

    def optimized_for(self, device: str) -> Method:
        """An equivalent of this method for inference on `device`: the same numbers up to rounding.

        It reads the parameters and the precision now: change them, and ask again. A method that
        was not made by `build` is returned as it is.

        Args:
            device: `cpu`, `cuda`, `cuda:1`.
        """
        return self if self.optimize is None else self.optimize(self, device)

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
        dtype = next((parameter.dtype for parameter in self.parameters()), None)
        check_episode(query_images, support_images, support_masks, dtype=dtype)
        query = self.encode(query_images)
        support = self.encode(support_images.flatten(0, 1))
        return self.match(query, support, support_masks), query.size

    def published_work(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> PublishedWork | None:
        """How the published code does the episode of one query and K supports, masks [K, H, W].

        None where that is not known. It counts for the class that defines it alone; see
        `published_work.py`.
        """
        del query, support, masks
        return None

    # -- training and adaptation ---------------------------------------------------------------

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """Every term of the published objective by name, in the published order.

        Empty where the method only looks at the batch and has nothing to learn from it.

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

    def begin_round(self, number: int, *, batch: int, rng: torch.Generator) -> None:
        """Told that a part of the training begins, where the recipe has several `rounds`.

        Args:
            number: of the round, from 0.
            batch: episodes per step.
            rng: the round's private generator.
        """

    def end_step(self) -> None:
        """Told that a training step is over: what it showed may enter running statistics."""
        for plugin in self._plugins:
            plugin.end_step()

    @property
    def keeps_statistics(self) -> bool:
        """Whether a batch is more than the sum of its episodes: it enters running statistics."""
        return not self.norm_is_frozen or any(p.keeps_statistics for p in self._plugins)

    def training_state(self) -> dict[str, Tensor]:
        """What an interrupted training needs besides parameters and buffers, by name."""
        return {
            f"plugin{place}.{name}": tensor
            for place, plugin in enumerate(self._plugins)
            for name, tensor in plugin.training_state().items()
        }

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `training_state` gave."""
        for place, plugin in enumerate(self._plugins):
            prefix = f"plugin{place}."
            plugin.load_training_state(
                {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            )

    def adapt(
        self,
        support_images: Tensor,
        support_masks: Tensor,
        *,
        rng: torch.Generator | None = None,
        query_image: Tensor | None = None,
    ) -> Method:
        """This method, made ready for one episode; `self` stays as it is.

        Args:
            support_images: [K, 3, H, W] of the episode.
            support_masks: [K, H, W] of 0 and 1.
            rng: the episode's private generator.
            query_image: [3, H, W], without its mask; for transductive methods only.

        Methods without adaptation return themselves.
        """
        if self.adaptation == "none":
            return self
        with torch.no_grad():
            support = self.encode(support_images)
            query = None if query_image is None else self.encode(query_image[None])
        return self.adapt_encoded(support, support_masks, rng=rng, query=query)

    def adapt_encoded(
        self,
        support: FeatureBatch,
        masks: Tensor,
        *,
        rng: torch.Generator | None = None,
        query: FeatureBatch | None = None,
    ) -> Self:
        """As `adapt`, from features that are already there; see `AdaptationData`.

        Raises:
            ValueError: if a transductive method is not given the query, or one that draws no `rng`.
        """
        if self.adaptation == "none":
            return self
        return self.adapted_to(AdaptationData(support, masks, rng, query))

    def adapted_to(self, given: AdaptationData) -> Self:
        """What `adapt_encoded` gives of a method that adapts: an episode's copy."""
        support, masks, rng, query = given
        return adapting.adapted(self, support, masks, rng=rng, query=query)

    def train(self, mode: bool = True) -> Method:  # noqa: FBT001, FBT002  (torch's signature)
        """As in torch, but normalisation statistics stay frozen where the recipe says so."""
        super().train(mode)
        for plugin in self._plugins:
            plugin.train(mode)  # those without parameters are no submodules
        if self.norm_is_frozen:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
                    module.eval()
        return self
