"""mIoU while training: on held-out source episodes, and on the targets as a diagnosis.

The curve on the targets shows LoEC's early peak (best in the first pass over the source, then a
decline). It is computed from target labels: it is written beside the weights and chooses nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdfss_bench import plain_json
from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method

from ..evaluation.evaluator import Settings, evaluate
from ..records.cell_folder import Appender
from ..statistics.metrics import measure


@dataclass(frozen=True, slots=True)
class Targets:
    """Where and how often the curve is measured.

    Attributes:
        domains: opened.
        episodes: the first so many of the published protocol, of each.
        every: fraction of a pass over all (class, image) pairs of the source; None: no curve,
            the targets serve an oracle only.
        shots: supports per episode.
    """

    domains: Sequence[Domain]
    episodes: int = 100
    every: float | None = 0.25
    shots: int = 1

    def scores(self, network: Method, device: str) -> dict[str, float]:
        """MIoU in percent by domain."""
        return {
            domain.title: miou(network, domain, self.asked(domain), device)
            for domain in self.domains
        }

    def asked(self, domain: Domain) -> Sequence[Episode]:
        """The episodes of a domain."""
        count = min(self.episodes, domain.published_length)
        return domain.episodes(self.shots, 0, "patnet", count).episodes


def miou(network: Method, domain: Domain, episodes: Sequence[Episode], device: str) -> float:
    """Class-pooled mIoU (%) by the one evaluator; the network goes on training after."""
    was_training = network.training
    try:
        settings = Settings(device=device)
        rows = [r for b, _ in evaluate(network, domain, episodes, settings=settings) for r in b]
    finally:
        network.train(was_training)
    return measure([r.episode.class_id for r in rows], [r.counts for r in rows]).miou


def watched_steps(total: int, every: float) -> set[int]:
    """The steps after which something is looked at: each `every` steps or parts of one, the last.

    Args:
        total: steps in all.
        every: in steps, not necessarily whole.

    Raises:
        UserError: if it is not positive.
    """
    if every <= 0:
        raise UserError("the distance between two validations must be positive")
    steps: set[int] = {total}
    position = every
    while position < total:
        steps.add(max(1, round(position)))
        position += every
    return steps


class JsonLines:
    """A file of JSON lines with a `step` each, which a resumed training takes up where it stood.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = path

    def rewind(self, step: int) -> None:
        """Drops what was said of later steps: they are done again.

        Raises:
            UserError: if the file cannot be written.
        """
        if not self.path.is_file():
            return
        kept = [line for line, row in self._lines() if int(row["step"]) <= step]
        self.path.unlink()
        self._append(kept)

    def rows(self) -> list[dict[str, Any]]:
        """Every whole line, in order; none where there is no file."""
        return [row for _, row in self._lines()] if self.path.is_file() else []

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = plain_json.loads(line)
                int(row["step"])
            except (ValueError, KeyError, TypeError):
                continue  # torn by the end of the process that wrote it
            yield line, row

    def add(self, *rows: Mapping[str, object]) -> None:
        """Adds a line per row.

        Raises:
            UserError: if the disk is full.
        """
        self._append([json.dumps(row, ensure_ascii=False) for row in rows])

    def _append(self, lines: Sequence[str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with Appender(self.path) as file:
            file.append(lines)
