"""What a preparation has to do, and what it did."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .sources import Entry


@dataclass(frozen=True, slots=True)
class Same:
    """An output that has the bytes of another output of the same unit."""

    path: str


@dataclass
class Made:
    """What a unit makes.

    Attributes:
        files: bytes by path relative to the data root; an entry is copied, `Same` is a second
            name of an earlier output.
        counts: what the summary adds up, such as tiles by class.
        odd: what is odd about the inputs, one sentence each.
        looks: name -> sha256 of pictures that ought to differ from all others.
    """

    files: dict[str, bytes | Entry | Same] = field(
        default_factory=dict[str, "bytes | Entry | Same"]
    )
    counts: Counter[str] = field(default_factory=Counter[str])
    odd: list[str] = field(default_factory=list[str])
    looks: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work that is done whole or not at all.

    Attributes:
        name: unique in the preparation.
        inputs: the files it reads.
        make: does the work; may raise DataError, which fails this unit only.
    """

    name: str
    inputs: tuple[Entry, ...]
    make: Callable[[], Made]


@dataclass
class Plan:
    """All that a preparation does.

    Attributes:
        folder: of the domain, relative to the data root.
        recipe: what decides the outputs beside the inputs; a tree of another recipe is refused.
        units: in order.
        problems: what of the download cannot be used, one sentence each.
        remarks: what is left out on purpose or is odd, one sentence each.
        output_bytes: about how much will be written; None: as much as the units read.
    """

    folder: str
    recipe: Mapping[str, Any]
    units: list[Unit] = field(default_factory=list[Unit])
    problems: list[str] = field(default_factory=list[str])
    remarks: list[str] = field(default_factory=list[str])
    output_bytes: int | None = None


@dataclass
class Summary:
    """What a preparation did.

    Attributes:
        domain: its name.
        folder: where the tree lies.
        made: units done now.
        kept: units that were already done.
        files: files of the tree.
        counts: what the recipe counted, over all units.
        odd: oddities that do not hinder.
        problems: units that could not be done, and files that could not be used.
        profile: the population that the tree is.
        fingerprint: of the tree, as records state it.
    """

    domain: str
    folder: Path
    profile: str = ""
    fingerprint: str = ""
    made: int = 0
    kept: int = 0
    files: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    odd: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "folder": str(self.folder), "counts": dict(self.counts)}


def sha256_of(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()
