"""A leaderboard as a table of text."""

from collections.abc import Sequence

from cdfss_bench.datasets.core.domain import COPY
from cdfss_bench.methods.registry.name_grammar import MADE_FOR, THIS_ROW
from cdfss_bench.words import plural

from ..comparison.caveats import against_control, guards, record_notes
from ..comparison.current import STALE
from ..comparison.leaderboard import ColumnKey, Leaderboard, controls_of, missing_columns, seeds_of
from ..comparison.ranking import RESAMPLES, Standings, most_tested
from ..comparison.rows import Row, Score
from ..statistics.claims import MINIMUM
from ..statistics.metrics import METRICS
from .number_format import UNSTEADY_LEGEND, count, differs, fft, gflop, is_steady, milliseconds
from .text_table import BLANK, INTERVALS, STACKED, TextTable


def text_table(
    board: Leaderboard, where: Standings | None = None, *, every_note: bool = False
) -> TextTable:
    """The leaderboard with its reasons for blanks as notes.

    Without `where` the intervals of single-seed records are shown, and nobody is marked; with it
    intervals over all seeds, ranks, ties and tests against controls. Below stands each note of the
    records if `every_note`, else two lines a row.
    """
    extra = missing_columns(board)
    names = [_column_name(column, board.columns) for column in board.columns]
    headers = ["method", "backbone", "weights", "adapts", *names, *extra, "mean"]
    if where is not None:
        headers.append("rank")
    costs = _cost_headers(board)
    headers += [*costs, "on", "selected"]
    numeric = frozenset(range(_FIRST, len(headers) - 2))
    controls = controls_of(board)
    if controls and where is not None:
        headers.append(_CONTROL)
    rows: list[list[str]] = []
    sections: dict[int, str] = {}
    marks: dict[tuple[int, int], str] = {}
    behind: dict[tuple[int, int], Sequence[str]] = {}
    for section in board.sections():
        if section.is_told:
            sections[len(rows)] = section.title
        for row in section.rows:
            marks |= {(len(rows), at): mark for at, mark in _marks(row, board, where).items()}
            behind |= {(len(rows), at): ids for at, ids in _behind(row, board, numeric).items()}
            cells = _cells(row, board, extra, where, costs)
            if headers[-1] == _CONTROL:
                cells.append(_control(row, board, where or {}))
            rows.append(cells)
    main = {board.main_column(column.domain) for column in board.columns}
    notes = _notes(board, where or {}, costs)
    bracketed = any("[" in cell for row in rows for cell in row[_FIRST:])
    if where is not None or bracketed:
        notes.append(_INTERVAL)
    shown = [row for section in board.sections() for row in section.rows]
    scores = [score for row in shown for score in row.scores.values()]
    if len({score.spread is None for score in scores}) > 1:
        notes.append(_ONE_SEED)
    if where is not None and "tied" in marks.values():
        notes.append("≈ no significant difference from the best of its section (paired, Holm, 5 %)")
    notes += _untested(board, where or {})
    if headers[-1] == _CONTROL:
        notes.append(_TESTED)
    elif controls:
        notes.append(
            "cdfss-bench report says whether a method is better than its shuffled-support control"
        )
    notes += record_notes(board, every=every_note, told=(COPY, MADE_FOR, THIS_ROW))
    return TextTable(
        title=title(board),
        headers=headers,
        rows=rows,
        numeric=numeric,
        notes=notes,
        sections=sections,
        marks=marks,
        grey=frozenset(_FIRST + i for i, c in enumerate(board.columns) if c not in main),
        outdated=board.outdated,
        behind=behind,
        secondary=_SECONDARY,
        apart=_apart(board),
        about={
            _COSTS: ("GFLOP", "ms"),
            UNSTEADY_LEGEND: ("ms",),
            _PUBLISHED: ("as published",),
            _TRANSFORMS: ("FFT",),
            _TESTED: (_CONTROL,),
        },
        whole="report --wide, or report -f csv",
    )


def _untested(board: Leaderboard, where: Standings) -> list[str]:
    """Which columns have too many rows for the test that `≈` stands for."""
    shown = {row.key for section in board.sections() for row in section.rows}
    found = {
        column.domain
        for (key, column), one in where.items()
        if column is not None and one.untested and key in shown
    }
    told = (
        f"≈ says nothing on {', '.join(sorted(found))}: with more than {most_tested()} rows beside "
        f"the best of a section, {RESAMPLES:,} permutations cannot show any to be worse"
    )
    return [told] if found else []


