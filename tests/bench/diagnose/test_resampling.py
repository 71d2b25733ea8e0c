"""Intervals from few episodes: mIoU is the tables' mIoU, and the intervals hold what they say."""

import numpy as np
import pytest

from cdfss_bench.bench.diagnose.resampling import paired, share_range
from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.datasets import Episode


def rows(
    rng: np.random.RandomState, *, gain: float = 0.0, ease: np.ndarray | None = None
) -> list[EpisodeRow]:
    """30 episodes of six classes; `ease` is what two conditions share."""
    made: list[EpisodeRow] = []
    easy = rng.uniform(0.2, 0.8, 30) if ease is None else ease
    for i in range(30):
        iou = float(np.clip(easy[i] + gain + 0.05 * rng.standard_normal(), 0, 1))
        episode = Episode(f"q{i}", ("s",), i % 6)
        made.append(EpisodeRow(i, episode, Counts(round(1000 * iou), 1000, 0, 0)))
    return made


def test_the_value_is_the_tables_miou() -> None:
    found = rows(np.random.RandomState(0))
    expected = measure([r.episode.class_id for r in found], [r.counts for r in found]).miou
    estimate = paired({"a": found}).of("a")
    assert estimate.estimate == pytest.approx(expected)
    assert estimate.low < expected < estimate.high


def test_the_interval_of_a_difference_holds_the_truth_and_is_paired() -> None:
    held = clear = 0
    for seed in range(100):
        rng = np.random.RandomState(seed)
        ease = rng.uniform(0.2, 0.8, 30)
        both = paired({"a": rows(rng, ease=ease), "b": rows(rng, ease=ease, gain=0.05)})
        gain = both.gain("b", "a")
        held += gain.low <= 5 <= gain.high
        clear += gain.excludes_zero
    # About 0.5 sqrt(2) / sqrt(30) points wide; unpaired it would be 30 times that.
    assert held >= 88
    assert clear >= 90


def test_equal_conditions_differ_by_nothing() -> None:
    found = rows(np.random.RandomState(0))
    gain = paired({"a": found, "b": found}).gain("b", "a")
    assert (gain.estimate, gain.low, gain.high) == (0, 0, 0)
    assert not gain.excludes_zero


def test_other_episodes_cannot_be_paired() -> None:
    found = rows(np.random.RandomState(0))
    with pytest.raises(ValueError, match="same episodes"):
        paired({"a": found, "b": found[:-1]})
    with pytest.raises(ValueError, match="same episodes"):
        paired({})


def test_a_share_has_an_interval_even_at_its_ends() -> None:
    # Wilson (1927), score interval of 9 in 10 and of 10 in 10.
    most = share_range([True] * 9 + [False])
    assert (most.low, most.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    every = share_range([True] * 10)
    assert (every.estimate, every.high) == (1, pytest.approx(1))
    assert every.low == pytest.approx(0.7225, abs=1e-4)
    with pytest.raises(ValueError, match="nothing"):
        share_range([])


def test_intervals_for_many_differences_at_once_are_wider_and_miss_none_that_is_large() -> None:
    rng = np.random.RandomState(1)
    ease = rng.uniform(0.3, 0.7, 30)
    conditions = {"a": rows(rng, ease=ease), "good": rows(rng, ease=ease, gain=0.1)}
    conditions |= {f"noise {i}": rows(rng, ease=ease) for i in range(20)}
    both = paired(conditions)
    names = list(conditions)[1:]
    found = dict(zip(names, both.gains_at_once(names, "a"), strict=True))
    assert found["good"].low > 0
    alone = both.gain("good", "a")
    assert found["good"].high - found["good"].low > alone.high - alone.low
    assert not any(found[f"noise {i}"].excludes_zero for i in range(20))


def test_few_images_have_no_interval_and_nothing_is_sure() -> None:
    found = rows(np.random.RandomState(0))[:4]
    better = rows(np.random.RandomState(0), gain=0.2)[:4]
    both = paired({"a": found, "b": better})
    assert both.gain("b", "a").estimate > 10
    assert np.isnan(both.gain("b", "a").low)
    assert not both.gain("b", "a").excludes_zero
    assert not both.gains_at_once(["b"], "a")[0].excludes_zero
