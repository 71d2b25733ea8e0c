"""Intervals hold what they promise, tests err as rarely as they say: shown by simulation."""

import math

import numpy as np
import pytest

from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.statistics.bootstrap import resampled, together
from cdfss_bench.bench.statistics.clusters import Clusters, clustered
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.bench.statistics.permutation import difference, holm, p_value, swapped
from cdfss_bench.datasets import Episode
from cdfss_bench.errors import RecordError

from ...support.simulated_domains import World

PROTOCOLS = ("fss1000", "deepglobe", "isic", "chestxray")


def rows_of(*asked: tuple[str, int, int, int]) -> list[EpisodeRow]:
    return [
        EpisodeRow(i, Episode(query, ("s",), class_id), Counts(inter, union, 1, 2))
        for i, (query, class_id, inter, union) in enumerate(asked)
    ]


def only_first(clusters: Clusters) -> Clusters:
    counts = tuple(table[:, :1] for table in clusters.counts)
    return Clusters(clusters.class_ids, clusters.queries, counts)


def coverage(world: World, *, runs: int, resamples: int) -> float:
    expected = world.expected(3 * runs)
    rng = np.random.RandomState(5)
    hits = 0
    for seed in range(runs):
        found = resampled(world.draw(rng), resamples=resamples, seed=seed)
        assert found is not None
        hits += found.mean.low <= expected <= found.mean.high
    return 100 * hits / runs


def rejections(world: World, *, runs: int, permutations: int) -> float:
    rng = np.random.RandomState(6)
    hits = 0
    for seed in range(runs):
        drawn = world.draw(rng, methods=2)
        under_null = swapped(drawn, permutations=permutations, seed=seed)
        hits += p_value(difference(drawn), under_null) <= 0.05
    return 100 * hits / runs


@pytest.mark.parametrize("structure", ["a quarter of fss1000", "deepglobe", "isic", "chestxray"])
def test_an_interval_of_95_percent_holds_the_truth_about_95_times_in_100(structure: str) -> None:
    # 80 runs know a coverage to 2.4 points; the long version below knows it to 0.6.
    assert 88 <= coverage(World(structure), runs=80, resamples=149) <= 100


@pytest.mark.parametrize(
    ("structure", "swapped"), [("a quarter of fss1000", True), ("isic", False), ("isic", True)]
)
def test_equal_methods_are_seldom_called_different(structure: str, *, swapped: bool) -> None:
    assert rejections(World(structure, swapped=swapped), runs=120, permutations=199) <= 10


@pytest.mark.long
@pytest.mark.parametrize("structure", PROTOCOLS)
def test_coverage_is_93_to_97_percent(structure: str) -> None:
    assert 93 <= coverage(World(structure), runs=1500, resamples=499) <= 97


@pytest.mark.long
@pytest.mark.parametrize(
    ("structure", "swapped"),
    [*((name, False) for name in PROTOCOLS), ("fss1000", True), ("deepglobe", True)],
)
def test_false_positives_are_at_most_6_percent(structure: str, *, swapped: bool) -> None:
    assert rejections(World(structure, swapped=swapped), runs=3000, permutations=499) <= 6


def test_the_estimate_is_the_metric_of_the_rows() -> None:
    rng = np.random.RandomState(3)
    rows = [
        EpisodeRow(
            i, Episode(f"q{rng.randint(40)}", ("s",), i % 3), Counts(int(a), int(a + b), 1, 2)
        )
        for i, (a, b) in enumerate(rng.randint(0, 900, (300, 2)))
    ]
    metrics = measure([row.episode.class_id for row in rows], [row.counts for row in rows])
    found = resampled(clustered([rows]), resamples=50)
    assert found is not None
    assert found.mean.estimate == pytest.approx(metrics.miou)
    assert [c.estimate for c in found.classes] == pytest.approx(list(metrics.per_class.values()))
    assert found.mean.low < metrics.miou < found.mean.high


def test_exchanging_every_image_turns_the_sign() -> None:
    clusters = World("isic").draw(np.random.RandomState(1), methods=4)
    turned = tuple(np.roll(table, 2, axis=1) for table in clusters.counts)
    other = Clusters(clusters.class_ids, clusters.queries, turned)
    assert difference(other) == pytest.approx(-difference(clusters))
    under_null = swapped(clusters, permutations=400)
    assert abs(under_null.mean()) < 0.3
    one_image = clustered(
        [rows_of(("q", 0, 1, 2)), rows_of(("q", 0, 2, 4)), *[rows_of(("q", 0, 1, 4))] * 2]
    )
    assert set(np.round(swapped(one_image, permutations=50), 6)) == {-25.0, 25.0}