_FIRST = 4
"""Index of the first column of a domain."""
_CONTROL = "control"
_SEVERAL_COLUMNS = (
    "a domain with several columns: behind its name the first digits of the data's fingerprint and "
    "the number of episodes"
)
_COSTS = "GFLOP and ms per episode, nothing cached, batch 1; a multiply-add counts 2"
_PUBLISHED = f"as published: GFLOP of the published code; {BLANK} where it is not known"
_TRANSFORMS = "FFT: GFLOP of Fourier transforms, not among the others"
_INTERVAL = "[ ] 95 % interval over query images; ± standard deviation over seeds"
_ONE_SEED = "a number without ± is of one seed"
_TESTED = (
    f"{_CONTROL}: against the same method shown supports of a wrong class; better: "
    f"sign-flip test, Holm, 5 %, and {MINIMUM:g} points; not better: the 95 % interval of "
    f"the difference lies below 0 or within ±{MINIMUM:g} points"
)
SHORT = "*"
"""Behind a number: not all episodes of the protocol, or not all of the data."""


_SECONDARY = (
    *("selected", "on", "FFT", "as published", "adapts", STACKED, "weights", "backbone"),
    *(_CONTROL, "params", "ms", "GFLOP", "rank", INTERVALS),
)
"""What a narrow screen may lack, the least needed first."""


def _apart(board: Leaderboard) -> dict[str, dict[int, str]]:
    """Backbones of rows of one name, and weights of those on one backbone, by header and row."""
    rows = [row.key for section in board.sections() for row in section.rows]
    found: dict[str, dict[int, str]] = {"backbone": {}, "weights": {}}
    for at, key in enumerate(rows):
        same = [other for other in rows if other.name == key.name]
        if len({other.backbone for other in same}) > 1:
            found["backbone"][at] = key.backbone
        if len({o.weights for o in same if o.backbone == key.backbone}) > 1:
            found["weights"][at] = key.weights
    return found


def _behind(row: Row, board: Leaderboard, numeric: frozenset[int]) -> dict[int, Sequence[str]]:
    """A column's records behind its number; all of the row behind its mean, rank and cost."""
    every = [cell for score in row.scores.values() for _, cell in sorted(score.cells.items())]
    found: dict[int, Sequence[str]] = dict.fromkeys(numeric, every)
    for at, column in enumerate(board.columns, _FIRST):
        score = row.scores.get(column)
        found[at] = [cell for _, cell in sorted(score.cells.items())] if score else ()
    return found


def _marks(row: Row, board: Leaderboard, where: Standings | None) -> dict[int, str]:
    if where is None:
        return {}
    found: dict[int, str] = {}
    for at, column in enumerate([*board.columns, None], _FIRST):
        place = at if column is not None else at + len(missing_columns(board))
        standing = where.get((row.key, column))
        if standing is None or standing.rank is None:
            continue
        if standing.rank == 1:
            found[place] = "best"
        elif standing.tied:
            found[place] = "tied"
        elif standing.rank == 2:
            found[place] = "second"
    return found


SUITES = {
    "mini": "mini suite",
    "extended": "further targets of 2025-26",
    "extra": "further domains",
}
"""What boards of other suites than the four classical targets are called."""


def title(board: Leaderboard) -> str:
    """What the rows of a board share."""
    key = board.key
    suite = SUITES.get(key.suite, "CD-FSS")
    seeds = seeds_of(list(board.rows.values()))
    parts = [f"{suite}, {key.shots}-shot {METRICS[board.metric]} (%)", f"protocol {key.protocol}"]
    if seeds:
        parts.append(f"{plural(len(seeds), 'seed')} {', '.join(map(str, seeds))}")
    parts.append(f"evaluator {key.evaluator}")
    if key.precision != "fp32":
        parts.append(key.precision)
    if board.outdated:
        parts.append("not comparable with this version's")
    return " · ".join(parts)


def _column_name(column: ColumnKey, columns: Sequence[ColumnKey], mark: str = SHORT) -> str:
    """The domain, marked if not plain; with data and length where it has several columns."""
    name = column.domain if _is_plain(column) else f"{column.domain}{mark}"
    if sum(other.domain == column.domain for other in columns) == 1:
        return name
    return f"{name} {column.fingerprint[:4]}/{column.episodes}"


def _is_plain(column: ColumnKey) -> bool:
    return not column.limited and not column.is_partial


def _cost_headers(board: Leaderboard) -> list[str]:
    """Beside what every record has: what is not nought, or not the same, in some row."""
    known = [row.cost for row in board.rows.values() if row.cost is not None]
    published = ["as published"] if any(map(differs, known)) else []
    transforms = ["FFT"] if any(cost.flops_fft for cost in known) else []
    return ["params", "GFLOP", *published, *transforms, "ms"]


