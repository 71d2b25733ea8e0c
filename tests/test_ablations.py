"""`docs/ablations.md` shows what the records and `published.csv` say."""

import pytest

from cdfss_bench.bench.diagnose.spread import Range

from .support.ablations import shown, tables, verdict_of


def test_the_tables_of_the_page_are_those_of_the_records() -> None:
    # `python -m tests.support.ablations` writes them anew.
    assert shown() == tables()


@pytest.mark.parametrize(("name", "lines"), [("resnet", 8), ("vit", 8), ("apm", 2), ("freeze", 3)])
def test_no_table_lost_a_line(name: str, lines: int) -> None:
    assert len(shown()[name].splitlines()) >= lines + 2


@pytest.mark.parametrize(
    ("paper", "ours", "verdict"),
    [
        (1.0, Range(1.5, 0.5, 2.5), "sign and size"),
        (3.0, Range(1.5, 0.5, 2.5), "sign"),
        (-1.0, Range(-1.5, -2.5, -0.5), "sign and size"),
        (1.0, Range(-1.5, -2.5, -0.5), "the contrary"),
        (1.0, Range(0.5, -0.5, 1.5), "not shown"),
        (1.0, Range(0.5, float("nan"), float("nan")), "not shown"),
        (None, Range(1.5, 0.5, 2.5), "–"),
    ],
)
def test_a_difference_reproduces_only_where_the_interval_says_so(
    paper: float | None, ours: Range, verdict: str
) -> None:
    assert verdict_of(paper, ours) == verdict
