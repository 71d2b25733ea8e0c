"""Where the time of a cell went, as `timings.jsonl` tells it."""

import json
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cdfss_bench import plain_json

STAGES = ("load", "encode", "adapt", "match")
"""Waiting for pictures; the backbone; learning from supports; condensing, matching, deciding."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One batch of episodes, or a sum of batches.

    Attributes:
        episodes: how many.
        encoded: images that went through the backbone for them.
        seconds: by stage.
    """

    episodes: int
    encoded: int
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def batches(path: Path) -> Iterator[Spent]:
    """The readable batches of a `timings.jsonl`."""
    for values in _readable(path):
        try:
            seconds = {stage: float(values[f"{stage}_ms"]) / 1000 for stage in STAGES}
            yield Spent(len(values["episodes"]), int(values["encoded"]), seconds)
        except (ValueError, KeyError, TypeError):
            continue


@dataclass(frozen=True, slots=True)
class Around:
    """What one run of a cell took beside the stages of its episodes, in seconds.

    Attributes:
        episodes: that it computed.
        build: building the network; 0 where the cell before had the same.
        cost: measuring FLOPs and latency; 0 where they were known.
        rest: counting, writing, summing up.
    """

    episodes: int
    build: float
    cost: float
    rest: float

    def to_line(self) -> str:
        """For `timings.jsonl`."""
        spent = {"build": self.build, "cost": self.cost, "rest": self.rest}
        milliseconds = {f"{name}_ms": round(1000 * value, 3) for name, value in spent.items()}
        return json.dumps({"computed": self.episodes, **milliseconds})


class Clock:
    """What a cell took, by part, from its construction on."""

    def __init__(self):
        self._began = time.perf_counter()
        self._parts: dict[str, float] = {}

    @contextmanager
    def of(self, part: str) -> Generator[None]:
        """Times one part."""
        began = time.perf_counter()
        yield
        self._parts[part] = time.perf_counter() - began

    def around(self, episodes: int, staged: float) -> Around:
        """All but the `staged` seconds, which stand with their episodes."""
        build, cost = self._parts["build"], self._parts["cost"]
        rest = time.perf_counter() - self._began - build - cost - staged
        return Around(episodes, build, cost, rest)


def arounds(path: Path) -> Iterator[Around]:
    """Those of a `timings.jsonl`: one for each run of the cell that got to its end."""
    for values in _readable(path):
        try:
            build, cost, rest = (float(values[f"{n}_ms"]) / 1000 for n in ("build", "cost", "rest"))
            yield Around(int(values["computed"]), build, cost, rest)
        except (ValueError, KeyError, TypeError):
            continue


def added(parts: Iterable[Spent]) -> Spent:
    """All batches in one."""
    known = list(parts)
    seconds = {stage: sum(part.seconds[stage] for part in known) for stage in STAGES}
    return Spent(sum(p.episodes for p in known), sum(p.encoded for p in known), seconds)


def _readable(path: Path) -> Iterator[dict[str, Any]]:
    for line in (
        path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    ):
        try:
            values: object = plain_json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield cast("dict[str, Any]", values)
