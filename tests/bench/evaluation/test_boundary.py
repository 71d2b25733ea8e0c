"""Boundary measures against their definitions, written out over all pairs of pixels."""

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from cdfss_bench.bench.evaluation.boundary import boundary_measures
from cdfss_bench.bench.records.boundary import Boundary
from cdfss_bench.bench.records.counts import Counts

Mask = NDArray[np.uint8]
Pixel = tuple[int, int]


def square(row: int, column: int, side: int, *, size: int = 32) -> Mask:
    mask = np.zeros((size, size), np.uint8)
    mask[row : row + side, column : column + side] = 1
    return mask


def drawn(seed: int, density: float) -> Mask:
    return (np.random.default_rng(seed).random((17, 23)) < density).astype(np.uint8)


def foreground(mask: Mask) -> set[Pixel]:
    return {(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]}


def outline(mask: Mask) -> list[Pixel]:
    inside = foreground(mask)
    steps = ((0, 1), (0, -1), (1, 0), (-1, 0))
    return [(y, x) for y, x in inside if any((y + a, x + b) not in inside for a, b in steps)]


def nearest(points: list[Pixel], others: list[Pixel]) -> list[float]:
    return [min(math.dist(point, other) for other in others) for point in points]


def band(mask: Mask) -> set[Pixel]:
    inside = foreground(mask)
    reach = max(1, round(0.02 * math.hypot(*mask.shape)))
    around = [(a, b) for a in range(-reach, reach + 1) for b in range(-reach, reach + 1)]
    return {(y, x) for y, x in inside if any((y + a, x + b) not in inside for a, b in around)}


def by_definition(predicted: Mask, truth: Mask, tolerance: float) -> Boundary:
    there = nearest(outline(predicted), outline(truth))
    back = nearest(outline(truth), outline(predicted))
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    near = [distance <= tolerance for distance in (*there, *back)]
    ours, theirs = band(predicted), band(truth)
    share = 100 * len(ours & theirs) / len(ours | theirs)
    nsd = 100 * sum(near) / len(near)
    return Boundary(tolerance, round(float(hd95), 4), round(nsd, 4), round(share, 4))


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("densities", [(0.1, 0.5), (0.5, 0.5), (0.9, 0.98)])
def test_measures_are_those_of_the_definitions(
    densities: tuple[float, float], tolerance: float
) -> None:
    predicted, truth = (drawn(seed, density) for seed, density in enumerate(densities))
    found = boundary_measures(predicted, truth, tolerance)
    assert found == by_definition(predicted, truth, tolerance)
    assert boundary_measures(truth, predicted, tolerance) == found


def test_band_of_large_images_is_several_pixels_wide() -> None:
    large, small = square(20, 20, 100, size=150), square(24, 24, 92, size=150)
    # 2 % of a diagonal of 212 pixels is 4: the bands meet nowhere.
    assert boundary_measures(large, small).boundary_iou == 0
    assert boundary_measures(large, square(23, 23, 94, size=150)).boundary_iou == pytest.approx(
        100 * (94**2 - 92**2) / (100**2 - 86**2), abs=1e-4
    )


@pytest.mark.parametrize("distance", [1, 3, 8])
def test_a_shifted_square_has_the_shift_as_hd95(distance: int) -> None:
    found = boundary_measures(square(8, 4, 10), square(8, 4 + distance, 10), 2)
    assert found.hd95 == distance
    assert (found.nsd == 100) == (distance <= 2)


def test_identical_masks_are_perfect_up_to_the_edge_of_the_image() -> None:
    for mask in (square(0, 0, 10), square(5, 5, 1), np.ones((32, 32), np.uint8)):
        assert boundary_measures(mask, mask, 0) == Boundary(0, 0.0, 100.0, 100.0)


def test_empty_masks_leave_measures_undefined() -> None:
    empty, full = np.zeros((32, 32), np.uint8), square(4, 4, 8)
    assert boundary_measures(empty, empty) == Boundary(2.0, None, None, None)
    assert boundary_measures(empty, full) == Boundary(2.0, None, 0.0, 0.0)
    assert boundary_measures(full, empty) == Boundary(2.0, None, 0.0, 0.0)


def test_undecided_pixels_change_nothing() -> None:
    truth, void = square(8, 8, 10), square(6, 6, 14) - square(8, 8, 10)
    wider = square(7, 7, 12)
    assert boundary_measures(wider, truth).nsd == 100
    assert boundary_measures(wider, truth, 0).nsd == 0
    assert boundary_measures(wider, truth, 0, void) == Boundary(0, 0.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("boundary", "counts", "fits"),
    [
        (Boundary(2.0, 3.0, 50.0, 20.0), Counts(5, 9, 91, 95), True),
        (Boundary(2.0, None, 0.0, 0.0), Counts(0, 9, 91, 100), True),
        (Boundary(2.0, None, None, None), Counts(0, 0, 100, 100), True),
        (Boundary(2.0, 0.0, 100.0, 100.0), Counts(9, 9, 91, 91), True),
        (Boundary(2.0, 3.0, 50.0, 20.0), Counts(9, 9, 91, 91), False),
        (Boundary(2.0, 0.0, 100.0, 100.0), Counts(0, 0, 100, 100), False),
        (Boundary(2.0, None, 0.0, 0.0), Counts(5, 9, 91, 95), False),
        (Boundary(2.0, None, 50.0, 0.0), Counts(0, 9, 91, 100), False),
        (Boundary(2.0, 3.0, None, 20.0), Counts(5, 9, 91, 95), False),
        (Boundary(2.0, 15.0, 50.0, 20.0), Counts(5, 9, 91, 95), False),
        (Boundary(2.0, -1.0, 50.0, 20.0), Counts(5, 9, 91, 95), False),
        (Boundary(2.0, 3.0, 101.0, 20.0), Counts(5, 9, 91, 95), False),
    ],
)
def test_measures_that_contradict_the_counts_do_not_fit(
    boundary: Boundary, counts: Counts, fits: object
) -> None:
    assert boundary.fit(counts, side=10) is fits


def test_an_episode_takes_a_few_milliseconds() -> None:
    y, x = np.mgrid[:400, :400]
    disks = [
        ((x - centre) ** 2 + (y - centre) ** 2 < radius**2).astype(np.uint8)
        for centre, radius in ((200, 100), (210, 120))
    ]
    spent: list[float] = []
    for _ in range(5):
        began = time.process_time()
        boundary_measures(*disks)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.015
