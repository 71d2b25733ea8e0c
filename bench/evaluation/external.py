"""Masks that another program wrote, counted as a method's are and recorded as external."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cdfss_bench.canonical import digest
from cdfss_bench.errors import UserError, unknown
from cdfss_bench.methods.registry.name_grammar import THIS_ROW

from ..planning.cell import domain_part, episodes_part, evaluator_part
from ..planning.episode_set import EpisodeSet
from ..records.cell_folder import EpisodeRow
from ..records.environment import command_line, describe, now
from ..records.place import finished_record, folder_of
from ..records.results import RunResult
from ..records.schema import MethodPart, RunRecord, WeightsPart
from ..statistics.summary import metrics_of
from .episode_export import indexed_episodes, mask_folder
from .mask_files import MaskFolder, mask_sha256, row_of
from .record_notes import notes_of

Adaptation = Literal["none", "episode", "transductive"]

UNSTATED = "unknown data"
"""The pretraining of a program whose author states none."""

STATED = (
    f"{THIS_ROW}counts the masks of another program; adaptation and pretraining are as its author "
    "states them"
)

_NAME = re.compile(r"\w[\w .,=+()-]{0,63}(?<! )")


@dataclass(frozen=True)
class Statement:
    """What an author states of a program.

    Attributes:
        name: as it stands in tables, followed by "(external)".
        adaptation: what it learns from at test, `none`, `episode` or `transductive`.
        pretraining: the data that its backbone was pretrained on; `none` without such a backbone.

    Raises:
        UserError: for a name that a table or a folder cannot hold, or an unknown adaptation.
    """

    name: str
    adaptation: str = "none"
    pretraining: str = UNSTATED

    def __post_init__(self) -> None:
        """Checks the values."""
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"'{self.name}' is no name for a row",
                hint="begin with a letter or digit; at most 64 letters, digits, spaces and .,=+()-",
            )
        if self.adaptation not in get_args(Adaptation):
            raise unknown("adaptation", self.adaptation, get_args(Adaptation))
        if not self.pretraining.strip() or not self.pretraining.isprintable():
            raise UserError(
                "--pretraining is empty or no single line",
                hint="name the data, for example --pretraining 'ImageNet-1k'",
            )


@dataclass(frozen=True, slots=True)
class Scored:
    """A record of external masks."""

    record: RunRecord
    is_known: bool


def score(
    folder: Path,
    statement: Statement,
    results: Path,
    *,
    root: Path | None = None,
    lists: Path | None = None,
    predictions: Path | None = None,
    boundary: float | None = None,
) -> Scored:
    """Count the masks of an export and write their record.

    Args:
        folder: of the export: its index, and its masks.
        statement: what their author states.
        results: the results folder.
        root: the data root.
        lists: folder of the published lists.
        predictions: where the masks are, if not beside the index.
        boundary: tolerance of NSD in pixels, if boundary measures are wanted beside the counts;
            a record that lacks them gets them.

    Raises:
        UserError: if the export belongs to other data, or a mask is missing or not as it must be.
    """
    episode_set = indexed_episodes(folder, root, lists)
    masks = mask_folder(folder, episode_set)
    if predictions is not None:
        masks = MaskFolder(predictions, masks.count, masks.side)
    masks.require_complete()
    rows, hashes = _counted(episode_set, masks, boundary)
    record = _begun(episode_set, statement, digest(hashes))
    place = folder_of(record, results)
    with place.lock(wait=10):
        known = finished_record(place, record.cell)
        if known is not None:
            before = [row.boundary for row in RunResult(place.record, known).rows]
            if boundary is not None and [row.boundary for row in rows] != before:
                known.episodes.rows_sha256 = place.replace_rows(rows)
                known.save(place.record)
            return Scored(known, is_known=True)
        episode_set.manifest.save(place.manifest)
        record.episodes.rows_sha256 = place.write_rows(rows)
        record.metrics = metrics_of(rows)
        record.notes = sorted([*notes_of(episode_set), STATED])
        record.status, record.finished = "done", now()
        record.save(place.record)
    return Scored(record, is_known=False)


def _counted(
    episode_set: EpisodeSet, masks: MaskFolder, boundary: float | None
) -> tuple[list[EpisodeRow], list[str]]:
    """The rows, and the hash of every mask."""
    rows: list[EpisodeRow] = []
    hashes: list[str] = []
    episodes = enumerate(episode_set.manifest)
    for (index, episode), mask in zip(episodes, masks.masks(), strict=True):
        rows.append(row_of(episode_set.domain, index, episode, mask, boundary))
        hashes.append(mask_sha256(mask))
    return rows, hashes


def _begun(episode_set: EpisodeSet, statement: Statement, masks: str) -> RunRecord:
    control = f"@{episode_set.control}" if episode_set.control else ""
    domain, evaluator = domain_part(episode_set.domain), evaluator_part(episode_set.domain)
    values = statement.name, statement.adaptation, statement.pretraining
    method = MethodPart(
        label=f"{statement.name}{control}",
        # No name of the grammar has a colon: no method of the registry is taken for it.
        composition=f"external:{statement.name}{control}",
        given={},
        options={},
        adaptation=statement.adaptation,  # pyright: ignore[reportArgumentType]  (checked)
        backbone="",
        code=masks,
        external=True,
    )
    parts = {
        "evaluator": [evaluator.version, evaluator.code, evaluator.precision],
        "external": values,
        "masks": masks,
        "image_size": evaluator.image_size,
        "episodes": episode_set.manifest.sha256,
    }
    return RunRecord(
        cell=digest(parts),
        status="started",
        domain=domain,
        episodes=episodes_part(episode_set),
        method=method,
        weights=WeightsPart(
            description="external",
            pretraining="" if statement.pretraining == "none" else statement.pretraining,
        ),
        evaluator=evaluator,
        environment=describe("cpu"),
        command=command_line(),
        started=now(),
    )
