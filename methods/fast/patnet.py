"""PATNet without the zeros of the masks, from two coordinates per position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from ..blocks.anchors import coordinates, in_plane, prototype_basis
from ..blocks.correlation import directions
from ..core.contract import SupportState
from ..core.feature_batch import FeatureBatch
from ..hosts.patnet import PATNet, prototypes
from .hsnet import FastHSNet
from .mixing import Part
from .products import fill_rank_two
from .self_correlation import self_correlation
from .side_by_side import side_by_side
from .sparse_pyramid import Volume
from .spots import Spots, SpottedSupport, spotted


class FastPATNet(FastHSNet, PATNet):
    """As `FastHSNet`, of the transformed features."""

    published_work = PATNet.published_work

    def learning_stages(self) -> set[str]:
        """Those of `FastHSNet`, and those whose anchors ask for a gradient."""
        taps = [
            f"{stage}.{number}"
            for stage in self.stages
            for number in range(self.backbone.stage(stage).taps)
        ]
        learning = [tap for tap in taps if self.anchors(tap).requires_grad]
        return super().learning_stages() | {tap.rpartition(".")[0] for tap in learning}

    def score(self, query: FeatureBatch, states: Sequence[SupportState], *, shots: int) -> Tensor:
        """As in `FastHSNet`; no thread is idle while the last support of an odd number is computed.

        Threads take the stages of all supports first. Then each mixes equally many supports, and
        all of them together what is left. The operations of a single support they share throughout.
        """
        if self.sparse is None or shots == 1:
            return super().score(query, states, shots=shots)
        sparse, supports = self.sparse, cast("Sequence[SpottedSupport]", states)
        volumes = [self.volumes(stage, query, supports) for stage in reversed(self.stages)]
        # The fine stage takes longest and goes first.
        tasks = [(stage, shot) for stage in reversed(range(len(volumes))) for shot in range(shots)]

        def squeezed(task: tuple[int, int]) -> Part:
            stage, shot = task
            return sparse.squeezed(stage, volumes[stage](shot))

        parts = dict(zip(tasks, side_by_side(squeezed, tasks), strict=True))

        def mixed(shot: int) -> Tensor:
            own = [parts[stage, shot] for stage in range(len(volumes))]
            return sparse.decode(sparse.mixer(own))

        even = shots - shots % min(shots, torch.get_num_threads())
        maps = side_by_side(mixed, range(even)) + side_by_side(mixed, range(even, shots))
        return torch.cat(maps)[None]

    def spots(self, support: FeatureBatch, mask: Tensor) -> SpottedSupport:
        """As in `FastHSNet`: coordinates of what the mask leaves, and per tap the basis [2, C]."""
        stages: dict[str, Spots] = {}
        bases: dict[str, Tensor] = {}
        for stage in self.stages:
            planes: list[Tensor] = []
            for number, tap in enumerate(support.group(stage)):
                name = f"{stage}.{number}"
                basis, plane = self._own_plane(name, tap, mask)
                bases[name] = basis[0]
                planes.append(plane)
            if planes:
                stages[stage] = spotted(planes, mask)
        return SpottedSupport(stages, bases)

    def volumes(
        self, stage: str, query: FeatureBatch, supports: Sequence[SpottedSupport]
    ) -> Callable[[int], Volume]:
        """As in `FastHSNet`, from two coordinates: each support's basis maps the query too."""
        names = [f"{stage}.{number}" for number in range(len(query.group(stage)))]
        return anchored_volumes(
            query.group(stage),
            [support.stages[stage] for support in supports],
            [torch.stack([support.bases[name] for support in supports]) for name in names],
            [self.anchors(name) for name in names],
        )

    def correlation_with_itself(self, stage: str, support: FeatureBatch, masks: Tensor) -> Tensor:
        """As in `FastHSNet`, of the transformed features."""
        planes = [
            self._own_plane(f"{stage}.{number}", tap, masks)[1]
            for number, tap in enumerate(support.group(stage))
        ]
        return self_correlation(planes, masks)

    def _own_plane(self, name: str, tap: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The basis [N, 2, C] of a support's own prototypes, and the tap in its anchors' plane."""
        basis = prototype_basis(*prototypes(tap, masks))
        return basis, in_plane(coordinates(basis, tap), self.anchors(name))


def anchored_volumes(
    query: Sequence[Tensor],
    supports: Sequence[Spots],
    bases: Sequence[Tensor],
    anchors: Sequence[Tensor],
) -> Callable[[int], Volume]:
    """What gives one stage's hypercorrelation with each support of one episode, by its number.

    Zeros are left out. One support at a time: what is written is read again before it leaves the
    cache.

    Args:
        query: the stage's taps, each [1, C, h, w].
        supports: K, the same stage of each, in the anchors' plane.
        bases: per tap those of the K supports, [K, 2, C].
        anchors: per tap the pair that it uses, [2, C].
    """
    seen = [
        directions(in_plane(coordinates(basis, tap), pair))
        for tap, basis, pair in zip(query, bases, anchors, strict=True)
    ]
    height, width = query[0].shape[-2:]

    def volume(index: int) -> Volume:
        own = supports[index]
        values = seen[0].new_empty((len(own.taps[0]), len(own.taps), height * width))
        for number, (rows, columns) in enumerate(zip(own.taps, seen, strict=True)):
            fill_rank_two(values[:, number], rows, columns[index])
        return Volume(values.unflatten(2, (height, width)), own.row, own.side)

    return volume
