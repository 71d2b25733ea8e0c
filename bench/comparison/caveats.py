"""What a reader must know before believing a leaderboard: leakage, old code, failed controls."""

import statistics
from collections import Counter

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.datasets.core.domain import COPY
from cdfss_bench.words import plural

from .current import STALE_LEGEND, State, unknown_code
from .leaderboard import ColumnKey, Leaderboard, controls_of, seeds_of
from .notes import note_lines
from .ranking import POOLED, Standings
from .rows import CONTROL, Row
from .shuffled_control import AgainstControl


def guards(board: Leaderboard, where: Standings) -> list[str]:
    """Warnings about the rows of a board, a sentence each.

    Args:
        board: what is shown.
        where: with the tests against the controls; may be empty.
    """
    return [
        *code_notes(board),
        *_said_of_methods(board),
        *_other_seeds(board),
        *_other_episodes(board),
        *_scored_again_in_part(board),
        *_selected_on_targets(board),
        *_checkpoint_per_target(board),
        *_controls(board, where),
        *_overlaps(board),
        *_copies(board),
    ]


def _said_of_methods(board: Leaderboard) -> list[str]:
    """Rows on backbones that their methods were not made for, and what the cards say of rows."""
    labels: dict[str, list[str]] = {}
    for key, row in board.rows.items():
        for told in filter(None, (row.made_for, *row.said)):
            labels.setdefault(told, []).append(key.label)
    return [f"{', '.join(sorted(set(names)))}: {told}" for told, names in sorted(labels.items())]


def _other_seeds(board: Leaderboard) -> list[str]:
    """Which rows are of which seeds, where these differ: they were asked different episodes."""
    labels: dict[str, list[str]] = {}
    rows = Counter(key.label for key in board.rows)
    for key, row in board.rows.items():
        if seeds := seeds_of([row]):
            name = f"{key.label} on {key.backbone}" if rows[key.label] > 1 else key.label
            labels.setdefault(", ".join(map(str, seeds)), []).append(name)
    if len(labels) < 2:
        return []
    *few, (most, _) = sorted(labels.items(), key=lambda entry: (len(entry[1]), entry[0]))
    told = "; ".join(f"{', '.join(sorted(set(names)))} of {seeds}" for seeds, names in few)
    return [f"not all rows are of the same seeds: {told}; the others of {most}"]


def _other_episodes(board: Leaderboard) -> list[str]:
    """Rows of one column and seed evaluated on other episodes than most, as two versions may draw.

    Controls are left out: they are shown other supports on purpose.
    """
    lines: list[str] = []
    for column in board.columns:
        asked: dict[int, dict[tuple[str, int], list[str]]] = {}
        for key, row in board.rows.items():
            if column in row.scores and CONTROL not in key.composition:
                for seed, what in row.scores[column].asked.items():
                    asked.setdefault(seed, {}).setdefault(what, []).append(key.label)
        for seed, groups in sorted(asked.items()):
            *few, _ = sorted(groups.values(), key=len)
            if few:
                names = ", ".join(sorted({name for group in few for name in group}))
                lines.append(
                    f"{column.domain}, seed {seed}: evaluated on other episodes, or at another "
                    f"image size, than the rest and so not comparable with it: {names}; run all "
                    "with one version"
                )
    return lines


def _scored_again_in_part(board: Leaderboard) -> list[str]:
    """External rows of which some cells count other masks than before and others do not."""
    lines: list[str] = []
    for key, row in sorted(board.rows.items()):
        cells = {(column, seed) for column, score in row.scores.items() for seed in score.mious}
        if again := sorted(cells & row.replaced) if cells - row.replaced else []:
            told = ", ".join(f"{column.domain} seed {seed}" for column, seed in again)
            lines.append(
                f"{key.label}: of {told} the masks that were scored last are shown, the other "
                "cells were scored once: they may be of different versions of the program"
            )
    return lines


def _selected_on_targets(board: Leaderboard) -> list[str]:
    labels = sorted({key.label for key in board.rows if "target" in key.selection})
    if not labels:
        return []
    return [f"selected on target data, ranked with nobody: {', '.join(labels)}"]


def _checkpoint_per_target(board: Leaderboard) -> list[str]:
    """Rows that differ in nothing but the checkpoint and answer for different domains."""
    alike: dict[tuple[str, ...], list[set[str]]] = {}
    for key, row in board.rows.items():
        if row.scores:
            same = (key.name, key.composition, key.backbone, key.weights, key.selection)
            alike.setdefault(same, []).append({column.domain for column in row.scores})
    return [
        f"{same[0]}: another checkpoint per target is another row each, without a mean"
        for same, domains in sorted(alike.items())
        if len(domains) > 1 and not set.intersection(*domains)
    ]


