"""Does a method need its support: each against the same method shown supports of a wrong class."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import partial
from typing import Literal, NamedTuple

from ..records.kept import Kept
from ..records.results import RunResult
from ..statistics.bootstrap import Interval, resampled
from ..statistics.claims import ALPHA, MINIMUM, NONE, detectable, is_no_gain
from ..statistics.clusters import clustered
from ..statistics.permutation import difference, holm, p_value, swapped
from .leaderboard import ColumnKey, Leaderboard, RowKey, controls_of
from .pairing import of_same_seeds

PERMUTATIONS = 2_000

Finding = Literal["better", "slightly better", "not better", "no significant difference"]
"""What is known of a method against its control."""


class AgainstControl(NamedTuple):
    """A row against its shuffled-support control in one column.

    Attributes:
        points: its mIoU (on a board of Dice its Dice) minus the control's, on the seeds that both
            answered.
        p: of the sign-flip test over query images, adjusted by Holm's rule for the row's columns.
        interval: 95 %, of `points`; None where a class has fewer than 5 query images.
    """

    points: float
    p: float
    interval: Interval | None

    @property
    def detectable(self) -> float | None:
        """The difference that this comparison finds in four cases of five, in points."""
        return detectable(self.interval)

    @property
    def finding(self) -> Finding:
        """What may be said.

        `not better` needs an equivalence bound (`claims.is_no_gain`), or a significant difference
        in the control's favour. `slightly better` is significant and below the least claim.
        """
        significant = self.p <= ALPHA
        if is_no_gain(self.interval) or (significant and self.points < 0):
            return "not better"
        if not significant:
            return NONE
        return "better" if self.points >= MINIMUM else "slightly better"


def against_controls(
    board: Leaderboard, by_cell: Mapping[str, RunResult], kept: Kept
) -> dict[tuple[RowKey, ColumnKey], AgainstControl]:
    """Every row that has a control on the board against it, column by column.

    What older code computed is compared with nothing.

    Args:
        board: whose rows are compared.
        by_cell: the results that the board shows.
        kept: what was computed of the same rows before.

    Raises:
        RecordError: if a finished record has lost its rows.
    """
    result: dict[tuple[RowKey, ColumnKey], AgainstControl] = {}
    for row, control in controls_of(board):
        tested: dict[ColumnKey, AgainstControl] = {}
        for column, score in row.scores.items():
            other = control.scores.get(column)
            if other is None or score.is_stale or other.is_stale:
                continue
            pairs = of_same_seeds(score, other, by_cell)
            contents = [(ours.content, theirs.content) for ours, theirs in pairs]
            compute = partial(_tested, pairs, column, board.metric)
            found = kept.get(["shuffled", column.domain, contents], compute)
            if found is not None:
                points, p, ends = found
                interval = None if ends is None else Interval(*ends)
                tested[column] = AgainstControl(points, p, interval)
        adjusted = holm({column: found.p for column, found in tested.items()})
        for column, found in tested.items():
            result[row.key, column] = found._replace(p=adjusted[column])
    return result


def _tested(
    common: Sequence[tuple[RunResult, RunResult]], column: ColumnKey, metric: str
) -> tuple[float, float, tuple[float, ...] | None] | None:
    """What `AgainstControl` holds, p not adjusted; None where no pair asked the same queries."""
    pairs = [(a, b) for a, b in common if a.asked == b.asked]
    if not pairs:
        return None
    ours, theirs = ([pair[i].counted for pair in pairs] for i in (0, 1))
    clusters = clustered([*ours, *theirs], metric=metric)
    under_null = swapped(
        clusters, permutations=PERMUTATIONS, stream=f"{column.domain}@shuffled-support"
    )
    points, share = difference(clusters), 1 / len(pairs)
    weights = [share] * len(pairs) + [-share] * len(pairs)
    again = resampled(clusters, weights, resamples=PERMUTATIONS)
    return points, p_value(points, under_null), astuple(again.mean) if again else None
