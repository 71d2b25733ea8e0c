"""Every episode of every record as pictures in a folder of pages that a browser opens from disk.

A page fetches nothing: it adds `<script>` elements for the masks that are on the screen. A record's
masks lie in files of a hundred episodes each, which name its cell: what is there is kept.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdfss_bench import __version__
from cdfss_bench.datasets import Domain
from cdfss_bench.errors import (
    RecordError,
    UserError,
)
from cdfss_bench.files import write_atomically
from cdfss_bench.progress import progress_of
from cdfss_bench.words import plural

from ...comparison.leaderboard import ColumnKey, Leaderboard
from ...records.cell_folder import EpisodeRow, safe_name
from ...records.results import RunResult
from ...statistics.metrics import iou
from ..html.rendering import render
from .panels import PREDICTION, TRUTH, predicted
from .redrawn import SIDE, Redrawer, overlay, photograph
from .saved_masks import SavedMasks

FORMAT = 1
"""Of the files of masks; of another format they are drawn again."""
CHUNK = 100
"""Episodes in one file of masks."""
_NAMED = 3
"""Records that are named in one line; of more the number stands."""


@dataclass
class Group:
    """Records that were asked the same queries: one page of the gallery.

    Attributes:
        name: of its page, without suffix.
        answers: the best first, by label.
        reasons: why there are no pictures of a record, by cell.
    """

    name: str
    title: str
    answers: list[tuple[str, RunResult]]
    reasons: dict[str, str] = field(default_factory=dict[str, str])


class Gallery:
    """The gallery of some leaderboards, written to a folder.

    Args:
        folder: where it is written.
        boards: whose rows are shown.
        known: the results that they show, by cell.
        redrawer: computes masks again.
        saved: masks that need not be computed.
        back: address of the leaderboards, relative to the folder.
    """

    def __init__(
        self,
        folder: Path,
        boards: Sequence[Leaderboard],
        known: Mapping[str, RunResult],
        redrawer: Redrawer,
        saved: SavedMasks | None = None,
        back: str = "",
    ):
        self.folder = folder
        self.back = back
        self.redrawer = redrawer
        self.saved = saved
        self.groups = list(_grouped(boards, known))

    def forecast(self) -> str:
        """How many episodes are to be drawn and how long that takes, in one line."""
        answers = [answer for group in self.groups for _, answer in group.answers]
        left = [(answer, self._missing(answer)) for answer in answers]
        count = sum(_length(answer, chunk) for answer, chunks in left for chunk in chunks)
        kept = sum(len(answer.rows) for answer in answers) - count
        costs = {id(answer): answer.record.cost for answer, _ in left}
        unknown = any(chunks and costs[id(answer)] is None for answer, chunks in left)
        seconds = (
            sum(
                _length(answer, chunk) * cost.latency_ms["episode"]["p50"] / 1000
                for answer, chunks in left
                for chunk in chunks
                if (cost := costs[id(answer)]) is not None
            )
            + 0.01 * count
        )  # drawing itself
        about = "at least" if unknown else "about"
        return (
            f"gallery: {count:,} {plural(count, 'episode')} of {len(answers)} "
            f"{plural(len(answers), 'record')} to draw, {kept:,} kept, "
            f"{about} {_spoken(seconds)} on the machine of the records"
            + (", less where masks are saved" if self.saved and count else "")
        )

    def write(self) -> Path:
        """Draw what is missing and write the pages; the path of the first.

        Raises:
            UserError: if a file cannot be written.
        """
        answers = [answer for group in self.groups for _, answer in group.answers]
        total, done = sum(len(self._missing(answer)) for answer in answers), 0
        with progress_of("drawing episodes") as tell:
            for group in self.groups:
                for _, answer in group.answers:
                    try:
                        draw = self._drawing(answer) if self._missing(answer) else None
                        for chunk in self._missing(answer):
                            assert draw is not None
                            self._write_masks(answer, chunk, draw)
                            tell(done := done + 1, total)
                    except UserError as error:
                        group.reasons[answer.record.cell] = error.problem
                self._write_page(group)
        page = self.folder / "index.html"
        values = {"version": __version__, "groups": self.groups, "back": self.back}
        text = render("gallery_index.html.j2", **values)
        write_atomically(page, text)
        return page

    def reasons(self) -> list[str]:
        """Why records have no pictures, a line per reason."""
        found: dict[str, list[str]] = {}
        for group in self.groups:
            for label, answer in group.answers:
                if answer.record.cell in group.reasons:
                    who = f"{label} on {answer.record.domain.title}"
                    found.setdefault(group.reasons[answer.record.cell], []).append(who)
        return [
            f"no pictures of {', '.join(dict.fromkeys(who))}: {why}"
            if len(who) <= _NAMED
            else f"no pictures of {len(who)} records: {why}"
            for why, who in found.items()
        ]

    def _drawing(self, answer: RunResult) -> Callable[[EpisodeRow], NDArray[np.uint8]]:
        """What gives the mask of an episode of a record, uint8 [S, S].

        Raises:
            DataError: if its data are not here.
            WeightsError: if neither its masks nor its weights are.
            RecordError: if its manifest is damaged, or no masks of another program are here.
        """
        record = answer.record
        domain, manifest = self.redrawer.asked(answer)
        masks = self.saved.of(answer, domain, manifest) if self.saved else None
        if masks is not None:
            return lambda row: masks.read(row.index)
        if record.method.external:
            raise RecordError("its masks are of another program: name their folder with --masks")
        network, seed = self.redrawer.network_of(record), record.episodes.seed
        return lambda row: predicted(network, domain, manifest[row.index], seed)

    def _write_masks(
        self, answer: RunResult, chunk: int, draw: Callable[[EpisodeRow], NDArray[np.uint8]]
    ) -> None:
        rows = answer.rows[chunk * CHUNK : (chunk + 1) * CHUNK]
        drawn = [base64.b64encode(overlay(draw(row), PREDICTION, SIDE)).decode() for row in rows]
        told = f"masks({json.dumps(answer.record.cell[:16])},{chunk},{json.dumps(drawn)});\n"
        write_atomically(self._file(answer, chunk), _head(answer) + told)

    def _missing(self, answer: RunResult) -> list[int]:
        return [
            chunk
            for chunk in range(-(-len(answer.rows) // CHUNK))
            if not _begins(self._file(answer, chunk), _head(answer))
        ]

    def _file(self, answer: RunResult, chunk: int) -> Path:
        return self.folder / "masks" / f"{answer.record.cell[:16]}-{chunk}.js"

    def _write_page(self, group: Group) -> None:
        """The page of a group and the pictures of its queries and supports."""
        (_, first), *_ = group.answers
        try:
            domain, manifest = self.redrawer.asked(first)
        except UserError as error:
            # Numbers, classes and filters are there without the data.
            group.reasons.setdefault(first.record.cell, error.problem)
            domain = manifest = None
        episodes: list[list[Any]] = []
        for row in first.rows:
            supports: list[str] = []
            query = ""
            if domain is not None and manifest is not None:
                asked = manifest[row.index]
                query = self._picture(domain, asked.class_id, asked.query)
                supports = [
                    self._picture(domain, asked.support_class_id, name) for name in asked.supports
                ]
            episodes.append([row.episode.class_id, row.episode.query, query, supports])
        values = {
            "chunk": CHUNK,
            "classes": first.record.domain.classes,
            "episodes": episodes,
            "methods": [
                {
                    "cell": answer.record.cell[:16],
                    "label": label,
                    "iou": [round(iou(r.counts.inter, r.counts.union), 2) for r in answer.rows],
                    "reason": group.reasons.get(answer.record.cell, ""),
                }
                for label, answer in group.answers
            ],
        }
        text = render("gallery.html.j2", version=__version__, group=group, values=values)
        write_atomically(self.folder / f"{group.name}.html", text)

    def _picture(self, domain: Domain, class_id: int, name: str) -> str:
        """The name of a picture, which is written with its true mask unless it is there."""
        told = f"{domain.fingerprint}\n{class_id}\n{name}\n{SIDE}"
        picture = hashlib.sha256(told.encode()).hexdigest()[:16]
        photo, truth = (self.folder / "pictures" / f"{picture}{end}" for end in (".jpg", ".png"))
        if not photo.is_file() or not truth.is_file():
            item = domain.item(class_id, name)
            write_atomically(truth, overlay(domain.truth(item), TRUTH, SIDE))
            write_atomically(photo, photograph(domain, item, SIDE))
        return picture


def _grouped(boards: Sequence[Leaderboard], known: Mapping[str, RunResult]) -> Iterator[Group]:
    """Records by board, column, seed and queries, in the order of the tables."""
    names: set[str] = set()
    for board in boards:
        found: dict[tuple[ColumnKey, int, str], list[tuple[str, RunResult]]] = {}
        rows = [row for section in board.sections() for row in section.rows]
        # Methods first: the page opens with the first three.
        for row in sorted(rows, key=lambda row: row.is_control):
            for column, score in row.scores.items():
                for seed, cell in score.cells.items():
                    asked = hashlib.sha256(repr(known[cell].asked).encode()).hexdigest()
                    key = (column, seed, asked)
                    found.setdefault(key, []).append((row.key.label, known[cell]))
        for (column, seed, asked), answers in sorted(found.items(), key=lambda item: item[0]):
            wanted = f"{column.domain}-{board.key.shots}shot-seed{seed}-{board.key.protocol}"
            name = safe_name(wanted)
            name = name if name not in names else f"{name}-{asked[:8]}"
            names.add(name)
            said = (
                f"{column.domain} · {board.key.shots}-shot · seed {seed} · {column.episodes} "
                f"episodes · protocol {board.key.protocol}"
            )
            yield Group(name, said, answers)


def _head(answer: RunResult) -> str:
    """The first line of a file of masks: of which record they are."""
    return f"/*{FORMAT} {answer.record.cell} {answer.record.episodes.rows_sha256}*/\n"


def _begins(path: Path, head: str) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(len(head)) == head
    except OSError:
        return False


def _length(answer: RunResult, chunk: int) -> int:
    return len(answer.rows[chunk * CHUNK : (chunk + 1) * CHUNK])


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
