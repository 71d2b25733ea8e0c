"""What the rows of a leaderboard cost, as a table of text and as lines for other programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..comparison.caveats import code_notes, record_notes
from ..comparison.current import STALE
from ..comparison.leaderboard import Leaderboard, RowKey
from ..comparison.pareto import by_machine, frontier, measured
from ..comparison.rows import Row
from ..records.schema import CostPart
from .leaderboard_table import backbone, title, weights
from .number_format import UNSTEADY_LEGEND, count, differs, fft, gflop, is_steady, steadiness
from .text_table import BLANK, INTERVALS, STACKED, TextTable

_PERCENTILES = ("p50", "p90", "p99")
_PARTS = ("encode", "match", "adapt", "episode")


def cost_table(board: Leaderboard, *, every_note: bool = False) -> TextTable:
    """Parameters, operations, latencies, memory, and who stands on which frontier.

    Below stands each note of the records if `every_note`, else two lines a row.
    """
    shown = _shown(_costs(board))
    machines = {name: chr(ord("a") + i) for i, name in enumerate(_machines(board))}
    best = frontiers(board)
    sections: dict[int, str] = {}
    rows: list[list[str]] = []
    behind: dict[tuple[int, int], Sequence[str]] = {}
    for section in board.sections():
        if section.is_told:
            sections[len(rows)] = section.title
        for row in section.rows:
            cells = {header: cell for header, cell in _cells(row).items() if header in shown}
            cells["on"] = machines.get(row.machine, BLANK)
            cells["frontier"] = best.get(row.key, BLANK)
            behind |= {(len(rows), at): [row.cost_cell] for at in range(_FIRST, len(cells) - 2)}
            rows.append(list(cells.values()))
    headers = [*shown, "on", "frontier"]
    return TextTable(
        title=f"cost · {title(board)}",
        headers=headers,
        rows=rows,
        numeric=frozenset(range(_FIRST, len(headers) - 2)),
        notes=[
            *_notes(board, shown),
            *(f"{sign}: {name}" for name, sign in machines.items()),
            *code_notes(board),
            *record_notes(board, every=every_note),
        ],
        sections=sections,
        outdated=board.outdated,
        behind=behind,
        secondary=_secondary(board),
        whole="report --cost --wide, or report --cost -f csv",
    )


def _secondary(board: Leaderboard) -> list[str]:
    """Columns that a narrow screen may lack, the least needed first; none that tells rows apart."""
    names = ["MiB", "best batch", "FFT", STACKED, "encode ms", "match ms", "adapt ms"]
    names += ["support", "GFLOP query", "adaptation", "as published", "params", "on", INTERVALS]
    labels = [key.label for key in board.rows]
    return ["weights", "backbone", *names] if len(set(labels)) == len(labels) else names


def frontiers(board: Leaderboard) -> dict[RowKey, str]:
    """For each row that has a score and a cost: `FLOPs`, `time`, both, or `dominated`."""
    rows = measured(board)
    ranked = {key: row for key, row in rows.items() if row.ranked}
    words: dict[RowKey, list[str]] = {key: [] for key in ranked}
    for key in frontier({key: (row.gflop, row.miou) for key, row in ranked.items()}):
        words[key].append("FLOPs")
    for keys in by_machine(board, ranked).values():
        for key in frontier({key: (ranked[key].ms, ranked[key].miou) for key in keys}):
            words[key].append("time")
    return {key: ", ".join(found) or "dominated" for key, found in words.items()}


def cost_lines(board: Leaderboard) -> list[dict[str, Any]]:
    """One line per row of the board, numbers in full precision."""
    best = frontiers(board)
    lines: list[dict[str, Any]] = []
    for row in (row for section in board.sections() for row in section.rows):
        key = row.key
        if row.cost is None:
            continue
        plain = {"latency_ms", "best_batch", "uncounted"}
        values = row.cost.model_dump(exclude=plain)
        values |= _times("", row.cost.latency_ms)
        batch = row.cost.best_batch
        values["best_batch"] = batch.episodes if batch else None
        values["best_batch_episodes_per_second"] = batch.episodes_per_second if batch else None
        values["best_batch_peak_memory_mb"] = batch.peak_memory_mb if batch else None
        values |= _times("best_batch_", batch.latency_ms if batch else {})
        values["uncounted"] = " ".join(row.cost.uncounted)
        notes = dict.fromkeys(note for score in row.scores.values() for note in score.notes)
        values |= {
            "latency_stable": is_steady(row.cost),
            "machine": row.machine,
            "frontier": best.get(key, ""),
            "code": row.cost_state,
            "notes": list(notes),
        }
        lines.append({**board.key._asdict(), **key._asdict(), **values})
    return lines


def _times(prefix: str, latency: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    return {
        f"{prefix}{part}_ms_{name}": latency.get(part, {}).get(name)
        for part in _PARTS
        for name in (*_PERCENTILES, "runs")
    }


def _shown(costs: Sequence[CostPart]) -> list[str]:
    """The columns that say something of some row."""
    says = {
        "adaptation": any(cost.flops_adapt for cost in costs),
        "as published": any(map(differs, costs)),
        "FFT": any(cost.flops_fft for cost in costs),
        "adapt ms": any("adapt" in cost.latency_ms for cost in costs),
        "best batch": any(cost.best_batch for cost in costs),
    }
    return [header for header in _HEADERS if says.get(header, True)]


_FIRST = 3
"""Index of the first figure."""
_HEADERS = (
    "method", "backbone", "weights", "params", "GFLOP query", "support", "adaptation",
    "episode", "as published", "FFT", "encode ms", "match ms", "adapt ms", "episode ms",
    "best batch", "MiB",
)  # fmt: skip


def _cells(row: Row) -> dict[str, str]:
    cells: dict[str, str] = dict.fromkeys(_HEADERS, BLANK)
    key, cost = row.key, row.cost
    mark = STALE if cost is not None and row.cost_state == "stale" else ""
    cells |= {
        "method": f"{key.label}{mark}",
        "backbone": backbone(row),
        "weights": weights(row),
    }
    if cost is None:
        return cells
    cells |= {
        "params": count(cost.params),
        "GFLOP query": gflop(cost.flops_query),
        "support": gflop(cost.flops_support),
        "adaptation": gflop(cost.flops_adapt or None),
        "episode": gflop(cost.flops_episode),
        "as published": gflop(cost.flops_published),
        "FFT": fft(cost),
        "MiB": f"{cost.peak_memory_mb:.0f}" if cost.peak_memory_mb else BLANK,
    }
    for part in _PARTS:
        times = cost.latency_ms.get(part)
        if times is not None:
            cells[f"{part} ms"] = f"{steadiness(cost, part)}{_milliseconds(times)}"
    if cost.best_batch is not None:
        each = cost.best_batch
        cells["best batch"] = f"{each.episodes} ({each.episodes_per_second:.1f} episodes/s)"
    return cells


def _milliseconds(times: Mapping[str, float]) -> str:
    found = [times[name] for name in _PERCENTILES]
    p50, p90, p99 = (f"{ms:.1f}" if found[0] < 100 else f"{ms:.0f}" for ms in found)
    return p50 if times.get("runs") == 1 else f"{p50} [{p90}, {p99}]"


def _costs(board: Leaderboard) -> list[CostPart]:
    return [row.cost for row in board.rows.values() if row.cost is not None]


def _machines(board: Leaderboard) -> list[str]:
    return list(dict.fromkeys(row.machine for row in board.rows.values() if row.cost is not None))


def _notes(board: Leaderboard, shown: Sequence[str]) -> list[str]:
    notes = [
        "query, support, adaptation, episode and as published in GFLOP; a multiply-add counts 2",
        "query: of one more against known supports; support: of one more",
        "episode: nothing is cached, learning at test is included",
    ]
    if "as published" in shown:
        notes.append(
            f"as published: the same episode as the published code computes it; {BLANK} not known"
        )
    if "FFT" in shown:
        notes.append("FFT: GFLOP of the Fourier transforms of an episode, in no other column")
    notes.append(
        "ms: p50 [p90, p99] at batch 1, nothing cached; encode is one image, match one episode"
    )
    if "adapt ms" in shown:
        notes.append("adapt ms: one run, part of the episode's")
    if any(not is_steady(cost, part) for cost in _costs(board) for part in cost.latency_ms):
        notes.append(UNSTEADY_LEGEND)
    notes += [
        "MiB: peak; on an accelerator of method and work, on a CPU of the whole process",
        "frontier: nothing cheaper (FLOPs; time on the same machine) has a higher mIoU",
        *_uncounted(board),
    ]
    return notes


def _uncounted(board: Leaderboard) -> list[str]:
    """Per set of operations one line, with everybody it concerns."""
    concerned: dict[str, dict[str, None]] = {}
    for row in board.rows.values():
        if row.cost is not None and row.cost.uncounted:
            names = ", ".join(row.cost.uncounted)
            concerned.setdefault(names, {})[row.key.label] = None
    return [f"not counted: {names} ({', '.join(labels)})" for names, labels in concerned.items()]