def _cells(
    row: Row,
    board: Leaderboard,
    extra: Sequence[str],
    where: Standings | None,
    costs: Sequence[str],
) -> list[str]:
    key = row.key
    cells = [key.label, backbone(row), weights(row), key.adaptation]
    for column in board.columns:
        score = row.scores.get(column)
        cells.append(BLANK if score is None else _score(score, row, column, where))
    cells += [BLANK] * len(extra)
    mean, standing = board.mean(row), (where or {}).get((row.key, None))
    interval = standing.interval if standing else None
    ends = f" {_ends(interval.low, interval.high)}" if interval else ""
    mark = STALE if board.is_stale(row, None) else ""
    mark += SHORT if board.is_mean_shortened else ""
    cells.append(BLANK if mean is None else f"{mean:.2f}{mark}{ends}")
    if where is not None:
        cells.append(str(standing.rank) if standing and standing.rank else BLANK)
    if row.cost is None:
        return [*cells, *[BLANK] * len(costs), BLANK, key.selection]
    cost = row.cost
    figures = {
        "params": count(cost.params),
        "GFLOP": gflop(cost.flops_episode),
        "as published": gflop(cost.flops_published),
        "FFT": fft(cost),
        "ms": milliseconds(cost),
    }
    return [*cells, *(figures[header] for header in costs), cost.device, key.selection]


def _control(row: Row, board: Leaderboard, where: Standings) -> str:
    """Whether the right support is shown to help: `better`, or where that is not so."""
    tested = against_control(board, row, where)
    if not tested:
        return BLANK
    domains: dict[str, list[str]] = {}
    for column, found in tested.items():
        if found.finding != "better":
            domains.setdefault(found.finding, []).append(column.domain)
    return "; ".join(f"{word} on {', '.join(on)}" for word, on in domains.items()) or "better"


def _score(score: Score, row: Row, column: ColumnKey, where: Standings | None) -> str:
    text = f"{score.mean:.2f}" + (STALE if score.is_stale else "")
    if score.spread is not None:
        text += f" ±{score.spread:.2f}"
    standing = (where or {}).get((row.key, column))
    if standing is not None and standing.interval is not None:
        text += f" {_ends(standing.interval.low, standing.interval.high)}"
    elif where is None and len(score.mious) == len(score.intervals) == 1:
        low, high = next(iter(score.intervals.values()))
        text += f" {_ends(low, high)}"
    return f"≈{text}" if standing is not None and standing.tied else text


def _ends(low: float, high: float) -> str:
    return f"[{low:.1f}, {high:.1f}]"


def backbone(row: Row) -> str:
    """Its name, which its method was made for, and at which size it sees images, where unusual."""
    told = row.made_for.rpartition(", here ")[0]
    name = row.key.backbone or BLANK
    if unusual := sorted({seen for seen, counted in row.sizes if seen != counted}):
        name += f" at {' and '.join(map(str, unusual))} px"
    return f"{name} ({told})" if told else name


def weights(row: Row) -> str:
    """What they were trained on, and how they were chosen where that is unusual."""
    mark = {"source-val": "", "last": "", "none": ""}.get(row.key.selection)
    return row.key.weights + (f" ({row.key.selection})" if mark is None else "")


def _notes(board: Leaderboard, where: Standings, costs: Sequence[str]) -> list[str]:
    notes = [
        f"* {_column_name(column, board.columns, mark='')}: {column.profile}"
        + (f", {_shortened(column, board)}" if column.limited else "")
        for column in board.columns
        if not _is_plain(column)
    ]
    if len({column.domain for column in board.columns}) < len(board.columns):
        notes.append(_SEVERAL_COLUMNS)
    notes += _reasons(board)
    notes += guards(board, where)
    if not board.arrangement.of_all_domains:
        notes.append(f"{BLANK} no mean, since -d shows only some of the recorded domains")
    elif any(board.mean(row) is None and row.scores for row in board.rows.values()):
        notes.append(f"{BLANK} no mean where a domain is missing or partial")
    if board.is_mean_shortened and any(map(board.mean, board.rows.values())):
        notes.append(f"{SHORT} mean over fewer episodes than the protocol has")
    if len(board.pretrainings) == 1:
        notes.append(f"all backbones are pretrained on {board.pretrainings[0]}")
    elif board.pretrainings:
        notes.append("ranked only among backbones of one pretraining")
    notes.append(_COSTS)
    if any(row.cost is not None and not is_steady(row.cost) for row in board.rows.values()):
        notes.append(UNSTEADY_LEGEND)
    if "as published" in costs:
        notes.append(_PUBLISHED)
    if "FFT" in costs:
        notes.append(_TRANSFORMS)
    return notes


def _shortened(column: ColumnKey, board: Leaderboard) -> str:
    """How many episodes were asked, and of how many classes."""
    scores = [row.scores[column] for row in board.rows.values() if column in row.scores]
    asked = max((len(score.per_class) for score in scores), default=0)
    classes = max((len(score.classes) for score in scores), default=0)
    return f"{column.episodes} episodes, {asked} of {classes} classes"


def _reasons(board: Leaderboard) -> list[str]:
    """One line per reason, with everybody it concerns."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for row in board.rows.values():
        for domain, reason in row.missing.items():
            concerned.setdefault((domain, reason), []).append(row.key.label)
    return [
        f"{BLANK} {domain}: {reason} ({', '.join(labels)})"
        for (domain, reason), labels in sorted(concerned.items())
    ]
