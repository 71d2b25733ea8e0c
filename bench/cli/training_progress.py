"""Progress of a training: loss, source-validation mIoU, time left."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .console import talk
from .progress import PERIOD, bar, counting, duration

Tell = Callable[..., None]
"""Told of `done, total, loss` and, by name, of the latest `validation` mIoU."""


@contextmanager
def progress(unit: str) -> Generator[Tell]:
    """A bar with loss and time left on a terminal, elsewhere a line each 5 % and 30 seconds."""
    if not sys.stderr.isatty():
        spoken, began, first, due = 0, time.perf_counter(), 0, time.perf_counter() + PERIOD

        def tell(
            done: int, total: int, loss: float | None, *, validation: float | None = None
        ) -> None:
            nonlocal spoken, first, due
            first, now = first or done, time.perf_counter()
            if done == total or done * 20 // total > spoken or now >= due:
                spoken, due = done * 20 // total, now + PERIOD
                left = (now - began) / (done - first + 1) * (total - done)
                more = f", {duration(left)} left" if done < total else ""
                talk(f"{done} of {total} {unit}, {_shown(loss, validation)}{more}")

        yield tell
        return
    with bar() as shown:
        count = counting(shown, unit)

        def update(
            done: int, total: int, loss: float | None, *, validation: float | None = None
        ) -> None:
            count(done, total, _shown(loss, validation))

        yield update


def _shown(loss: float | None, validation: float | None) -> str:
    text = "looking only" if loss is None else f"loss {loss:.3f}"
    return text if validation is None else f"{text}, source-val mIoU {validation:.2f}"
