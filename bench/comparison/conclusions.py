"""What can be concluded from a leaderboard, in sentences: only what the paired tests allow.

Every claim needs p <= 0.05 after Holm's adjustment for all tests of its sentence group, and the
declared minimum in points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records.results import RunResult
from ..records.schema import NOT_TRAINED
from ..statistics.claims import ALPHA, MINIMUM
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .leaderboard import BARE, ColumnKey, Leaderboard, Section
from .ranking import Standings
from .rows import CONTROL, Row

MOST_ROWS = 12
"""Rows of a section that are compared with its best, the best first."""
_NAMED = 3
"""Names in one sentence; of more the number stands."""
_MEAN = "the mean"


class Tested(NamedTuple):
    """One row against another on a domain or in the mean.

    Attributes:
        where: title of the domain, or `the mean`.
        name: label of the row.
        other: label of the other row.
        points: the row's mIoU minus the other's.
        p: of the sign-flip test, adjusted by Holm's rule for all tests made with it.
    """

    where: str
    name: str
    other: str
    points: float
    p: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where a difference may be claimed, else `close` or `open`."""
        if self.p > ALPHA:
            return "open"
        if abs(self.points) < MINIMUM:
            return "close"
        return "better" if self.points > 0 else "worse"


def conclusions(
    board: Leaderboard, known: Mapping[str, RunResult], where: Standings | None = None
) -> list[str]:
    """What the paired tests say of a leaderboard.

    The best method of each section (by its mean) is compared with the others of the section, every
    method with the best control of each domain, and with its own shuffled-support control.

    Args:
        board: what is shown.
        known: the results that it shows, by cell.
        where: with the tests against shuffled-support controls.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    methods = [
        section._replace(rows=rows)
        for section in board.sections()
        if (rows := _shown(board, section))
    ]
    lines = [line for section in methods for line in _of_section(board, section, known)]
    rows = [row for section in methods for row in section.rows]
    lines += _against_trivial(board, rows, known)
    lines += _against_shuffled(rows, where or {})
    if not lines:
        lines = ["Nothing can be concluded: no two rows answered the same episodes."]
    return lines


def _shown(board: Leaderboard, section: Section) -> list[Row]:
    """The methods of a section, the best mean first; who answered more comes before the others."""

    def place(row: Row) -> tuple[bool, int, float]:
        mean, scores = board.mean(row), [score.mean for score in row.scores.values()]
        return mean is None, -len(scores), -(sum(scores) / len(scores) if mean is None else mean)

    rows = [row for row in section.rows if row.scores and not row.is_control]
    return sorted(rows, key=place)[:MOST_ROWS]


def _of_section(board: Leaderboard, section: Section, known: Mapping[str, RunResult]) -> list[str]:
    """The best row of a section against the others."""
    best, *others = section.rows
    mean, columns = board.mean_columns, _main_columns(board)
    tests = _adjusted([t for row in others for t in _tests(best, row, columns, known, mean)])
    if not tests:
        return []
    name = best.key.label
    told: list[str] = []
    if (value := board.mean(best)) is not None:
        told.append(f"{name} has the best mean ({value:.2f}).")
    # The mean first: it is what rows are ordered by.
    tests.sort(key=lambda test: (test.where != _MEAN, test.where))
    if len(others) <= _NAMED:
        for row in others:
            told += _against(name, [t for t in tests if t.other == row.key.label])
    else:
        told += _place_by_place(name, tests)
    text = " ".join(told)
    if not section.is_told:
        return [text]
    # What the title says of all of them is not said again behind each name.
    text = text.replace(NOT_TRAINED, "") if section.title.startswith(BARE) else text
    return [f"Of the rows “{section.title}”: {text}"]


_VERDICTS = {
    "better": "{} is better than {}",
    "worse": "{} is worse than {}",
    "close": f"{{}} differs by less than {MINIMUM:g} points from {{}}",
    "open": "the test cannot tell {} from {}",
}


def _against(name: str, tests: Sequence[Tested]) -> list[str]:
    """`A is better than B on isic (+2.1, p = 0.003).`: one sentence a verdict."""
    lines: list[str] = []
    for verdict, words in _VERDICTS.items():
        here = [test for test in tests if test.verdict == verdict]
        if not here:
            continue
        said = words.format(name, here[0].other)
        if verdict in ("better", "worse"):
            places = [f"{_on([t.where])} ({t.points:+.1f}, {_p(t.p)})" for t in here]
            lines.append(f"{said} {_joined(places)}.")
        else:
            lines.append(f"{_begun(said)} {_on([test.where for test in here])}.")
    return lines


def _place_by_place(name: str, tests: Sequence[Tested]) -> list[str]:
    """The verdicts on each place, those that are the same on several places together."""
    places: dict[str, list[str]] = {}
    for place in dict.fromkeys(test.where for test in tests):
        for verdict, words in _VERDICTS.items():
            here = [t for t in tests if t.where == place and t.verdict == verdict]
            if here:
                said = words.format(name, _others(here))
                if verdict in ("better", "worse") and len(here) > 1:
                    said += f" (by {_range([abs(test.points) for test in here])} points)"
                elif verdict in ("better", "worse"):
                    said += f" ({here[0].points:+.1f}, {_p(here[0].p)})"
                places.setdefault(said, []).append(place)
    return [f"{_begun(_on(found))} {said}." for said, found in places.items()]


def _others(tests: Sequence[Tested]) -> str:
    if len(tests) > _NAMED:
        return f"{len(tests)} others"
    return _joined([test.other for test in tests], "or" if tests[0].verdict == "open" else "and")


def _joined(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _range(sizes: Sequence[float]) -> str:
    least, largest = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
    return least if least == largest else f"{least} to {largest}"


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def _on(places: Sequence[str]) -> str:
    domains = [place for place in places if place != _MEAN]
    parts = ["in the mean"] if _MEAN in places else []
    return " and ".join([*parts, *([f"on {_joined(domains)}"] if domains else [])])


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _main_columns(board: Leaderboard) -> list[ColumnKey]:
    return [column for column in board.columns if column == board.main_column(column.domain)]


def _tests(
    row: Row,
    other: Row,
    columns: Sequence[ColumnKey],
    known: Mapping[str, RunResult],
    mean: Sequence[ColumnKey] = (),
) -> list[Tested]:
    """The sign-flip tests of a row against another, on what both answered on the same episodes.

    Args:
        row: of the board.
        other: of the same board.
        columns: where they are compared; what older code computed is not.
        known: the results, by cell.
        mean: the columns of the mean, which is tested where both answered all of them.
    """
    found: dict[ColumnKey, tuple[float, NDArray[np.float64]]] = {}
    for column in columns:
        ours, theirs = row.scores.get(column), other.scores.get(column)
        if ours is None or theirs is None or ours.is_stale or theirs.is_stale:
            continue
        pairs = [
            (known[ours.cells[seed]], known[theirs.cells[seed]])
            for seed in sorted(ours.cells.keys() & theirs.cells.keys())
        ]
        pairs = [p for p in pairs if p[0].record.episodes.sha256 == p[1].record.episodes.sha256]
        if pairs:
            clusters = clustered([pair[side].counted for side in (0, 1) for pair in pairs])
            found[column] = difference(clusters), swapped(clusters, stream=column.domain)
    values = {column.domain: value for column, value in found.items()}
    if len(mean) > 1 and all(column in found for column in mean):
        parts = [found[column] for column in mean]
        null = np.mean([null for _, null in parts], axis=0)
        values[_MEAN] = sum(points for points, _ in parts) / len(parts), null
    return [
        Tested(place, row.key.label, other.key.label, points, p_value(points, null))
        for place, (points, null) in values.items()
    ]


def _adjusted(tests: Sequence[Tested]) -> list[Tested]:
    p = holm({index: test.p for index, test in enumerate(tests)})
    return [test._replace(p=p[index]) for index, test in enumerate(tests)]


def _against_trivial(
    board: Leaderboard, rows: Sequence[Row], known: Mapping[str, RunResult]
) -> list[str]:
    """Methods that are not shown to be better than the best control that ignores the task."""
    controls = [
        row
        for key, row in board.rows.items()
        if row.is_control and CONTROL not in key.composition and row.scores
    ]
    found: list[Tested] = []
    for column in _main_columns(board):
        here = [row for row in controls if column in row.scores]
        if here:
            best = max(here, key=lambda row: row.scores[column].mean)
            found += [test for row in rows for test in _tests(row, best, [column], known)]
    tests = _adjusted(found)
    places: dict[str, list[str]] = {}
    for place in dict.fromkeys(test.where for test in tests):
        here = [test for test in tests if test.where == place]
        open_ = [test.name for test in here if test.verdict != "better"]
        if open_:
            some = f"{_joined(open_)} {'is' if len(open_) == 1 else 'are'} not"
            who = "no method is" if len(open_) == len(here) else some
            told = f"{who} shown to be better than the control {here[0].other}"
            places.setdefault(told, []).append(place)
    if tests and not places:
        names = ", ".join(dict.fromkeys(test.other for test in tests))
        return [f"Every method is better than the best control of each domain ({names})."]
    lines = [f"{_begun(_on(found))} {told}." for told, found in places.items()]
    return [" ".join(lines)] if lines else []


def _against_shuffled(rows: Iterable[Row], where: Standings) -> list[str]:
    """Which methods do better with the right support than with one of a wrong class."""
    sure: list[str] = []
    unsure: list[str] = []
    for row in rows:
        tests = {
            column.domain: standing.control.finding
            for (key, column), standing in where.items()
            if key == row.key and column is not None and standing.control is not None
        }
        if not tests:
            continue
        failed = sorted(domain for domain, finding in tests.items() if finding != "better")
        if failed:
            unsure.append(f"{row.key.label} on {', '.join(failed)}")
        else:
            sure.append(row.key.label)
    lines: list[str] = []
    if sure:
        need = "needs its support" if len(sure) == 1 else "need their support"
        lines.append(f"{', '.join(sure)} {need}: better than with supports of a wrong class.")
    if unsure:
        lines.append(
            "Not shown to be better than with supports of a wrong class: " + "; ".join(unsure) + "."
        )
    return [" ".join(lines)] if lines else []
