"""The charts of mIoU against cost: operations of all rows, times machine by machine."""

from collections.abc import Iterable, Mapping

from ...comparison.leaderboard import Leaderboard, RowKey
from ...comparison.pareto import Measured, by_machine, measured, only_column
from ...comparison.ranking import Standings
from ..number_format import UNSTEADY, differs, is_steady
from .svg import Drawing, Point, scatter


def pareto(
    board: Leaderboard, where: Standings, colors: Mapping[RowKey, int]
) -> list[tuple[str, Drawing | None]]:
    """Captions and charts; the line of each joins what nothing cheaper reaches.

    Rows that learn at test are diamonds and pay for it. A ring is the same row as the published
    code computes it. Times of two machines never share a chart.
    """
    rows = measured(board)
    column = only_column(board)
    score = "mean mIoU (%)" if column is None else f"mIoU on {column.domain} (%)"

    def points(keys: Iterable[RowKey], *, time: bool) -> list[Point]:
        return [_point(key, rows[key], board, where, colors[key], time=time) for key in keys]

    flops = points(rows, time=False)
    notes = ["dashed: what nothing cheaper reaches; pale: dominated"]
    if any(row.key.adaptation != "none" for row in board.rows.values()):
        notes.append("◆ learns at test, which counts")
    ringed = [*notes, *(["○ as the published code computes it"] if _has_rings(flops) else [])]
    free = [key.label for key, row in rows.items() if not row.gflop]
    ringed += [f"no operations, not drawn: {', '.join(free)}"] if free else []
    said = "; ".join(ringed)
    plots = [
        (
            f"{_begun(score)} against operations ({said})",
            scatter(flops, "GFLOP per episode, nothing cached; a multiply-add counts 2", score),
        )
    ]
    for machine, keys in by_machine(board, rows).items():
        caption = f"{_begun(score)} against time on {machine}"
        label = "ms per episode, median, batch 1, nothing cached"
        restless = [key.label for key in keys if _is_unsteady(board, key)]
        told = [*notes, *([f"{UNSTEADY} unsteady: {', '.join(restless)}"] if restless else [])]
        plots.append(
            (f"{caption} ({'; '.join(told)})", scatter(points(keys, time=True), label, score))
        )
    return plots


def _point(
    key: RowKey,
    row: Measured,
    board: Leaderboard,
    where: Standings,
    color: int,
    *,
    time: bool,
) -> Point:
    standing, cost = where.get((key, only_column(board))), board.rows[key].cost
    assert cost is not None
    interval = standing.interval if standing else None
    ends = (interval.low, interval.high) if interval else (row.miou, row.miou)
    published = cost.flops_published if differs(cost) and not time else None
    aside = (
        f", transforms {cost.flops_fft / 1e9:.3g} besides" if cost.flops_fft and not time else ""
    )
    return Point(
        key.label,
        row.ms if time else row.gflop,
        row.miou,
        *ends,
        color,
        adapts=key.adaptation != "none",
        ranked=row.ranked,
        published=None if published is None else published / 1e9,
        aside=aside,
    )


def _is_unsteady(board: Leaderboard, key: RowKey) -> bool:
    cost = board.rows[key].cost
    return cost is not None and not is_steady(cost)


def _has_rings(points: Iterable[Point]) -> bool:
    return any(point.published is not None for point in points)


def _begun(score: str) -> str:
    """A caption's first words: the label without its unit."""
    return score.partition(" (")[0].replace("mean", "Mean", 1)
