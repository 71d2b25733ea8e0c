"""Two methods side by side as a table of text."""

from ..comparison.compare import Comparison
from ..comparison.current import STALE, STALE_LEGEND
from ..comparison.notes import note_lines
from .leaderboard_table import SHORT
from .text_table import BLANK, TextTable

_DETECTABLE = (
    "detectable: the difference in points that this many episodes find in four cases of five"
)


def comparison_table(comparison: Comparison) -> TextTable:
    """Two methods side by side, a line per domain."""
    where = comparison.field
    headers = ["domain", "episodes", "seeds", "A", "B", "A - B", "95 % interval", "p (Holm)"]
    headers += ["wins", "ties", "losses", "detectable", "verdict"]
    rows = [
        [
            f"{each.domain}{SHORT if each.short_of else ''}",
            each.length,
            ", ".join(map(str, each.seeds)),
            f"{each.a:.2f}{STALE if each.stale_a else ''}",
            f"{each.b:.2f}{STALE if each.stale_b else ''}",
            f"{each.a - each.b:+.2f}" + ("" if each.spread is None else f" ±{each.spread:.2f}"),
            BLANK
            if each.interval is None
            else f"{each.interval.low:+.2f} to {each.interval.high:+.2f}",
            f"{each.p_holm:.4f}",
            *map(str, (each.wins, each.ties, each.losses)),
            BLANK if each.detectable is None else f"{each.detectable:.2f}",
            each.verdict,
        ]
        for each in comparison.differences
    ]
    notes = [
        "mIoU in %, paired by query image; episodes per seed; wins, ties, losses over all seeds",
        _DETECTABLE,
        f"a claim needs p <= 0.05 and {comparison.minimum:g} points",
    ]
    if any(each.spread is not None for each in comparison.differences):
        notes.append("A - B in points; ± standard deviation over seeds")
    if any(each.interval is None for each in comparison.differences):
        notes.append(f"{BLANK} no interval where a class has fewer than 5 query images")
    notes += [
        f"{SHORT} {each.domain}: {each.short_of}"
        for each in comparison.differences
        if each.short_of
    ]
    if any(each.stale_a or each.stale_b for each in comparison.differences):
        notes.append(STALE_LEGEND)
    return TextTable(
        title=(
            f"A = {comparison.a}, B = {comparison.b} · {where.shots}-shot · "
            f"protocol {where.protocol} · evaluator {where.evaluator}"
        ),
        headers=headers,
        rows=rows,
        numeric=frozenset({1, *range(3, 12)}),
        notes=[*notes, *comparison.remarks, *note_lines(comparison.notes)],
        secondary=["ties", "losses", "wins", "seeds", "detectable", "episodes"],
        whole="compare --wide, or compare --json",
        about={_DETECTABLE: ("detectable",)},
    )
