"""The ranking of causes, and the verdict over them."""

import math

import pytest

from cdfss_bench.bench.diagnose.causes import Cause, at_once, ranked, verdict
from cdfss_bench.bench.diagnose.curve import MEAN, causes, summarised
from cdfss_bench.bench.diagnose.frames import frame
from cdfss_bench.bench.diagnose.spread import Range

SMALL = Cause("freeze", "small", Range(1.0, 0.2, 1.8))
LARGE = Cause("curve", "large", Range(5.0, 0.1, 9.9))
UNSURE = Cause("lcm", "unsure", Range(20.0, -1.0, 41.0))
WITHOUT = Cause("frequency", "without interval", Range(30.0, math.nan, math.nan))
FAR = Cause("features", "far", Range(40.0, 36.0, 44.0), "% missing")
NEAR = Cause("cka", "near", Range(0.5, 0.1, 0.9), "of the range")


def test_sure_points_come_first_then_other_units_then_the_unsure() -> None:
    order = ranked([UNSURE, NEAR, SMALL, WITHOUT, FAR, LARGE])
    assert [cause.name for cause in order] == [
        "large",
        "small",
        "far",
        "near",
        "without interval",
        "unsure",
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([UNSURE, LARGE], "largest significant cause is: large"),
        ([FAR, UNSURE], "none of them measured in points"),
        ([UNSURE], "None of 1 possible causes"),
        ([], "No kind of diagnosis"),
        ([Cause("curve", "unknown", Range(math.nan, math.nan, math.nan))], "No kind of diagnosis"),
    ],
)
def test_the_first_sentence_says_what_can_be_concluded(found: list[Cause], told: str) -> None:
    assert told in verdict(found)[0]


def test_the_interval_of_a_chosen_number_is_widened() -> None:
    alone = Range(1.0, 0.0, 2.0)
    assert at_once(alone, 1) == alone
    # The 97.5 % and the 99.875 % quantile of the normal distribution: 1.960 and 3.023.
    assert at_once(alone, 20).low == pytest.approx(1 - 3.0233 / 1.95996, abs=1e-3)


def test_a_fall_after_the_peak_is_a_cause_and_a_rise_is_none() -> None:
    def of(values: list[list[float]]) -> Cause:
        rows = [
            {"variant": "own", "seed": seed, "domain": MEAN, "epochs": epochs, "miou": miou}
            for seed, line in enumerate(values)
            for epochs, miou in enumerate(line)
        ]
        return causes(summarised(frame(rows)))[0]

    assert of([[10, 30, 20], [11, 31, 22], [10, 32, 21]]).is_sure
    assert not of([[10, 20, 30], [11, 22, 31], [10, 21, 32]]).is_sure
