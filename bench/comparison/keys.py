"""What makes a board, a row and a column: records are shown together where these agree."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from cdfss_bench.canonical import digest
from cdfss_bench.words import plural

from ..records.schema import CostPart, RunRecord

_VERSION = re.compile(r":[0-9a-f]{7}\b")


class RowKey(NamedTuple):
    """What makes a row: seeds of the same row are averaged, anything else is another row."""

    label: str
    composition: str
    backbone: str
    weights: str
    weights_sha256: str
    selection: str
    adaptation: str

    @property
    def name(self) -> str:
        """The label without the version that tells it from another row's (`with_version`)."""
        return _VERSION.sub("", self.label)


class ColumnKey(NamedTuple):
    """What makes a column: another population or another episode count is another column."""

    domain: str
    profile: str
    fingerprint: str
    limited: bool
    episodes: int

    @property
    def is_partial(self) -> bool:
        """Whether it is no named population: some of the data, or others than the published."""
        return self.profile.startswith(("partial", "unlisted", "unknown", "source validation"))


class BoardKey(NamedTuple):
    """What makes a leaderboard: nothing on it was measured in another way."""

    suite: str
    protocol: str
    shots: int
    evaluator: int
    precision: str


def board_key(record: RunRecord) -> BoardKey:
    """The leaderboard on which a record stands."""
    return BoardKey(
        record.domain.suite,
        record.episodes.protocol,
        record.episodes.shots,
        record.evaluator.version,
        record.evaluator.precision,
    )


def column_key(record: RunRecord) -> ColumnKey:
    """The column in which a record stands."""
    return ColumnKey(
        record.domain.title,
        record.domain.profile,
        record.domain.fingerprint,
        record.episodes.limited,
        record.episodes.count,
    )


def shown_names(records: Iterable[RunRecord]) -> dict[str, str]:
    """By composition the shortest name under which it was run: equal networks are one row."""
    found: dict[str, str] = {}
    for record in records:
        known = found.get(record.method.composition, record.method.label)
        found[record.method.composition] = min(known, record.method.label, key=_by_length)
    return found


def _by_length(name: str) -> tuple[int, str]:
    return len(name), name


def row_key(record: RunRecord, names: Mapping[str, str] | None = None) -> RowKey:
    """The row in which a record stands.

    Args:
        record: of the row.
        names: as `shown_names` gives them; by default the record's own name.
    """
    composition = record.method.composition
    own = (names or {}).get(composition, record.method.label)
    return RowKey(
        record.name.replace(record.method.label, own, 1),
        record.method.composition,
        record.method.backbone,
        record.weights.description,
        record.weights.checkpoint_sha256 or record.weights.pretrained_sha256,
        record.weights.selection,
        record.method.adaptation,
    )


def version_of(record: RunRecord) -> str:
    """Seven hexadecimal digits that tell records of one label apart.

    They change with options, backbone, weights and code, not with domain, shots or seed. What
    another program wrote has no code that all its cells share.
    """
    weights, method = record.weights, record.method
    return _version(
        method.composition,
        method.backbone,
        weights.pretrained_sha256,
        weights.checkpoint_sha256,
        weights.selection,
        method.adaptation if method.external else method.code,
        record.evaluator.code,
    )


@lru_cache(maxsize=4096)
def _version(*parts: str) -> str:
    return digest(list(parts))[:7]


def fits_pattern(record: RunRecord, pattern: str) -> bool:
    """Whether label or name match a pattern, whatever their case; brackets may hold options."""
    names = (record.method.label.lower(), record.name.lower())
    patterns = (pattern.lower(), pattern.lower().replace("[", "[[]"))
    return any(fnmatchcase(name, each) for name in names for each in patterns)


def with_version(name: str, label: str, version: str) -> str:
    """`LABEL:VERSION`, the form in which `compare` takes it; what `name` says besides follows."""
    return name.replace(label, f"{label}:{version}", 1)


def machine_of(record: RunRecord, cost: CostPart) -> str:
    """What the times of a record were taken on: an accelerator's name, or processor and threads."""
    if cost.device != "cpu":
        return cost.device
    threads = cost.threads or record.environment.get("threads")
    counted = f"{threads} {plural(threads, 'thread')}" if threads else ""
    return ", ".join(filter(None, [str(record.environment.get("cpu", "cpu")), counted]))
