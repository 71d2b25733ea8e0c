"""The published draw against the published code's own words, and the strict draw's promises."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.datasets.core.manifest import Episode
from cdfss_bench.datasets.core.samplers import (
    SAMPLER_VERSION,
    Pool,
    patnet_episodes,
    strict_episodes,
    with_wrong_supports,
)
from cdfss_bench.errors import DataError

Rows = list[tuple[str, tuple[str, ...], int]]


def pools_of(*sizes: int) -> list[Pool]:
    """Classes of the given sizes, ids from 7 on; `c1/003` is image 3 of class 1."""
    return [
        Pool(7 + place, f"class{place}", tuple(f"c{place}/{number:03d}" for number in range(size)))
        for place, size in enumerate(sizes)
    ]


def queries_of(pools: Sequence[Pool]) -> list[tuple[int, str]]:
    return [(pool.class_id, name) for pool in pools for name in reversed(pool.images)]


def published_choice(rng: np.random.RandomState, images: Sequence[str]) -> str:
    return str(rng.choice(images, 1, replace=False)[0])


def published(
    pools: Sequence[Pool], length: int, shots: int, seed: int, *, listed: bool = False
) -> tuple[Rows, float]:
    """`sample_episode` of the published loaders, and what follows.

    Those of deepglobe, isic and lung draw each query; those of fss and pascal have a list.
    """
    rng = np.random.RandomState(seed)
    images = {pool.class_id: pool.images for pool in pools}
    queries = queries_of(pools)
    rows: Rows = []
    for idx in range(length):
        if listed:
            class_id, query_name = queries[idx % len(queries)]
        else:
            class_id = pools[idx % len(pools)].class_id
            query_name = published_choice(rng, images[class_id])
        support_names: list[str] = []
        while True:
            support_name = published_choice(rng, images[class_id])
            if query_name != support_name:
                support_names.append(support_name)
            if len(support_names) == shots:
                break
        rows.append((query_name, tuple(support_names), class_id))
    return rows, rng.random_sample()


def rows_of(episodes: Sequence[Episode]) -> Rows:
    return [(e.query, e.supports, e.class_id) for e in episodes]


SIZES = st.lists(st.integers(2, 40), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


@given(
    sizes=SIZES,
    seed=SEEDS,
    shots=st.integers(1, 6),
    length=st.integers(1, 25),
    listed=st.booleans(),
)
def test_the_draw_is_the_published_one_to_the_last_number(
    sizes: list[int], seed: int, shots: int, length: int, *, listed: bool
) -> None:
    pools, rng = pools_of(*sizes), np.random.RandomState(seed)
    queries = queries_of(pools) if listed else None
    drawn = list(patnet_episodes(pools, queries, length=length, shots=shots, rng=rng))
    expected = published(pools, length, shots, seed, listed=listed)
    assert (rows_of(drawn), rng.random_sample()) == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shots", [1, 5])
def test_a_class_of_thousands_is_drawn_as_published(seed: int, shots: int) -> None:
    pools, rng = pools_of(6891, 1370), np.random.RandomState(seed)
    drawn = list(patnet_episodes(pools, None, length=6, shots=shots, rng=rng))
    assert (rows_of(drawn), rng.random_sample()) == published(pools, 6, shots, seed)


def test_numbered_supports_are_drawn_as_the_published_fss_loader_draws_numbers() -> None:
    pool = Pool(760, "bus", tuple(f"bus/{number}.jpg" for number in range(1, 11)))
    queries = [(760, name) for name in sorted(pool.images)]
    oracle, rng = np.random.RandomState(3), np.random.RandomState(3)
    for episode in patnet_episodes([pool], queries, length=20, shots=5, rng=rng):
        supports: list[str] = []
        while len(supports) < 5:
            number = oracle.choice(range(1, 11), 1, replace=False)[0]
            if f"bus/{number}.jpg" != episode.query:
                supports.append(f"bus/{number}.jpg")
        assert list(episode.supports) == supports


def test_published_supports_may_repeat_but_never_the_query() -> None:
    rng = np.random.RandomState(0)
    drawn = list(patnet_episodes(pools_of(10), None, length=200, shots=5, rng=rng))
    assert all(episode.query not in episode.supports for episode in drawn)
    share = np.mean([len(set(episode.supports)) < 5 for episode in drawn])
    assert 0.6 < share < 0.85


def test_the_global_generator_is_neither_read_nor_advanced() -> None:
    pools = pools_of(9, 5)

    def draw_all() -> list[Sequence[Episode]]:
        rng = np.random.RandomState(0)
        first = list(patnet_episodes(pools, None, length=20, shots=2, rng=rng))
        wrong = wrongly(first, pools)
        return [first, drawn_strictly(pools, length=20), wrong]

    results: list[list[Sequence[Episode]]] = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002  (the stream of the published loaders)
        results.append(draw_all())
        assert np.random.random_sample() == np.random.RandomState(seed).random_sample()  # noqa: NPY002
    assert results[0] == results[1]


@pytest.mark.parametrize("listed", [False, True])
def test_a_class_of_one_image_is_refused(listed: bool) -> None:
    pools = pools_of(5, 1)
    queries = queries_of(pools) if listed else None
    with pytest.raises(DataError) as caught:
        list(patnet_episodes(pools, queries, length=1, shots=1, rng=np.random.RandomState(0)))
    assert caught.value.problem == (
        "class 'class1' has 1 image, at least 2 are needed: another image must serve as support"
    )


# -- strict --------------------------------------------------------------------------------------


def scene_of(name: str) -> str:
    """Two images share a scene: `c0/004` and `c0/005`."""
    folder, _, number = name.partition("/")
    return f"{folder}/{int(number) // 2}"


def drawn_strictly(
    pools: Sequence[Pool],
    *,
    length: int,
    shots: int = 1,
    seed: int = 0,
    listed: bool = False,
    domain: str = "tested",
    scene: Callable[[str], str] = str,
    empty: frozenset[str] = frozenset(),
) -> list[Episode]:
    queries = queries_of(pools) if listed else None
    return list(
        strict_episodes(
            pools,
            queries,
            length=length,
            shots=shots,
            seed=seed,
            domain=domain,
            scene=scene,
            usable=lambda _class_id, name: name not in empty,
        )
    )


STRICT = {
    "sizes": st.lists(st.integers(8, 20), min_size=1, max_size=4),
    "shots": st.integers(1, 5),
    "seed": st.integers(0, 1000),
    "listed": st.booleans(),
}


@given(**STRICT, scene=st.sampled_from([str, scene_of]))
def test_strict_supports_are_distinct_and_of_other_scenes_than_the_query(
    sizes: list[int], shots: int, seed: int, scene: Callable[[str], str], *, listed: bool
) -> None:
    pools = pools_of(*sizes)
    drawn = drawn_strictly(pools, length=30, shots=shots, seed=seed, listed=listed, scene=scene)
    assert len(drawn) == 30
    images = {pool.class_id: set(pool.images) for pool in pools}
    for episode in drawn:
        assert len(set(episode.supports)) == shots
        assert {episode.query, *episode.supports} <= images[episode.class_id]
        assert scene(episode.query) not in map(scene, episode.supports)
        assert episode.support_class_id == episode.class_id


@given(**STRICT)
def test_all_images_of_a_class_are_asked_once_before_one_is_asked_again(
    sizes: list[int], shots: int, seed: int, *, listed: bool
) -> None:
    pools = pools_of(*sizes)
    length = 3 * sum(sizes)
    drawn = drawn_strictly(pools, length=length, shots=shots, seed=seed, listed=listed)
    for pool in pools:
        asked = [episode.query for episode in drawn if episode.class_id == pool.class_id]
        size = len(pool.images)
        for begin in range(0, len(asked), size):
            once = asked[begin : begin + size]
            assert len(set(once)) == len(once)


def test_strict_queries_follow_the_list() -> None:
    pools = pools_of(4, 3)
    drawn = drawn_strictly(pools, length=10, listed=True)
    expected = [*queries_of(pools), *queries_of(pools)][:10]
    assert [(episode.class_id, episode.query) for episode in drawn] == expected


@given(**STRICT, empties=st.sets(st.integers(0, 7), min_size=1, max_size=2))
def test_images_with_an_empty_mask_are_never_used(
    sizes: list[int], shots: int, seed: int, empties: set[int], *, listed: bool
) -> None:
    pools = pools_of(*sizes)
    empty = frozenset(f"c{place}/{n:03d}" for place in range(len(sizes)) for n in empties)
    drawn = drawn_strictly(pools, length=40, shots=shots, seed=seed, listed=listed, empty=empty)
    used = {name for episode in drawn for name in (episode.query, *episode.supports)}
    assert not used & empty
    for pool in pools:
        usable = [name for name in pool.images if name not in empty]
        times = Counter(episode.query for episode in drawn if episode.class_id == pool.class_id)
        counts = [times[name] for name in usable]
        assert max(counts) - min(counts) <= 1


@given(sizes=STRICT["sizes"], seed=STRICT["seed"], listed=STRICT["listed"])
def test_one_shot_is_the_beginning_of_five_shot(
    sizes: list[int], seed: int, *, listed: bool
) -> None:
    empty = frozenset({"c0/001"})
    one, five = (
        drawn_strictly(
            pools_of(*sizes), length=40, shots=shots, seed=seed, listed=listed, empty=empty
        )
        for shots in (1, 5)
    )
    assert [e.query for e in one] == [e.query for e in five]
    assert [e.supports for e in one] == [e.supports[:1] for e in five]


@pytest.mark.parametrize("listed", [False, True])
def test_a_shorter_strict_draw_is_the_beginning_of_a_longer_one(listed: bool) -> None:
    pools = pools_of(9, 12)
    long = drawn_strictly(pools, length=60, shots=2, listed=listed)
    assert drawn_strictly(pools, length=25, shots=2, listed=listed) == long[:25]


def test_a_strict_draw_depends_on_seed_and_domain_alone() -> None:
    pools = pools_of(12, 12)
    first = drawn_strictly(pools, length=24, seed=3)
    assert drawn_strictly(pools, length=24, seed=3) == first
    assert drawn_strictly(pools, length=24, seed=3, domain="another") != first
    draws = [drawn_strictly(pools, length=24, seed=seed) for seed in range(5)]
    assert all(one != other for one, other in pairwise(draws))
    assert len({tuple(draw) for draw in draws}) == 5


def test_the_strict_draw_of_a_class_does_not_depend_on_the_others() -> None:
    alone = drawn_strictly(pools_of(9), length=10)
    beside = drawn_strictly(pools_of(9, 15), length=20)
    assert [episode for episode in beside if episode.class_id == 7] == alone


def test_the_strict_draw_changes_only_with_the_version_of_the_sampler() -> None:
    assert SAMPLER_VERSION == 1
    assert rows_of(drawn_strictly(pools_of(5, 4), length=4, shots=2)) == [
        ("c0/004", ("c0/003", "c0/001"), 7),
        ("c1/003", ("c1/000", "c1/002"), 8),
        ("c0/002", ("c0/004", "c0/000"), 7),
        ("c1/001", ("c1/003", "c1/000"), 8),
    ]


def test_strict_refuses_a_class_with_too_few_images() -> None:
    with pytest.raises(DataError) as caught:
        drawn_strictly(pools_of(8, 5), length=1, shots=5)
    assert caught.value.problem == (
        "class 'class1' has 5 images, at least 6 are needed: 5-shot needs 5 others beside a query"
    )


def test_strict_refuses_a_class_whose_other_scenes_are_too_few() -> None:
    with pytest.raises(DataError) as caught:
        drawn_strictly(pools_of(6), length=6, shots=5, scene=scene_of)
    assert caught.value.problem.startswith(
        "class 'class0' of tested has fewer than 5 usable images outside the scene of c0/"
    )
    assert caught.value.hint == "use --protocol patnet, or fewer shots"


# -- wrong supports ------------------------------------------------------------------------------


def asked(pools: Sequence[Pool], *, length: int, shots: int) -> list[Episode]:
    rng = np.random.RandomState(0)
    return list(patnet_episodes(pools, None, length=length, shots=shots, rng=rng))


def wrongly(
    episodes: Sequence[Episode],
    pools: Sequence[Pool],
    *,
    seed: int = 0,
    domain: str = "tested",
    scene: Callable[[str], str] = str,
    empty: frozenset[str] = frozenset(),
) -> tuple[Episode, ...]:
    return with_wrong_supports(
        episodes,
        pools,
        seed=seed,
        domain=domain,
        scene=scene,
        usable=lambda _class_id, name: name not in empty,
    )


def test_wrong_supports_are_never_of_the_scene_of_the_query_or_empty() -> None:
    pools = [Pool(c, str(c), tuple(f"{n}/{c}" for n in range(6))) for c in (0, 1)]
    empty = frozenset({"2/0", "3/1"})
    episodes = asked(pools, length=60, shots=2)
    wrong = wrongly(episodes, pools, scene=lambda name: name[0], empty=empty)
    assert all(name[0] != e.query[0] for e in wrong for name in e.supports)
    assert {name for e in wrong for name in e.supports} == {
        name for pool in pools for name in pool.images
    } - empty


@given(
    sizes=st.lists(st.integers(2, 9), min_size=2, max_size=5),
    shots=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_wrong_supports_are_of_one_other_class_and_the_queries_stay(
    sizes: list[int], shots: int, seed: int
) -> None:
    pools = pools_of(*sizes)
    images = {pool.class_id: set(pool.images) for pool in pools}
    episodes = asked(pools, length=20, shots=shots)
    wrong = wrongly(episodes, pools, seed=seed)
    assert [(e.query, e.class_id) for e in wrong] == [(e.query, e.class_id) for e in episodes]
    for episode in wrong:
        assert episode.support_class_id != episode.class_id
        assert len(episode.supports) == shots
        assert set(episode.supports) <= images[episode.support_class_id]


def test_wrong_supports_are_distinct_where_the_class_has_enough() -> None:
    pools = pools_of(8, 9)
    for episode in wrongly(asked(pools, length=40, shots=5), pools):
        assert len(set(episode.supports)) == 5


def test_all_other_classes_serve_as_wrong_ones() -> None:
    pools = pools_of(8, 8, 8)
    wrong = wrongly(asked(pools, length=60, shots=1), pools)
    pairs = {(episode.class_id, episode.support_class_id) for episode in wrong}
    assert pairs == {(a, b) for a in (7, 8, 9) for b in (7, 8, 9) if a != b}


def test_an_image_of_two_classes_is_not_its_own_wrong_support() -> None:
    shared = tuple(f"both/{number}" for number in range(4))
    pools = [Pool(0, "first", shared), Pool(1, "second", shared)]
    wrong = wrongly(asked(pools, length=40, shots=3), pools)
    assert all(episode.query not in episode.supports for episode in wrong)


def test_wrong_supports_depend_on_seed_and_domain_alone() -> None:
    pools = pools_of(9, 9, 9)
    episodes = asked(pools, length=30, shots=1)
    first = wrongly(episodes, pools)
    assert wrongly(episodes, pools) == first
    assert wrongly(episodes, pools, seed=1) != first
    assert wrongly(episodes, pools, domain="another") != first


def test_a_domain_of_one_class_has_no_wrong_supports() -> None:
    pools = pools_of(9)
    with pytest.raises(DataError) as caught:
        wrongly(asked(pools, length=3, shots=1), pools, domain="chestxray")
    assert caught.value.problem == (
        "chestxray has one class, so there is no support of a wrong class"
    )
