"""HSNet's correlations without the zeros of the masks, and its maps while something learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..blocks.hpn import HPNLearner
from .mixing import Part
from .products import product
from .sparse_pyramid import SparsePyramid, Volume
from .spots import Spots, position_rows, unit_rows


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
    """A function that gives the map of one query and one support while something learns.

    Correlations that do not learn are computed once; if the pyramid does not learn either, so are
    their squeezed blocks.

    Args:
        learner: HSNet's pyramid.
        stages: coarse, middle, fine.
        learning: for each stage whose correlation depends on what learns, a function that gives
            its present value.
        fixed: gives the correlation of any other stage.
        sparse: gives the same without its zeros; None where they are kept.
        size: (height, width) of the coarse stage's query maps.

    Returns:
        A function that gives logits [1, 1, 2, h, w].
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
                squeezed[stage] = pyramid.squeezed(stages.index(stage), *sparse(stage))
            else:
                squeezed[stage] = Part.of(blocks[stage](fixed(stage)))

    def part(stage: str) -> Part:
        return squeezed.get(stage) or Part.of(blocks[stage](learning[stage]()))

    coarse, middle, fine = stages
    if set(learning) == {coarse}:
        mixed = pyramid.mixer.onto(squeezed[middle], squeezed[fine], size)
        return lambda: pyramid.decode(mixed(part(coarse)))[:, None]
    return lambda: pyramid.decode(pyramid.mixer([part(stage) for stage in stages]))[:, None]
