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
from ..blocks.style import Rectifier, Style, StyleNoise, rectified
from ..blocks.style_alignment import Perturbation, StyleTrace, alignment, disturbed, folded
from ..core.contract import EpisodeBatch, LossTerm, PublishedWork
from ..core.feature_batch import FeatureBatch
from ..core.plugin_api import Place, Plugin, Role
from .ssp import SSP

STYLE_WEIGHT = 2.0
PROBABILITY = 0.5
"""Of local perturbation, and, drawn apart, of global perturbation (`forward`)."""


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

    Options: see `dra.yaml`.

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
            bank = seen.average() if self.bank is None else self.bank[index]
            changed, trace = disturbed(
                [(query, 1), (support, shots)],
                self._fitting(index, query),
                seen,
                Style(bank.mean.to(query), bank.var.to(query)),
                local=None if noise.local is None else noise.local[index],
                shared=None if noise.shared is None else noise.shared[index],
            )
            traces.append(trace)
            return changed[0], changed[1]

        query, support = self._walked_together(query_images, support_images, meet)
        return Restyled(query, support, traces)

    def begin_round(self, number: int, *, batch: int, rng: torch.Generator) -> None:
        """The first round only fills the bank; each later one has a shared noise of its own."""
        self._collects = number == 0
        self._shared = None if self._collects else self._drawn(batch, self.noise_global, rng)

    def end_step(self) -> None:
        """Folds the styles that the step saw into the bank, `0.99 old + 0.01 new`."""
        super().end_step()
        if self._seen is not None:
            self.bank = folded(self.bank, [style.average() for style in self._seen])
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
