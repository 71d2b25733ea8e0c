"""In which order episodes are computed, so that an image is seldom encoded twice.

Query features are large (40 MB per image for HSNet at 400 px) and most do not fit into the cache;
what is kept of a support is small and stays there. So episodes with the same query stand together,
and the next query is one that was just seen as a support, if there is one. The order depends on the
manifest alone: an interrupted run goes on in the same order, however much memory there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


def reuse_order(asked: Sequence[tuple[str, Sequence[str]]]) -> list[int]:
    """Indices of `asked`, each once.

    Args:
        asked: by episode, the query's image and the supports' images.
    """
    waiting: OrderedDict[str, list[int]] = OrderedDict()
    for index, (query, _) in enumerate(asked):
        waiting.setdefault(query, []).append(index)
    seen: list[str] = []
    order: list[int] = []
    while waiting:
        query = next(iter(waiting))
        while seen:
            latest = seen.pop()
            if latest in waiting:
                query = latest
                break
        indices = waiting.pop(query)
        order += indices
        seen += [image for index in indices for image in asked[index][1]]
    return order
