"""How episodes are drawn: the published way, defects and all, and a way without the defects."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cdfss_bench.errors import DataError

from .manifest import Episode

SAMPLER_VERSION = 1
"""Bump when any sequence changes."""

_MOST = 10_000_000
"""Pictures that one manifest may name, which takes minutes to draw; published ones name 14,400."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The images of one class among which the sampler draws, in drawing order."""

    class_id: int
    name: str
    images: tuple[str, ...]


def most_shots(pool: Pool, scene: Callable[[str], str] = str) -> int:
    """How many different supports every image of a class has.

    Args:
        pool: the class.
        scene: what a support must not share with its query; by default the image's name.
    """
    sizes = Counter(scene(name) for name in pool.images)
    return len(pool.images) - max(sizes.values(), default=0)


def patnet_episodes(
    pools: Sequence[Pool],
    queries: Sequence[tuple[int, str]] | None,
    *,
    length: int,
    shots: int,
    rng: np.random.RandomState,
    scene: Callable[[str], str] = str,
) -> Iterator[Episode]:
    """The published sequence, bit for bit (PATNet `data/{fss,deepglobe,isic,lung,pascal}.py`).

    The published loaders call `np.random.choice(images, 1, replace=False)[0]`, which shuffles the
    whole list to take one element: each draw is `rng.permutation(len(images))[0]`. Supports are
    drawn until `shots` of them differ from the query; they may repeat one another.

    Args:
        pools: the classes in id order.
        queries: (class id, name) pairs that are the queries in turn; None: query i is drawn from
            class i mod C.
        length: how many episodes.
        shots: supports per episode.
        rng: `np.random.RandomState(seed)`; it is advanced exactly as the published global stream.
        scene: what a support must not share with its query; by default the image's name.

    Raises:
        DataError: for a class with a single image, or a single scene, on which the published
            loader never returns.
    """
    _refuse_endless(length, shots)
    by_id = {pool.class_id: pool for pool in pools}
    for pool in pools:
        _require(pool, at_least=2, why="another image must serve as support")
        if len({scene(name) for name in pool.images}) < 2:
            raise DataError(
                f"all {len(pool.images)} images of class '{pool.name}' belong to "
                f"{scene(pool.images[0])}, and a support must come from elsewhere than its query",
                hint="add another volume, series or group that shows the class, or leave the "
                "class out",
            )
    for index in range(length):
        if queries is None:
            pool = pools[index % len(pools)]
            query = pool.images[_first(rng, len(pool.images))]
        else:
            class_id, query = queries[index % len(queries)]
            pool = by_id[class_id]
        supports: list[str] = []
        while len(supports) < shots:
            drawn = pool.images[_first(rng, len(pool.images))]
            if scene(drawn) != scene(query):
                supports.append(drawn)
        yield Episode(query, tuple(supports), pool.class_id)


def strict_episodes(
    pools: Sequence[Pool],
    queries: Sequence[tuple[int, str]] | None,
    *,
    length: int,
    shots: int,
    seed: int,
    domain: str,
    scene: Callable[[str], str],
    usable: Callable[[int, str], bool],
) -> Iterator[Episode]:
    """Episodes without the published defects.

    Supports are distinct; no support shares the query's scene; a class's images are all asked once
    before one is asked again; images with an empty mask are never used. The query sequence does
    not depend on `shots`, and the supports of a 1-shot episode are the first of the 5-shot one, so
    results of different shots are paired.

    Args:
        pools: the classes in id order.
        queries: as in `patnet_episodes`.
        length: how many episodes; listed queries with an empty mask are left out of them.
        shots: supports per episode.
        seed: enters the generator of each class together with the domain's name.
        domain: keeps the streams of different domains apart.
        scene: the scene that a name belongs to (a DeepGlobe tile's satellite picture).
        usable: whether the mask of (class id, name) is not empty.

    Raises:
        DataError: for a class that cannot give `shots` supports from other scenes, or whose masks
            are all empty.
    """
    _refuse_endless(length, shots)
    streams = {pool.class_id: _stream(domain, seed, pool.class_id) for pool in pools}
    by_id = {pool.class_id: pool for pool in pools}
    waiting: dict[int, list[str]] = {pool.class_id: [] for pool in pools}
    for pool in pools:
        _require(pool, at_least=shots + 1, why=f"{shots}-shot needs {shots} others beside a query")

    def next_query(pool: Pool) -> str:
        for _ in range(2 * len(pool.images)):
            if not waiting[pool.class_id]:
                order = streams[pool.class_id].permutation(len(pool.images))
                waiting[pool.class_id] = [pool.images[int(i)] for i in order]
            name = waiting[pool.class_id].pop(0)
            if usable(pool.class_id, name):
                return name
        raise all_empty(pool)

    def all_empty(pool: Pool) -> DataError:
        return DataError(f"every mask of class '{pool.name}' of {domain} is empty")

    for index in range(length):
        if queries is None:
            pool = pools[index % len(pools)]
            query = next_query(pool)
        else:
            class_id, query = queries[index % len(queries)]
            pool = by_id[class_id]
            if not usable(class_id, query):
                if not any(usable(class_id, name) for name in pool.images):
                    raise all_empty(pool)
                continue
        supports: list[str] = []
        # The whole permutation is drawn whatever K is: that makes the shots nested.
        for i in streams[pool.class_id].permutation(len(pool.images)):
            name = pool.images[int(i)]
            if len(supports) == shots:
                break
            if scene(name) != scene(query) and usable(pool.class_id, name):
                supports.append(name)
        if len(supports) < shots:
            raise DataError(
                f"class '{pool.name}' of {domain} has fewer than {shots} usable images "
                f"outside the scene of {query}",
                hint="use --protocol patnet, or fewer shots",
            )
        yield Episode(query, tuple(supports), pool.class_id)