def test_repeating_every_query_narrows_nothing() -> None:
    # The same image asked twice is no second image.
    rng = np.random.RandomState(4)
    asked = [
        (f"q{i}", i % 2, int(a), int(a + b)) for i, (a, b) in enumerate(rng.randint(1, 99, (60, 2)))
    ]
    once = resampled(clustered([rows_of(*asked)]), resamples=300)
    twice = resampled(clustered([rows_of(*asked, *asked)]), resamples=300)
    assert once is not None
    assert twice is not None
    assert twice.mean.low == pytest.approx(once.mean.low)
    assert twice.mean.high == pytest.approx(once.mean.high)


def test_the_interval_is_drawn_from_a_seed_and_not_from_the_order_of_rows() -> None:
    rows = rows_of(*((f"q{i}", i % 3, i, 2 * i + 1) for i in range(60)))
    np.random.seed(1)  # noqa: NPY002  (the global state must not matter)
    first = resampled(clustered([rows]), resamples=200)
    np.random.seed(2)  # noqa: NPY002
    assert first is not None
    again = resampled(clustered([rows[::-1]]), resamples=200)
    other = resampled(clustered([rows]), resamples=200, seed=1)
    assert again is not None
    assert other is not None
    assert again.mean == first.mean
    assert other.mean != first.mean


def test_a_class_with_four_images_gives_no_interval() -> None:
    many = [(f"q{i}", 0, i, 100) for i in range(30)]
    few = [(f"q{i}", 1, i, 100) for i in range(4)]
    assert resampled(clustered([rows_of(*many, *few)])) is None
    assert resampled(clustered([rows_of(*many)]), resamples=50) is not None


def test_seeds_that_ask_one_image_each_give_no_interval() -> None:
    seeds = [rows_of((f"q{seed}", 0, 10 * seed, 100)) for seed in range(6)]
    assert resampled(clustered(seeds)) is None
    longer = [rows_of(*((f"q{i}", 0, i, 100) for i in range(s, s + 5))) for s in range(6)]
    found = resampled(clustered(longer), resamples=50)
    assert found is not None
    assert found.mean.error > 0


@pytest.mark.parametrize("iou", [0, 100])
def test_no_spread_gives_no_width(iou: int) -> None:
    rows = rows_of(*((f"q{i}", 0, iou, 100) for i in range(20)))
    found = resampled(clustered([rows]), resamples=50)
    assert found is not None
    assert (found.mean.low, found.mean.high, found.mean.error) == (iou, iou, 0)
    both = clustered([rows, rows])
    assert p_value(difference(both), swapped(both, permutations=99)) == 1


def test_an_interval_stays_inside_what_is_possible() -> None:
    rows = rows_of(*((f"q{i}", 0, 100 if i else 0, 100) for i in range(6)))
    found = resampled(clustered([rows]), resamples=500)
    assert found is not None
    assert found.mean.high == 100


def test_a_real_difference_is_found_and_its_interval_does_not_hold_zero() -> None:
    clusters = World("isic").draw(np.random.RandomState(7), methods=2)
    for table in clusters.counts:
        table[:, 1, 0] = table[:, 0, 0] * 95 // 100
        table[:, 1, 1] = table[:, 0, 1]
    assert p_value(difference(clusters), swapped(clusters)) < 0.001
    found = resampled(clusters, (1, -1), resamples=500)
    assert found is not None
    assert found.mean.low > 0


def test_pairing_narrows_the_difference() -> None:
    clusters = World("isic").draw(np.random.RandomState(8), methods=2)
    paired = resampled(clusters, (1, -1), resamples=300)
    alone = resampled(only_first(clusters), resamples=300)
    assert paired is not None
    assert alone is not None
    assert paired.mean.error < 1.2 * alone.mean.error  # unpaired it would be 1.41


def test_domains_are_averaged_as_independent_samples() -> None:
    drawn = [World("isic").draw(np.random.RandomState(seed)) for seed in (1, 2)]
    parts = [resampled(clusters, resamples=400) for clusters in drawn]
    known = [part for part in parts if part is not None]
    both = together(known)
    assert both.estimate == pytest.approx(np.mean([part.mean.estimate for part in known]))
    assert both.error == pytest.approx(math.hypot(*(part.mean.error for part in known)) / 2)
    widths = [part.mean.high - part.mean.low for part in known]
    assert (both.high - both.low) < min(widths)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def test_runs_that_ask_other_classes_are_refused() -> None:
    with pytest.raises(RecordError, match="do not ask the same classes"):
        clustered([rows_of(("q", 0, 1, 2)), rows_of(("q", 1, 1, 2))])
    with pytest.raises(RecordError, match="no episodes"):
        clustered([[]])
