"""Independent parts of an episode, each in a thread of its own.

What is computed of one support at a time are many small operations. To share each of them between
processors takes longer than the operations do; a thread for each support shares the supports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[work(item) for item in items]`, on a CPU.

    torch's threads are shared out: with two of them, two items are computed at a time with one
    thread each. Where gradients are recorded, one item follows the other. Modes that belong to a
    thread, such as those that count operations, do not see what is computed, unless torch has one
    thread.
    """
    given = list(items)
    threads = torch.get_num_threads()
    many = min(threads, len(given))
    if many < 2 or torch.is_grad_enabled():
        return [work(item) for item in given]
    inference = torch.is_inference_mode_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run(item: Item) -> Result:
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(False),
            torch.autocast("cpu", dtype, enabled=autocast),
        ):
            return work(item)

    try:
        with ThreadPoolExecutor(
            many, initializer=torch.set_num_threads, initargs=(threads // many,)
        ) as pool:
            return list(pool.map(run, given))
    finally:
        # The number is one of each thread, but also what threads that begin later start with.
        torch.set_num_threads(threads)
