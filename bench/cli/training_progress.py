"""Progress of a training: loss, source-validation mIoU, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .console import talk
from .progress import bar

Tell = Callable[..., None]
"""Told of `done, total, loss` and, by name, of the latest `validation` mIoU."""


@contextmanager
def progress(unit: str) -> Generator[Tell]:
    """A bar with loss and time left on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        spoken, began, first = 0, time.perf_counter(), 0

        def tell(
            done: int, total: int, loss: float | None, *, validation: float | None = None
        ) -> None:
            nonlocal spoken, first
            first = first or done
            if done == total or done * 20 // total > spoken:
                spoken = done * 20 // total
                left = (time.perf_counter() - began) / (done - first + 1) * (total - done)
                more = f", {left:.0f} s left" if done < total else ""
                talk(f"{done} of {total} {unit}, {_shown(loss, validation)}{more}")

        yield tell
        return
    with bar() as shown:
        task = shown.add_task(unit, total=None)

        def update(
            done: int, total: int, loss: float | None, *, validation: float | None = None
        ) -> None:
            shown.update(task, completed=done, total=total, description=_shown(loss, validation))

        yield update


def _shown(loss: float | None, validation: float | None) -> str:
    text = "looking only" if loss is None else f"loss {loss:.3f}"
    return text if validation is None else f"{text}, source-val mIoU {validation:.2f}"
