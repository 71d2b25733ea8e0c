"""From records to leaderboards: who is compared with whom."""

from collections import Counter
from collections.abc import Iterable, Mapping

from cdfss_bench.datasets.core.domain import COPY
from cdfss_bench.errors import unknown
from cdfss_bench.methods.registry.name_grammar import MADE_FOR, THIS_ROW

from ..records.schema import RunRecord
from .current import Choice, Chosen, State, chosen, is_finished
from .keys import (
    BoardKey,
    board_key,
    column_key,
    machine_of,
    row_key,
    shown_names,
    version_of,
    with_version,
)
from .leaderboard import BY_MEAN, ORDERS, Arrangement, Leaderboard, controls_of
from .rows import CONTROL, Row, Score


def leaderboards(
    records: Iterable[RunRecord],
    arrangement: Arrangement = BY_MEAN,
    choice: Choice | None = None,
) -> list[Leaderboard]:
    """The leaderboards of all records, mini suite last, fewer shots first.

    Of several records of one row, column and seed `current.chosen` decides which is shown.

    Args:
        records: of all cells.
        arrangement: of their rows; by default the best mean first, with controls.
        choice: `chosen` of the records, where it is at hand.

    Raises:
        UserError: for an order that is none.
    """
    known = list(records)
    names = shown_names(known)
    choice = choice or chosen(known)
    boards: dict[BoardKey, Leaderboard] = {}
    for one in choice.shown:
        key = board_key(one.record)
        _add(boards.setdefault(key, Leaderboard(key)), one, names)
    for record, state in choice.left_out:
        board = boards[board_key(record)]
        board.left_out[state] += 1
        if record.method.external and state == "current":
            _note_replaced(board, record, names)
    unfinished = [record for record in known if not is_finished(record)]
    for record in sorted(unfinished, key=lambda record: (record.finished, record.started)):
        _note_missing(boards, record, names)
    for board in boards.values():
        for host, control in controls_of(board):
            if host.cost is not None:
                control.cost, control.cost_cell = host.cost, host.cost_cell
                control.cost_state, control.machine = host.cost_state, host.machine
        board.columns.sort()
        _tell_apart(board)
        board.rows = dict(sorted(board.rows.items()))
    arrangement = arrangement._replace(order=_known_order(arrangement.order, boards.values()))
    for board in boards.values():
        board.arrangement = arrangement
    return sorted(boards.values(), key=lambda b: (b.key.suite == "mini", *b.key))


def _known_order(typed: str, boards: Iterable[Leaderboard]) -> str:
    """An order as it is spelled, whatever the case of what was typed.

    Raises:
        UserError: for one that no board has.
    """
    domains = {column.domain for board in boards for column in board.columns}
    known = {name.lower(): name for name in (*sorted(domains), *ORDERS)}
    if typed.lower() not in known:
        raise unknown("order of rows", typed, known.values())
    return known[typed.lower()]


def _tell_apart(board: Leaderboard) -> None:
    """Puts the version behind the label of rows that look alike: label, backbone and weights."""
    looks = {key: key[:1] + key[2:4] for key, row in board.rows.items() if row.scores}
    shared = Counter(looks.values())
    for key, look in looks.items():
        if shared[look] > 1:
            row = board.rows.pop(key)
            own = with_version(key.label, key.label.partition(" (")[0], row.version)
            row.key = key._replace(label=own)
            board.rows[row.key] = row


def _add(board: Leaderboard, one: Chosen, names: Mapping[str, str]) -> None:
    """Puts a finished record on its board; older ones must come first."""
    record, state = one
    assert record.metrics is not None
    column = column_key(record)
    if column not in board.columns:
        board.columns.append(column)
    row = board.rows.setdefault(own := row_key(record, names), Row(own))
    score = row.scores.setdefault(
        column,
        Score(
            complete=record.domain.complete and not record.episodes.limited,
            population=record.domain.complete,
            state=state,
        ),
    )
    if CONTROL not in record.method.composition:
        found = {note for note in record.notes if note.startswith(COPY)}
        board.copies.setdefault(column, set()).update(found)
    if state == "unknown":
        board.unknown[record.method.label] = None
    seed = record.episodes.seed
    score.mious[seed] = record.metrics.miou
    score.cells[seed] = record.cell
    score.asked[seed] = record.episodes.sha256, record.evaluator.image_size
    if record.metrics.miou_interval is not None:
        score.intervals[seed] = record.metrics.miou_interval
    for class_id, iou in record.metrics.per_class.items():
        score.per_class.setdefault(class_id, []).append(iou)
    score.classes |= record.domain.classes
    score.notes |= dict.fromkeys(record.notes)
    if record.cost is not None and (row.cost is None or not _is_older(state, row.cost_state)):
        row.cost, row.cost_cell, row.cost_state = record.cost, record.cell, state
        row.machine = machine_of(record, record.cost)
    row.source = str(record.weights.source.get("domain", "")) or row.source
    row.weights_kind = record.weights_kind or row.weights_kind
    row.pretraining = record.weights.pretraining or row.pretraining
    row.made_for = next((n for n in record.notes if n.startswith(MADE_FOR)), row.made_for)
    if record.method.input_size:
        row.sizes.add((record.method.input_size, record.evaluator.image_size))
    row.said = tuple(n for n in record.notes if n.startswith(THIS_ROW)) or row.said
    row.is_trial = row.is_trial or record.is_trial
    row.version = version_of(record)


def _note_replaced(board: Leaderboard, record: RunRecord, names: Mapping[str, str]) -> None:
    column, seed = column_key(record), record.episodes.seed
    row = board.rows.get(row_key(record, names))
    score = None if row is None else row.scores.get(column)
    if row is not None and score is not None and score.cells.get(seed) != record.cell:
        row.replaced.add((column, seed))


def _is_older(state: State, other: State) -> bool:
    return state == "stale" and other != "stale"


def _note_missing(
    boards: dict[BoardKey, Leaderboard], record: RunRecord, names: Mapping[str, str]
) -> None:
    board = boards.setdefault(key := board_key(record), Leaderboard(key))
    reason = record.reason or f"the run is {record.status}"
    wanted = record.method.composition
    alike = [row for key, row in board.rows.items() if key.composition == wanted]
    if not alike:
        own = row_key(record, names)
        alike = [board.rows.setdefault(own, Row(own))]
    for row in alike:
        answered = any(column.domain == record.domain.title for column in row.scores)
        if not answered:
            row.missing[record.domain.title] = reason
