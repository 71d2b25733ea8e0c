"""Figures of cost as tables write them."""

from ..records.schema import CostPart
from .text_table import BLANK


def count(number: int) -> str:
    """8.67 M, 412 k."""
    if number >= 1_000_000:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number else "0"


def gflop(flops: int | None) -> str:
    """In thousands of millions, two decimals."""
    return BLANK if flops is None else f"{flops / 1e9:.2f}"


def fft(cost: CostPart) -> str:
    """GFLOP of transforms; they are small, so more decimals."""
    return f"{cost.flops_fft / 1e9:.4f}" if cost.flops_fft else BLANK


def differs(cost: CostPart) -> bool:
    """Whether the published code is known to compute another number of operations than ours."""
    return cost.flops_published not in (None, cost.flops_episode)


UNSTEADY = "~"
"""Stands before a time that another measurement may not repeat."""
UNSTEADY_LEGEND = (
    f"{UNSTEADY} unsteady: p90 above twice p50, or other programs had the processor meanwhile"
)
_SPREAD, _OWN_SHARE = 2.0, 0.8


def is_steady(cost: CostPart, part: str = "episode") -> bool:
    """Whether a latency is a number to compare: a small spread, and a processor of its own."""
    times = cost.latency_ms[part]
    is_alone = cost.cpu_share is None or cost.cpu_share >= _OWN_SHARE
    return is_alone and times["p90"] <= _SPREAD * times["p50"]


def milliseconds(cost: CostPart) -> str:
    """The median of an episode, with a mark where it is unsteady."""
    return f"{steadiness(cost)}{cost.latency_ms['episode']['p50']:.1f}"


def steadiness(cost: CostPart, part: str = "episode") -> str:
    """The mark of an unsteady time, else nothing."""
    return "" if is_steady(cost, part) else UNSTEADY
