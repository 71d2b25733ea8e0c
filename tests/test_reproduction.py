"""`docs/reproduction.md` shows what the records and `published.csv` say."""

from __future__ import annotations

import pytest

from .support.reproduction import shown, tables


def test_the_tables_of_the_page_are_those_of_the_records() -> None:
    # `python -m tests.support.reproduction` writes them anew.
    assert shown() == tables()


@pytest.mark.parametrize(("name", "lines"), [("resnet", 8), ("vit", 8), ("apm", 10), ("freeze", 3)])
def test_no_table_lost_a_line(name: str, lines: int) -> None:
    assert len(shown()[name].splitlines()) >= lines + 2
