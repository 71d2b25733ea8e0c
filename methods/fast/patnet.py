"""PATNet's correlations without the zeros of the masks, from two coordinates per position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..blocks.anchors import coordinates, in_plane
from ..blocks.correlation import directions
from .products import fill_rank_two
from .sparse_pyramid import Volume
from .spots import Spots


def anchored_volumes(
    query: Sequence[Tensor],
    supports: Sequence[Spots],
    bases: Sequence[Tensor],
    anchors: Sequence[Tensor],
) -> Iterator[Volume]:
    """One stage's hypercorrelation per support of one episode, without its zeros.

    One support after the other: what is written is read again before it leaves the cache.

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
    for index, own in enumerate(supports):
        values = seen[0].new_empty((len(own.taps[0]), len(own.taps), height * width))
        for number, (rows, columns) in enumerate(zip(own.taps, seen, strict=True)):
            fill_rank_two(values[:, number], rows, columns[index])
        yield Volume(values.unflatten(2, (height, width)), own.row, own.side)
