"""What papers report, read from `published.csv`."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdfss_bench.errors import RecordError

COMPARABILITY = {
    "source training": "trained",
    "no source training": "untrained",
    "pool fine-tuning": "pool",
    "other metric": "metric",
    "other resolution": "size",
    "other episode count": "episodes",
    "secondary source": "secondary",
}
"""What decides whether a published figure can stand beside another; its word in tables."""

_SECONDARY = "secondary source"

_DESCRIBING = frozenset(
    [
        "method",
        "venue",
        "year",
        "backbone",
        "finetunes_on_target",
        "shots",
        "comparability",
        "source",
    ]
)
"""Columns that say what was measured; all others are domains, by name, and `mean`."""


@dataclass(frozen=True, slots=True)
class Report:
    """One method as papers report it.

    Attributes:
        method: as the papers spell it.
        year: of the method's paper.
        backbone: as reported.
        shots: supports per episode.
        finetunes: `yes`, `no` or `unknown`: whether it learns on target data.
        comparability: those of `COMPARABILITY` that hold for all its sources.
        figures: all reported values of each domain and of the mean.
        sources: where they stand.
    """

    method: str
    year: str
    backbone: str
    shots: int
    finetunes: str
    comparability: tuple[str, ...]
    figures: dict[str, tuple[float, ...]]
    sources: tuple[str, ...]

    @property
    def other_metric(self) -> bool:
        """Whether it was measured with IFA's evaluation, no mIoU on DeepGlobe and ISIC."""
        return "other metric" in self.comparability


def find_published(results: Path) -> Path:
    """`published.csv` of a results folder, or the one that the package holds.

    Raises:
        RecordError: if neither has one.
    """
    # In a checkout and in an installed package alike.
    candidates = (results, Path(__file__).parents[2] / "results")
    for folder in candidates:
        if (folder / "published.csv").is_file():
            return folder / "published.csv"
    raise RecordError(
        f"there is no published.csv in {results}", hint="name the file: --against FILE"
    )


def read_published(path: Path) -> list[Report]:
    """Reports in the file's order; several sources of one figure are gathered.

    Raises:
        RecordError: if it is not there, or naming the line that is wrong.
    """
    if not path.is_file():
        raise RecordError(
            f"{path}: there is no such file", hint="--against published takes the papers' numbers"
        )
    lines: list[dict[str, str]] = []
    table = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        fields = _figures(table)
        for values in table:
            if any(str(value or "").strip() for value in values.values()):
                lines.append(_checked(values, fields))
    except (csv.Error, ValueError) as error:
        problem = f"{path}, line {max(1, table.line_num)}: no table of published figures ({error})"
        raise RecordError(problem) from error
    if not lines:
        raise RecordError(f"{path} holds no published figures", hint=_LIKE)
    gathered: dict[tuple[str, str, int, tuple[str, ...]], list[dict[str, str]]] = {}
    for line in lines:
        key = (line["method"], line["backbone"], int(line["shots"]), _conditions(line))
        gathered.setdefault(key, []).append(line)
    return [
        Report(
            method=method,
            year=lines[0]["year"],
            backbone=backbone,
            shots=shots,
            finetunes=lines[0]["finetunes_on_target"],
            comparability=(*classes, *_all_secondary(lines)),
            figures={
                name: tuple(sorted({float(line[name]) for line in lines if line[name]}))
                for name in fields
            },
            sources=tuple(dict.fromkeys(line["source"] for line in lines)),
        )
        for (method, backbone, shots, classes), lines in gathered.items()
    ]


_LIKE = "write it like results/published.csv, one line for each method and number of shots"
_NEEDED = (*sorted(_DESCRIBING - {"venue", "comparability"}), "mean")


def _text(path: Path) -> str:
    """The file's text, as spreadsheets save it too, with commas between the values."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is no UTF-8 text", hint="save it as CSV in UTF-8") from error
    header = text.partition("\n")[0]
    other = next((sign for sign in ";\t" if sign in header and "," not in header), None)
    if other is None:
        return text
    out = io.StringIO(newline="")
    csv.writer(out).writerows(csv.reader(io.StringIO(text, newline=""), delimiter=other))
    return out.getvalue()


def _figures(table: "csv.DictReader[str]") -> list[str]:
    """The columns of figures."""
    names = list(table.fieldnames or ())
    if lacking := [name for name in _NEEDED if name not in names]:
        raise ValueError(f"it has no column '{lacking[0]}'")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"it has two columns '{twice[0]}'")
    return [name for name in names if name not in _DESCRIBING]


def _checked(values: dict[Any, Any], fields: Sequence[str]) -> dict[str, str]:
    """A line whose figures are percentages; where one is wrong it says which."""
    if None in values or None in values.values():
        raise ValueError("it has not as many values as there are columns")
    line: dict[str, str] = {name: value.strip() for name, value in values.items()}
    if not line["shots"].isdecimal() or int(line["shots"]) < 1:
        raise ValueError(f"shots '{line['shots']}' is no number of supports")
    for name in fields:
        try:
            is_percentage = not line[name] or 0 <= float(line[name]) <= 100
        except ValueError:
            is_percentage = False
        if not is_percentage:
            raise ValueError(f"{name} '{line[name]}' is no percentage, such as 47.19")
    _conditions(line)
    return line


def _conditions(line: dict[str, str]) -> tuple[str, ...]:
    """How a figure was made; sources that agree in it speak of the same figure."""
    named = [word.strip() for word in line.get("comparability", "").split(";") if word.strip()]
    unknown = [word for word in named if word not in COMPARABILITY]
    if unknown:
        raise ValueError(f"comparability '{unknown[0]}' is none of {', '.join(COMPARABILITY)}")
    return tuple(word for word in named if word != _SECONDARY)


def _all_secondary(lines: Sequence[dict[str, str]]) -> list[str]:
    return (
        [_SECONDARY] if all(_SECONDARY in line.get("comparability", "") for line in lines) else []
    )
