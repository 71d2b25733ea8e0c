"""HSNet without the zeros of the masks, and with what learning leaves as it is computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from ..blocks.conv4d import CenterPivotConv4d
from ..blocks.hpn import HPNLearner
from ..blocks.prototypes import resized_masks
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..hosts.hsnet import HSNet
from .flat_conv4d import FlatCenterPivotConv4d
from .flat_squeeze import MOST_SIDE, FlatSqueeze, flat
from .forms import FastForm
from .mixing import Part
from .products import product
from .self_correlation import self_correlation
from .side_by_side import side_by_side
from .sparse_pyramid import SparsePyramid, Volume
from .spots import Spots, SpottedSupport, position_rows, spotted, unit_rows


class FastHSNet(FastForm, HSNet):
    """On a CPU correlations are computed where the mask is not zero, and nowhere else.

    On an accelerator they are dense, and convolved without copies of the volumes.

    Attributes:
        skips_zeros: whether it runs on a CPU.
        sparse: the pyramid without its zeros; None on an accelerator and where the method learns at
            test, since it reads the parameters once.
    """

    skips_zeros: bool
    sparse: SparsePyramid | None

    def prepare(self, device: str) -> None:
        """Chooses the form for the device."""
        self.skips_zeros = device == "cpu"
        self.sparse = None
        if not self.skips_zeros:
            for module in self.hpn_learner.modules():
                if isinstance(module, CenterPivotConv4d):
                    module.__class__ = FlatCenterPivotConv4d
        elif self.adaptation == "none":
            self.sparse = SparsePyramid(self.hpn_learner)

    published_work = HSNet.published_work

    # -- inference ---------------------------------------------------------------------------

    def support_states(self, support: FeatureBatch, masks: Tensor) -> Sequence[SupportState]:
        """As in `HSNet`; `spots` where zeros are left out."""
        if self.sparse is None:
            return super().support_states(support, masks)
        return [self.spots(support[i : i + 1], masks[i : i + 1]) for i in range(len(support))]

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """As in `HSNet`; zeros are left out for one episode at a time."""
        if self.sparse is None:
            return super().score(query, states, shots=shots)
        supports = cast("Sequence[SpottedSupport]", states)
        sparse = self.sparse
        stages = [self.volumes(stage, query, supports) for stage in reversed(self.stages)]

        def scored(shot: int) -> Tensor:
            return sparse([volume(shot) for volume in stages])

        return torch.cat(side_by_side(scored, range(shots)))[None]

    def spots(self, support: FeatureBatch, mask: Tensor) -> SpottedSupport:
        """What one support amounts to in the sparse form, as far as there are features of it.

        Its mask is [1, H, W].
        """
        groups = {stage: support.group(stage) for stage in self.stages}
        return SpottedSupport({s: spotted(taps, mask) for s, taps in groups.items() if taps})

    def volumes(
        self, stage: str, query: FeatureBatch, supports: Sequence[SpottedSupport]
    ) -> Callable[[int], Volume]:
        """What gives one stage's hypercorrelation with each support of one episode, by its number.

        Zeros are left out; N = 1.
        """
        own = [support.stages[stage] for support in supports]
        return sparse_volumes(query.group(stage), own).__getitem__

    # -- learning at test --------------------------------------------------------------------

    def correlation_with_itself(self, stage: str, support: FeatureBatch, masks: Tensor) -> Tensor:
        """`correlation` of a support's features with their own masked state; masks [N, H, W]."""
        return self_correlation(support.group(stage), masks)

    def learning_stages(self) -> set[str]:
        """Stages whose correlation depends on a parameter that asks for a gradient."""
        own = [p for plugin in self.feature_plugins for p in plugin.parameters()]
        learns = any(parameter.requires_grad for parameter in own)
        return {self.adaptable(self.backbone).name} if learns else set()

    def replay(
        self, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Callable[[], Tensor]:
        """As in `HSNet`; what learning leaves as it is, is computed once."""
        stages = [*reversed(self.stages)]
        height, width = query.group(stages[0])[0].shape[-2:]
        if len(query) > 1 and max(height, width) > MOST_SIDE:
            ways: list[Callable[[], Tensor]] = []
            for i in range(len(query)):
                shown = support[i : i + 1]
                asked = shown if query is support else query[i : i + 1]
                ways.append(self.replay(asked, shown, masks[i : i + 1]))
            return lambda: torch.cat([way() for way in ways])
        learning = self.learning_stages()
        fixed = set(stages) - learning
        with torch.no_grad():
            asked = self.apply_feature_plugins(_only(query, fixed))
            shown = self.apply_feature_plugins(_only(support, fixed), masks)

        def sparse(stage: str) -> Iterable[Volume]:
            for i in range(len(masks)):
                row = slice(i, i + 1)
                spots = self.spots(_only(shown[row], {stage}), masks[row])
                yield self.volumes(stage, asked[row], [spots])(0)

        return replayed(
            self.hpn_learner,
            stages,
            {stage: self._correlating(stage, query, support, masks) for stage in learning},
            lambda stage: self._correlated(stage, asked, shown, masks),
            sparse=sparse if self.skips_zeros else None,
            size=(height, width),
        )

    def _correlating(
        self, stage: str, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Callable[[], Tensor]:
        """What gives one stage's correlation from unmasked features, again and again."""
        show = self.transforming(_only(support, {stage}))
        ask = show if query is support else self.transforming(_only(query, {stage}))
        # What resizing leaves as it is at each step.
        masks = resized_masks(masks, support.group(stage)[0])[:, 0]

        def correlate() -> Tensor:
            shown = show()
            if ask is show and not self.gating_plugins:
                return self.correlation_with_itself(stage, shown, masks)
            asked = shown if ask is show else ask()
            return self._correlated(
                stage, self.apply_gates(asked), self.apply_gates(shown, masks), masks
            )

        return correlate

    def _correlated(
        self, stage: str, query: FeatureBatch, support: FeatureBatch, masks: Tensor
    ) -> Tensor:
        """One stage's correlation of features, the support's not yet masked."""
        return self.correlation(stage, query, self.masked(_only(support, {stage}), masks))


def _only(rows: FeatureBatch, stages: Collection[str]) -> FeatureBatch:
    own = {n: t for n, t in rows.tensors.items() if n.rpartition(".")[0] in stages}
    return FeatureBatch(rows.size, own)


def sparse_volumes(query: Sequence[Tensor], supports: Sequence[Spots]) -> list[Volume]:
    """One stage's hypercorrelation per support of one episode, without its zeros.

    Args:
        query: the stage's taps, each [1, C, h, w].
        supports: the same stage of each support.
    """
    counts = [len(support.taps[0]) for support in supports]
    height, width = query[0].shape[-2:]
    values = query[0].new_empty((sum(counts), len(query), height * width))
    for number, tap in enumerate(query):
        # All supports in one product: oneDNN brings the query into its own order but once.
        seen = torch.cat([support.taps[number] for support in supports])
        found = product(seen, unit_rows(position_rows(tap)))
        torch.clamp(found, min=0, out=values[:, number])
    maps = values.unflatten(2, (height, width)).split(counts)
    return [Volume(part, s.row, s.side) for part, s in zip(maps, supports, strict=True)]


def replayed(
    learner: HPNLearner,
    stages: Sequence[str],
    learning: Mapping[str, Callable[[], Tensor]],
    fixed: Callable[[str], Tensor],
    *,
    sparse: Callable[[str], Iterable[Volume]] | None,
    size: tuple[int, int],
) -> Callable[[], Tensor]:
    """A function that gives the maps of queries with a support each while something learns.

    Correlations that do not learn are computed once; if the pyramid does not learn either, so are
    their squeezed blocks.

    Args:
        learner: HSNet's pyramid.
        stages: coarse, middle, fine.
        learning: for each stage whose correlation depends on what learns, a function that gives
            its present value.
        fixed: gives the correlation of any other stage.
        sparse: gives the same without its zeros; None where they are kept.
        size: (height, width) of the coarse stage's maps; B is 1 where they exceed `MOST_SIDE`.

    Returns:
        A function that gives logits [B, 1, 2, h, w].
    """
    constant = [stage for stage in stages if stage not in learning]
    if any(parameter.requires_grad for parameter in learner.parameters()):
        with torch.no_grad():
            known = {stage: fixed(stage) for stage in constant}
        return lambda: learner(
            [known[stage] if stage in known else learning[stage]() for stage in stages]
        )[:, None]

    pyramid = SparsePyramid(learner)
    blocks = dict(zip(stages, learner.blocks, strict=True))
    squeezed: dict[str, Part] = {}
    with torch.no_grad():
        for stage in constant:
            if sparse is not None:
                number = stages.index(stage)
                squeezed[stage] = Part.cat([pyramid.squeezed(number, v) for v in sparse(stage)])
            else:
                squeezed[stage] = Part.of(blocks[stage](fixed(stage)))

    def part(stage: str) -> Part:
        return squeezed.get(stage) or Part.of(blocks[stage](learning[stage]()))

    coarse, middle, fine = stages
    if set(learning) == {coarse}:
        mixed = pyramid.mixer.onto(squeezed[middle], squeezed[fine], size)
        if max(size) <= MOST_SIDE:
            squeeze = FlatSqueeze(learner.encoder_layer4, size)
            correlate = learning[coarse]
            return lambda: pyramid.decode(
                mixed(Part(squeeze(flat(correlate())), squeezed[middle].side))
            )[:, None]
        return lambda: pyramid.decode(mixed(part(coarse)))[:, None]
    return lambda: pyramid.decode(pyramid.mixer([part(stage) for stage in stages]))[:, None]
