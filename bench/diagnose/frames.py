"""Tables: made of rows, asked by the values of their columns, and what sentences say of a row."""

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from .spread import Range, range_of

Frame: TypeAlias = Any
"""A `pandas.DataFrame`; pandas ships no types."""


def frame(rows: Any, columns: list[str] | None = None) -> Frame:
    """A table of rows, opaque to the type checker."""
    return pd.DataFrame(rows, columns=columns)


def rows_where(table: Frame, **wanted: object) -> Frame:
    """The rows whose columns hold the wanted values."""
    chosen = pd.Series(data=True, index=table.index, dtype=bool)
    for column, value in wanted.items():
        chosen &= table[column] == value
    return table.loc[chosen]


def row_where(table: pd.DataFrame, **wanted: object) -> Any:
    """The only row whose columns hold the wanted values.

    Raises:
        ValueError: if there is not exactly one.
    """
    found = rows_where(table, **wanted)
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows have {wanted}")
    return found.iloc[0]


def names_in(table: pd.DataFrame, column: str) -> list[str]:
    """The values of a column, each once, in their order."""
    return list(dict.fromkeys(str(value) for value in table[column]))


def largest(table: pd.DataFrame, values: Any) -> Any:
    """The row with the largest of `values`, a number for each; one that is none counts last."""
    found = np.asarray(values, np.float64)
    return table.iloc[int(np.argmax(np.where(np.isnan(found), -np.inf, found)))]


def range_in(row: Any, name: str, *, scale: float = 1.0, digits: int = 2) -> Range:
    """The columns `NAME`, `NAME_low`, `NAME_high` of a row, rounded so that no zero has a sign."""
    found = range_of(row, name)
    ends = (found.estimate, found.low, found.high)
    return Range(*(round(scale * end, digits) + 0.0 for end in ends))


def percent_in(row: Any, name: str) -> str:
    """`46 [36, 56] %` of a share in such columns."""
    found = range_in(row, name, scale=100)
    low, high = (float(np.clip(end, 0, 100)) for end in (found.low, found.high))
    return f"{Range(found.estimate, low, high).text('.0f')} %"