def code_notes(board: Leaderboard) -> list[str]:
    """What was computed by other code than the installed one, and what is not shown for it."""
    rows = board.rows.values()
    lines = [STALE_LEGEND] if any(s.is_stale for row in rows for s in row.scores.values()) else []
    lines += unknown_code(board.unknown)
    words: dict[State, str] = {
        "current": "of the current code", "stale": "of older code", "unknown": "of code not here",
    }  # fmt: skip
    total = board.left_out.total()
    if total:
        each = [f"{board.left_out[state]} {word}" for state, word in words.items()]
        told = ", ".join(text for text in each if not text.startswith("0 "))
        lines.append(
            f"not shown: {total} superseded {plural(total, 'record')} ({told}); another "
            "record of the same cell is shown"
        )
    return lines


def record_notes(
    board: Leaderboard, *, every: bool = False, told: tuple[str, ...] = ()
) -> list[str]:
    """What the records on a board note, at most two lines a row.

    Args:
        board: what is shown.
        every: each note by itself instead.
        told: beginnings of notes that stand below the table anyway.
    """
    noted: list[tuple[str, dict[str, dict[str, None]]]] = []
    for row in board.rows.values():
        by_domain: dict[str, dict[str, None]] = {}
        for column in board.columns:
            if column in row.scores:
                kept = [n for n in row.scores[column].notes if every or not n.startswith(told)]
                by_domain.setdefault(column.domain, {}).update(dict.fromkeys(kept))
        if by_domain:
            noted.append((row.key.label, by_domain))
    return note_lines(noted, every=every)


def against_control(
    board: Leaderboard, row: Row, where: Standings
) -> dict[ColumnKey, AgainstControl]:
    """How a row does against its shuffled-support control, by column; empty without tests."""
    found: dict[ColumnKey, AgainstControl] = {}
    for column in board.columns:
        standing = where.get((row.key, column))
        if standing is not None and standing.control is not None:
            found[column] = standing.control
    return found


def _controls(board: Leaderboard, where: Standings) -> list[str]:
    """Methods that are not shown to do better with the right support than with a wrong one."""
    lines: list[str] = []
    for row, _ in controls_of(board):
        tested = against_control(board, row, where).items()
        label = row.key.label
        told = [f"{c.domain} ({_sized(t)})" for c, t in tested if t.finding == "not better"]
        if told:
            lines.append(
                f"{label} does not beat its shuffled-support control on {', '.join(told)}: "
                "there it segments what is salient, not what was asked"
            )
        told = [
            f"{c.domain} ({t.points:+.2f} points, p = {t.p:.2g}, {_seen(t)})"
            for c, t in tested
            if t.finding == "no significant difference"
        ]
        if told:
            lines.append(
                f"{label}: no significant difference from its shuffled-support control on "
                f"{', '.join(told)}"
            )
        told = [f"{c.domain} ({_sized(t)})" for c, t in tested if t.finding == "slightly better"]
        if told:
            lines.append(
                f"{label} is better than its shuffled-support control by less than a claim needs "
                f"on {', '.join(told)}"
            )
    return lines


def _sized(tested: AgainstControl) -> str:
    ends = tested.interval
    if ends is None:
        return f"{tested.points:+.2f} points, p = {tested.p:.2g}"
    return f"{tested.points:+.2f} points, 95 % interval {ends.low:+.2f} to {ends.high:+.2f}"


def _seen(tested: AgainstControl) -> str:
    if tested.detectable is None:
        return "too few query images to say what is detectable"
    return f"detectable {tested.detectable:.1f} points"


def _overlaps(board: Leaderboard) -> list[str]:
    """Scores without the classes that are kinds of a source class, beside the full ones."""
    if board.metric not in POOLED:
        return []
    lines: list[str] = []
    for column in board.columns:
        name = column.domain.partition("[")[0]
        known = DOMAINS.card(name).source_overlap if name in DOMAINS else {}
        seen = {other for others in known.values() for other in others}
        told: list[str] = []
        left_out = 0
        for key, row in board.rows.items():
            score = row.scores.get(column)
            if score is None:
                continue
            ids = [c for c in score.per_class if score.classes.get(c, "") not in seen]
            left_out = len(score.per_class) - len(ids)
            if ids and left_out:
                new = statistics.fmean(x for c in ids for x in score.per_class[c])
                told.append(f"{key.label} {new:.2f} ({new - score.mean:+.2f})")
        if told:
            lines.append(
                f"{column.domain} without the {left_out} classes that are kinds of a source class: "
                + ", ".join(told)
            )
    return lines


def _copies(board: Leaderboard) -> list[str]:
    """Queries that were shown their own picture as a support, under another name."""
    lines: list[str] = []
    for column in board.columns:
        pairs = sorted(note.removeprefix(COPY) for note in board.copies.get(column, ()))
        if pairs:
            queries = len({pair.partition(" = ")[0] for pair in pairs})
            more = f" and {len(pairs) - 2} more" if len(pairs) > 2 else ""
            lines.append(
                f"{column.domain}: {queries} {'query is' if queries == 1 else 'queries are'} shown "
                f"their own picture as a support under another name: {'; '.join(pairs[:2])}{more}"
            )
    return lines