def with_wrong_supports(
    episodes: Sequence[Episode],
    pools: Sequence[Pool],
    *,
    seed: int,
    domain: str,
    scene: Callable[[str], str],
    usable: Callable[[int, str], bool],
) -> tuple[Episode, ...]:
    """The same queries, each shown supports of another class: the shuffled-support control.

    A method that does as well with a wrong support as with a right one segments what is salient,
    not what was asked.

    Args:
        episodes: of the manifest that the control is made for.
        pools: the classes in id order.
        seed: of the private generator.
        domain: keeps the streams of different domains apart.
        scene: the scene that a name belongs to; a support never shows the query's.
        usable: whether an image of a class may serve as support.

    Raises:
        DataError: if the domain has a single class, or a class has no image to show.
    """
    if len(pools) < 2:
        raise DataError(f"{domain} has one class, so there is no support of a wrong class")
    rng = _stream(f"{domain}@shuffled-support", seed, -1)
    result: list[Episode] = []
    for episode in episodes:
        others = [pool for pool in pools if pool.class_id != episode.class_id]
        pool = others[rng.randint(len(others))]
        order = [pool.images[int(i)] for i in rng.permutation(len(pool.images))]
        names = [
            name
            for name in order
            if scene(name) != scene(episode.query) and usable(pool.class_id, name)
        ]
        _require(Pool(pool.class_id, pool.name, tuple(names)), at_least=1, why="a support is due")
        count = len(episode.supports)
        # A small class shows its images again rather than fewer of them.
        supports = tuple(names[i % len(names)] for i in range(count))
        result.append(Episode(episode.query, supports, episode.class_id, pool.class_id))
    return tuple(result)


def is_held_out(name: str, share: float) -> bool:
    """Whether an image is kept out of training: by its name alone, in all of its classes.

    What a smaller share holds out, a larger one does too.
    """
    number = int.from_bytes(hashlib.sha256(f"held-out/{name}".encode()).digest()[:8], "big")
    return number < share * 2**64


def _refuse_endless(length: int, shots: int) -> None:
    if length * (shots + 1) > _MOST:
        raise DataError(
            f"{length:,} episodes of {shots:,} supports each are too many to draw",
            hint=f"ask for fewer: a manifest may name {_MOST:,} pictures",
        )


def _first(rng: np.random.RandomState, count: int) -> int:
    # What np.random.choice(list, 1, replace=False)[0] does to the stream, at a third of its time.
    return int(rng.permutation(count)[0])


def _require(pool: Pool, *, at_least: int, why: str) -> None:
    count = len(pool.images)
    if count < at_least:
        raise DataError(
            f"class '{pool.name}' has {count} image{'s' if count != 1 else ''}, "
            f"at least {at_least} are needed: {why}"
        )


def _stream(domain: str, seed: int, class_id: int) -> np.random.RandomState:
    """A private stream; NumPy keeps RandomState's sequences for ever, Generator's it does not."""
    text = f"strict/{SAMPLER_VERSION}/{domain}/{seed}/{class_id}"
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype="<u4")
    return np.random.RandomState(words)
