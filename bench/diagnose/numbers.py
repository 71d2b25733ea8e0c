"""What a diagnosis measured, kept on disk so that the figures can be drawn again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdfss_bench.files import write_atomically

from .frames import Frame


@dataclass(frozen=True)
class Numbers:
    """Tables of numbers, booleans or text (never None); arrays where a figure shows pictures."""

    tables: Mapping[str, Frame]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def save(self, path: Path) -> None:
        """Writes an .npz file without pickled objects; floats keep every bit.

        Raises:
            UserError: if the file cannot be written.
        """
        entries: dict[str, Any] = {f"array/{name}": array for name, array in self.arrays.items()}
        for name, table in self.tables.items():
            for at, column in enumerate(table.columns):
                values = table[column].to_numpy()
                if values.dtype.kind not in "biuf":
                    values = values.astype(str)
                entries[f"table/{name}/{at:03d}/{column}"] = values
        out = io.BytesIO()
        np.savez_compressed(out, **entries)
        write_atomically(path, out.getvalue())

    @staticmethod
    def load(path: Path) -> Numbers | None:
        """What `save` wrote; None if there is no such file or it is damaged."""
        tables: dict[str, dict[str, NDArray[Any]]] = {}
        arrays: dict[str, NDArray[Any]] = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                for entry in file.files:
                    kind, _, name = entry.partition("/")
                    if kind == "array":
                        arrays[name] = file[entry]
                        continue
                    name, _, column = name.split("/", 2)
                    tables.setdefault(name, {})[column] = file[entry]
        except (OSError, ValueError, BadZipFile, KeyError):
            return None
        return Numbers({n: pd.DataFrame(_plain(c)) for n, c in tables.items()}, arrays)


def _plain(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {n: c.tolist() if c.dtype.kind == "U" else c for n, c in columns.items()}
