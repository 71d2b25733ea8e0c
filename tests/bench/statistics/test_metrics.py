"""Counts and metrics against ten lines of numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cdfss_bench.bench.evaluation.pixel_counts import count
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.statistics.metrics import measure


def masks(seed: int, count: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 2, (count, 9, 11), dtype=np.uint8)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_counts_are_set_sizes(seed: int, with_ignore: bool) -> None:
    predicted, truth = masks(seed), masks(seed + 1)
    ignore = masks(seed + 2) if with_ignore else None
    counts = count(
        torch.from_numpy(predicted),
        torch.from_numpy(truth),
        None if ignore is None else torch.from_numpy(ignore),
    )
    for i, counted in enumerate(counts):
        valid = np.ones_like(truth[i], bool) if ignore is None else ignore[i] == 0
        p, t = predicted[i][valid] == 1, truth[i][valid] == 1
        assert counted == Counts((p & t).sum(), (p | t).sum(), (~p & ~t).sum(), (~p | ~t).sum())


@pytest.mark.parametrize("bad", [torch.zeros(1, 4, 4), torch.full((1, 4, 4), 2).to(torch.uint8)])
def test_only_zero_and_one_are_masks(bad: torch.Tensor) -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="must be uint8 of 0 and 1"):
        count(bad, truth)


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        count(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 5, dtype=torch.uint8))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99)), min_size=1, max_size=40))
def test_miou_pools_per_class_before_it_averages(episodes: list[tuple[int, int]]) -> None:
    classes = [c for c, _ in episodes]
    counts = count(*(torch.from_numpy(masks(len(episodes) + s, len(episodes))) for s in (0, 7)))
    found = measure(classes, counts)
    expected = [
        100
        * sum(n.inter for n, c in zip(counts, classes, strict=True) if c == k)
        / max(1, sum(n.union for n, c in zip(counts, classes, strict=True) if c == k))
        for k in sorted(set(classes))
    ]
    assert found.miou == pytest.approx(np.mean(expected))
    assert list(found.per_class.values()) == pytest.approx(expected)
    assert found.macro_iou == pytest.approx(np.mean([100 * n.inter / n.union for n in counts]))


def test_a_class_without_episodes_counts_zero_only_when_it_is_expected() -> None:
    counts = [Counts(5, 10, 80, 95)]
    assert measure([1], counts).miou == 50
    assert measure([1], counts, expected=[0, 1]).miou == 25


def test_metrics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        measure([], [])


def test_sums_are_exact_where_float32_is_not() -> None:
    # 200 episodes of 400x400 pass 2**24, beyond which float32 no longer counts single pixels.
    counts = [Counts(159_999, 160_000, 0, 1)] * 200
    assert measure([0] * 200, counts).per_class[0] == pytest.approx(99.999375, abs=1e-9)
