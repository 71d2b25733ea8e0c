"""What can be concluded from a leaderboard: only what the paired tests allow.

Every claim needs p <= 0.05 after Holm's adjustment for all tests of its group, and the declared
minimum in points. Where the best of a section is compared with a few rows, sentences say what was
found; with more, a table is made of `Compared`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..records.results import RunResult
from ..records.schema import NOT_TRAINED
from ..statistics.claims import ALPHA, MINIMUM
from ..statistics.permutation import PERMUTATIONS
from .leaderboard import BARE, ColumnKey, Leaderboard, RowKey, Section
from .ranking import Standings
from .row_names import row_names
from .row_tests import MEAN, Tested, adjusted, row_tests
from .rows import CONTROL, Row

MOST_ROWS = 12
"""Rows of a section that are compared with its best, the best first."""
_NAMED = 3
"""Rows that the best of a section is compared with in sentences; of more there is a table."""


class Compared(NamedTuple):
    """The best row of a section against the others, where these are too many for sentences.

    Attributes:
        title: of the section; empty where it is alone.
        name: of the best row.
        mean: its mean mIoU; None where it has none.
        others: names of those that it is compared with, the best first.
        rows: how many methods the section has.
        tests: of the best row against the others, on every domain and in the mean.
    """

    title: str
    name: str
    mean: float | None
    others: tuple[str, ...]
    rows: int
    tests: list[Tested]


class Conclusions(NamedTuple):
    """What the paired tests say of a leaderboard: `compared` as a table, and `sentences`."""

    compared: list[Compared]
    sentences: list[str]


def conclusions(
    board: Leaderboard, known: Mapping[str, RunResult], where: Standings | None = None
) -> Conclusions:
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
    names = row_names(board)
    every = [(section, _methods(board, section)) for section in board.sections()]
    sections = [(section, rows) for section, rows in every if rows]
    compared: list[Compared] = []
    lines: list[str] = []
    for section, rows in sections:
        best, *others = rows[:MOST_ROWS]
        found = _of_section(board, best, others, names, known)
        if found and len(others) > _NAMED:
            title = section.title if section.is_told else ""
            told = {row.key: _without_title(names[row.key], section) for row in (best, *others)}
            found = [t._replace(other=_without_title(t.other, section)) for t in found]
            labels = tuple(told[row.key] for row in others)
            mean = board.mean(best)
            compared.append(Compared(title, told[best.key], mean, labels, len(rows), found))
        elif found:
            lines.append(_sentences(board, section, best, others, names, found))
    is_cut = any(len(rows) > MOST_ROWS for _, rows in sections)
    rows = [row for _, rows in sections for row in rows[:MOST_ROWS]]
    lines += _against_trivial(board, rows, names, known, is_cut=is_cut)
    lines += _against_shuffled(rows, names, where or {})
    if not lines and not compared:
        return Conclusions(
            [], ["Nothing can be concluded: no two rows answered the same episodes."]
        )
    if is_cut:
        lines.append(f"Only the {MOST_ROWS} best methods of a section are compared.")
    return Conclusions(compared, lines)


def _methods(board: Leaderboard, section: Section) -> list[Row]:
    """The methods of a section, the best mean first; who answered more comes before the others."""

    def place(row: Row) -> tuple[bool, int, float]:
        mean, scores = board.mean(row), [score.mean for score in row.scores.values()]
        return mean is None, -len(scores), -(sum(scores) / len(scores) if mean is None else mean)

    return sorted((row for row in section.rows if row.scores and not row.is_control), key=place)


def _of_section(
    board: Leaderboard,
    best: Row,
    others: Sequence[Row],
    names: Mapping[RowKey, str],
    known: Mapping[str, RunResult],
) -> list[Tested]:
    """The tests of the best row of a section against others, the mean first."""
    mean, columns = board.mean_columns, _main_columns(board)
    found = [t for row in others for t in row_tests(best, row, columns, names, known, mean)]
    # The mean first: it is what rows are ordered by.
    return sorted(adjusted(found), key=lambda test: (test.where != MEAN, test.where))


def _sentences(
    board: Leaderboard,
    section: Section,
    best: Row,
    others: Sequence[Row],
    names: Mapping[RowKey, str],
    tests: Sequence[Tested],
) -> str:
    """The best row of a section against a few others."""
    name = names[best.key]
    told: list[str] = []
    if (value := board.mean(best)) is not None:
        told.append(f"{name} has the best mean ({value:.2f}).")
    for row in others:
        told += _against(name, [t for t in tests if t.other == names[row.key]])
    text = " ".join(told)
    if not section.is_told:
        return text
    return f"Of the rows “{section.title}”: {_without_title(text, section)}"


def _without_title(text: str, section: Section) -> str:
    """What the title says of all rows is not said again behind each name."""
    is_said = section.is_told and section.title.startswith(BARE)
    return text.replace(NOT_TRAINED, "") if is_said else text


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


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def _on(places: Sequence[str]) -> str:
    domains = [place for place in places if place != MEAN]
    parts = ["in the mean"] if MEAN in places else []
    return " and ".join([*parts, *([f"on {_joined(domains)}"] if domains else [])])


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _main_columns(board: Leaderboard) -> list[ColumnKey]:
    return [column for column in board.columns if column == board.main_column(column.domain)]


def _against_trivial(
    board: Leaderboard,
    rows: Sequence[Row],
    names: Mapping[RowKey, str],
    known: Mapping[str, RunResult],
    *,
    is_cut: bool,
) -> list[str]:
    """Which methods are shown to be better than the best control that ignores the task.

    Args:
        board: of the rows.
        rows: of methods.
        names: of the rows.
        known: the results, by cell.
        is_cut: whether the board has more methods than `rows`, which the sentences then say.
    """
    method = "compared method" if is_cut else "method"
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
            found += [test for row in rows for test in row_tests(row, best, [column], names, known)]
    tests = adjusted(found)
    places: dict[str, list[str]] = {}
    for place in dict.fromkeys(test.where for test in tests):
        here = [test for test in tests if test.where == place]
        if any(test.verdict != "better" for test in here):
            places.setdefault(_over_control(here, method), []).append(place)
    if tests and not places:
        told = ", ".join(dict.fromkeys(test.other for test in tests))
        return [f"Every {method} is better than the best control of each domain ({told})."]
    lines = [f"{_begun(_on(found))} {told}." for told, found in places.items()]
    if places and len(tests) > ALPHA * (PERMUTATIONS + 1):
        lines.append(
            f"{len(tests)} tests against controls are too many for {PERMUTATIONS:,} permutations: "
            "after Holm's rule none of them can show a difference."
        )
    return lines


def _over_control(tests: Sequence[Tested], method: str) -> str:
    """What the tests against one control show, by the names of the fewer methods."""
    better = [test.name for test in tests if test.verdict == "better"]
    others = [test.name for test in tests if test.verdict != "better"]
    control = f"shown to be better than the control {tests[0].other}"
    if not better:
        return f"no {method} is {control}"
    if len(better) < len(others):
        verb = "is" if len(better) == 1 else "are"
        return f"{_joined(better)} {verb} {control}, {len(others)} other {method}s are not"
    return f"{_joined(others)} {'is' if len(others) == 1 else 'are'} not {control}"


def _against_shuffled(
    rows: Iterable[Row], names: Mapping[RowKey, str], where: Standings
) -> list[str]:
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
            unsure.append(f"{names[row.key]} on {', '.join(failed)}")
        else:
            sure.append(names[row.key])
    lines: list[str] = []
    if sure:
        need = "needs its support" if len(sure) == 1 else "need their support"
        lines.append(f"{', '.join(sure)} {need}: better than with supports of a wrong class.")
    if unsure:
        lines.append(
            "Not shown to be better than with supports of a wrong class: " + "; ".join(unsure) + "."
        )
    return [" ".join(lines)] if lines else []
