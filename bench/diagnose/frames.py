"""Rows of a table by the values of its columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def rows_where(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
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
    """The row with the largest of `values`, a number for each."""
    return table.iloc[int(np.argmax(np.asarray(values, np.float64)))]
