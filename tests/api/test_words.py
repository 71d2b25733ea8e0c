"""Tests of numbers with their unit."""

import pytest

from cdfss_bench.words import readable_size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (34_560_000, "34.6 MB"),
        (12_300_000_000, "12.3 GB"),
        (4_000_000_000_000, "4,000.0 GB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits(number: int, text: str) -> None:
    assert readable_size(number) == text
