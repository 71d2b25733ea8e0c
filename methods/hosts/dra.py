"""DR-Adapter: Domain-Rectifying Adapter for Cross-Domain Few-Shot Segmentation (CVPR 2024).

The adapters act between stages as stage plug-ins do, and still this is a host: in training query
and support meet after every stage, the loss compares styles of both, and training has rounds. It
shares SSP's matching and none of it is repeated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError, UserError

from ..backbones.base import Backbone, StageMaps
from ..blocks.style import Rectifier, Style, StyleNoise, cycled, perturbed, rectified
from ..core.contract import EpisodeBatch, LossTerm, PublishedWork
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin, Role
from .ssp import SSP

STYLE_WEIGHT = 2.0
BANK_MOMENTUM = 0.99
PROBABILITY = 0.5
"""Of local perturbation, and, drawn apart, of global perturbation (`forward`)."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What is drawn for one training step: a noise per adapter, B rows each.

    Attributes:
        local: on each image about its own mean; None where it was not drawn.
        shared: on all images about the bank's mean ("global" in the paper); None likewise.
    """

    local: Sequence[StyleNoise] | None
    shared: Sequence[StyleNoise] | None


@dataclass(frozen=True, slots=True)
class StyleTrace:
    """Styles at one stage; rows are the queries, then the supports.

    Attributes:
        seen: of the stage's output, before anything was done to it.
        target: what rectification shall come back to: `seen`, or the bank's where only the shared
            perturbation acted; None where nothing was perturbed.
        first: after rectification.
        second: after another perturbation and rectification.
    """

    seen: Style
    target: Style | None = None
    first: Style | None = None
    second: Style | None = None


@dataclass(frozen=True, slots=True)
class Restyled:
    """What the two streams gave in training: [B, C, h, w], [B*K, C, h, w], a trace per adapter."""

    query: Tensor
    support: Tensor
    traces: Sequence[StyleTrace]


class DRA(SSP):
    """SSP without refinement; after each stage but the last an adapter rectifies the style.

    In training, styles are perturbed and the adapters learn to bring them back; nothing is frozen
    and normalisation uses the batch's statistics. At test each image is rectified by itself, so
    features stay cacheable, and K shots are averaged as SSP averages them.

    Args:
        backbone: any with a `semantic` stage.
        kernel: side of the adapters' convolutions.
        dilation: of the adapters' convolutions.
        noise_local: standard deviation of the local perturbation.
        noise_global: standard deviation of the shared perturbation.

    State-dict keys: the backbone's without a prefix, `DR_Adapter.{i}.*`
    (DR-Adapter `model/SSP_matching.py`).
    """

    offers = frozenset({Place.SCORE})
    norm_is_frozen = False

    def __init__(
        self,
        backbone: Backbone,
        plugins: Sequence[Plugin] = (),
        *,
        kernel: int = 7,
        dilation: int = 2,
        noise_local: float = 0.75,
        noise_global: float = 1.0,
    ):
        super().__init__(backbone, plugins, refine=False)
        if kernel % 2 == 0:
            raise CompositionError(f"option 'kernel' of dra must be odd, not {kernel}")
        names = [stage.name for stage in backbone.stages]
        self.channels = [s.channels for s in backbone.stages[: names.index(self.stage)]]
        adapters = [Rectifier(width, kernel, dilation) for width in self.channels]
        self.add_module("DR_Adapter", nn.ModuleList(adapters))
        self.noise_local = noise_local
        self.noise_global = noise_global
        self.bank: Sequence[Style] | None = None
        """Running styles of the source, one per adapter; None before the first batch."""
        self._collects = False
        self._shared: Sequence[StyleNoise] | None = None
        self._seen: Sequence[Style] | None = None

    @property
    def adapters(self) -> Sequence[Rectifier]:
        """One per stage before the last."""
        return cast("Sequence[Rectifier]", self.get_submodule("DR_Adapter"))

    def edited(
        self, index: int, output: Tensor, *, role: Role | None, rng: torch.Generator | None
    ) -> Tensor:
        """The rectified output of a stage that has an adapter.

        Raises:
            UserError: if the image is too small for the adapter.
        """
        output = super().edited(index, output, role=role, rng=rng)
        if index >= len(self.adapters):
            return output
        return rectified(output, self._fitting(index, output))[0]

    def published_work(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> PublishedWork | None:
        """SSP's; with several shots the published test crashes (`model/SSP_matching.py`)."""
        return super().published_work(query, support, masks) if len(masks) == 1 else None

    # -- training ------------------------------------------------------------------------------

    def loss_terms(self, batch: EpisodeBatch) -> Mapping[str, LossTerm]:
        """SSP's terms without refinement, and twice the cyclic alignment of styles (`main.py`).

        `CE(first) + CE(query itself) + 0.2 CE(each support itself) + 2 style`. In the first of
        several rounds there are none: its batches only fill the bank.

        Raises:
            ValueError: if the batch has no generator.
        """
        shots = batch.support_masks.shape[1]
        support_images = batch.support_images.flatten(0, 1)
        if self._collects:
            with torch.no_grad():
                walked = self.restyled(batch.query_images, support_images, None)
        else:
            noise = self.draw(len(batch.query_images), batch.rng)
            walked = self.restyled(batch.query_images, support_images, noise, shots=shots)
        if self._seen is None:  # a step may compute its loss more than once
            self._seen = [trace.seen for trace in walked.traces]
        if self._collects:
            return {}
        masks = (batch.query_masks, batch.support_masks)
        terms = self.matching_terms(walked.query, walked.support, *masks)
        return {**terms, "style": LossTerm(STYLE_WEIGHT, alignment(walked.traces), "episodes")}

    def draw(self, batch: int, rng: torch.Generator | None) -> Perturbation:
        """Which perturbations act, and their noise for `batch` episodes.

        Raises:
            ValueError: without a generator.
        """
        if rng is None:
            raise ValueError("DRA draws its perturbations: give the training batch a generator")
        has_local, has_shared = (torch.rand(2, generator=rng) < PROBABILITY).tolist()
        local = self._drawn(batch, self.noise_local, rng) if has_local else None
        if not has_shared:
            return Perturbation(local, None)
        kept = self._shared
        if kept is None or len(kept[0].alpha) < batch:
            kept = self._drawn(batch, self.noise_global, rng)
        return Perturbation(local, [StyleNoise(n.alpha[:batch], n.beta[:batch]) for n in kept])

    def restyled(
        self,
        query_images: Tensor,
        support_images: Tensor,
        noise: Perturbation | None,
        *,
        shots: int = 1,
    ) -> Restyled:
        """Features of both streams, which meet after every stage: [B, 3, H, W] and [B*K, 3, H, W].

        The noise is the same for a query and its supports; without, or where neither perturbation
        was drawn, features stay as they are.
        """
        traces: list[StyleTrace] = []

        def meet(index: int, query: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
            if index >= len(self.adapters):
                return query, support
            seen = Style.cat([Style.of(query), Style.of(support)]).detach()
            if noise is None or (noise.local is None and noise.shared is None):
                traces.append(StyleTrace(seen))
                return query, support
            query, support, trace = self._disturbed(index, query, support, noise, seen, shots)
            traces.append(trace)
            return query, support

        query, support = self._walked_together(query_images, support_images, meet)
        return Restyled(query, support, traces)

    def begin_round(self, number: int, *, batch: int, rng: torch.Generator) -> None:
        """The first round only fills the bank; each later one has a shared noise of its own."""
        self._collects = number == 0
        self._shared = None if self._collects else self._drawn(batch, self.noise_global, rng)

    def end_step(self) -> None:
        """Folds the styles that the step saw into the bank, `0.99 old + 0.01 new`."""
        super().end_step()
        if self._seen is None:
            return
        new = [style.average() for style in self._seen]
        self.bank = new if self.bank is None else _folded(self.bank, new)
        self._seen = None

    def training_state(self) -> dict[str, Tensor]:
        """The bank: what an interrupted training needs besides parameters and buffers."""
        styles = enumerate(self.bank or ())
        return super().training_state() | {
            f"bank.{i}.{name}": tensor
            for i, style in styles
            for name, tensor in (("mean", style.mean), ("var", style.var))
        }

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `training_state` gave."""
        super().load_training_state(tensors)
        count = sum(name.startswith("bank.") for name in tensors) // 2
        self.bank = [
            Style(tensors[f"bank.{i}.mean"], tensors[f"bank.{i}.var"]) for i in range(count)
        ] or None

    def _drawn(self, batch: int, sigma: float, rng: torch.Generator) -> list[StyleNoise]:
        return [StyleNoise.drawn(batch, width, sigma, rng) for width in self.channels]

    def _fitting(self, index: int, output: Tensor) -> Rectifier:
        adapter = self.adapters[index]
        left = [side - adapter.shrinks for side in output.shape[-2:]]
        if min(left) < 1 or max(left) < 2:
            needed = (adapter.shrinks + 2) * self.backbone.stages[index].stride
            raise UserError(
                f"the images are too small for dra's adapters, which need about {needed} pixels "
                f"a side",
                hint="use larger images, or smaller convolutions: dra[kernel=3,dilation=1]",
            )
        return adapter

    def _disturbed(
        self,
        index: int,
        query: Tensor,
        support: Tensor,
        noise: Perturbation,
        seen: Style,
        shots: int,
    ) -> tuple[Tensor, Tensor, StyleTrace]:
        adapter = self._fitting(index, query)
        bank = seen.average() if self.bank is None else self.bank[index]
        centre = Style(bank.mean.to(query), bank.var.to(query))
        streams = [(query, 1), (support, shots)]
        changed: list[Tensor] = []
        first: list[Style] = []
        second: list[Style] = []
        for features, repeats in streams:
            factors: StyleNoise | None = None
            if noise.local is not None:
                factors = noise.local[index].repeated(repeats, features)
                mean = features.mean((2, 3), keepdim=True)
                features = perturbed(features, mean, factors)
            if noise.shared is not None:
                shared = noise.shared[index].repeated(repeats, features)
                features = perturbed(features, centre.mean, shared)
                # The local noise goes round the cycle where both act.
                factors = factors or shared
            assert factors is not None
            features, style = rectified(features, adapter)
            changed.append(features)
            first.append(style)
            second.append(cycled(features, style, adapter, factors))
        target = seen if noise.local is not None else centre.expand(len(seen.mean))
        trace = StyleTrace(seen, target, Style.cat(first), Style.cat(second))
        return changed[0], changed[1], trace

    def _walked_together(
        self,
        query_images: Tensor,
        support_images: Tensor,
        meet: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Last taps of both; at each stage the supports go first, as running statistics want it."""
        waiting: list[Tensor] = []
        arrived: list[StageMaps] = []

        def at_query(index: int, output: Tensor) -> Tensor:
            output, support = meet(index, output, waiting.pop())
            waiting.append(support)
            return output

        queries: Iterator[StageMaps] = self.backbone.walk(query_images, at_query)

        def at_support(_index: int, output: Tensor) -> Tensor:
            waiting.append(output)
            arrived.append(next(queries))
            return waiting.pop()

        for maps in self.backbone.walk(support_images, at_support):
            query = arrived.pop()
            if maps.stage.name == self.stage:
                return query.taps[-1], maps.taps[-1]
        raise AssertionError(f"the backbone has no stage {self.stage}")


def alignment(traces: Sequence[StyleTrace]) -> Tensor:
    """The mean over stages of the distances of the first and second style to the target."""
    terms = [
        trace.target.distance(trace.first) + trace.target.distance(trace.second)
        if trace.target is not None and trace.first is not None and trace.second is not None
        else trace.seen.mean.new_zeros(())
        for trace in traces
    ]
    return torch.stack(terms).mean()


def _folded(old: Sequence[Style], new: Sequence[Style]) -> list[Style]:
    kept, added = BANK_MOMENTUM, 1 - BANK_MOMENTUM
    return [
        Style(
            kept * before.mean.to(now.mean) + added * now.mean,
            kept * before.var.to(now.var) + added * now.var,
        )
        for before, now in zip(old, new, strict=True)
    ]
