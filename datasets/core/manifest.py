"""Episodes and their manifest: which images are asked, drawn before any model exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from cdfss_bench import plain_json
from cdfss_bench.canonical import canonical_json, digest
from cdfss_bench.errors import DataError
from cdfss_bench.files import write_atomically

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Episode:
    """One question: segment `class_id` in the query, shown the supports.

    Attributes:
        query: published name of the query image, relative to the data root (as in the published
            loaders: the path of the mask for Chest X-ray, the image id for PASCAL VOC).
        supports: names of the support images, K of them; the published sampler may repeat one.
        class_id: the published class id.
        support_class_id: the class that the support masks show; differs from `class_id` only in
            control rows that ask with a wrong support.
    """

    query: str
    supports: tuple[str, ...]
    class_id: int
    support_class_id: int = -1

    def __post_init__(self) -> None:
        if self.support_class_id < 0:
            object.__setattr__(self, "support_class_id", self.class_id)


def in_turn(episodes: Sequence[Episode], count: int) -> tuple[Episode, ...]:
    """The first `count` episodes, taken from the classes in turn, each class in its order."""
    queues: dict[int, list[Episode]] = {}
    for episode in episodes:
        queues.setdefault(episode.class_id, []).append(episode)
    return tuple(islice(alternating([*queues.values()]), count))


def alternating(queues: Sequence[Sequence[T]]) -> Iterator[T]:
    """The first of each queue, then the second of each that has one, and so on."""
    for at in range(max(map(len, queues), default=0)):
        yield from (queue[at] for queue in queues if at < len(queue))


@dataclass(frozen=True)
class Manifest(Sequence[Episode]):
    """The episodes of one cell, with all that decided them.

    Attributes:
        domain: the domain's name with the options that change its classes or lists.
        fingerprint: of the files among which the episodes were drawn.
        profile: the named population those files are.
        protocol: `patnet` (published, defects and all) or `strict`.
        sampler: version of the sampler's code.
        shots: supports per episode.
        seed: of the private generator.
        episodes: in order.
    """

    domain: str
    fingerprint: str
    profile: str
    protocol: str
    sampler: int
    shots: int
    seed: int
    episodes: tuple[Episode, ...]

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Episode, ...]: ...
    def __getitem__(self, index: int | slice) -> Episode | tuple[Episode, ...]:
        """An episode, or a tuple of them."""
        return self.episodes[index]

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes in order."""
        return iter(self.episodes)

    @cached_property
    def sha256(self) -> str:
        """Of the canonical JSON; stands in every result."""
        return digest(self.to_json())

    def head(self, length: int) -> Manifest:
        """`length` episodes as a manifest of their own, taken from the classes in turn.

        A shorter head is the beginning of a longer one; the whole is in its own order.
        """
        if length >= len(self):
            return self
        return replace(self, episodes=in_turn(self.episodes, length))

    def to_json(self) -> dict[str, Any]:
        """Plain values; an episode is [query, [supports], class_id, support_class_id]."""
        # Not `asdict`, which copies every episode.
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "episodes"}
        rows = [[e.query, list(e.supports), e.class_id, e.support_class_id] for e in self.episodes]
        return {**values, "episodes": rows}

    def save(self, path: Path) -> None:
        """Writes the manifest with its own sha256.

        Raises:
            UserError: if the file cannot be written.
        """
        write_atomically(path, canonical_json({"sha256": self.sha256, **self.to_json()}) + "\n")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Reads what `save` wrote.

        Raises:
            DataError: if the file is no manifest, or was changed after it was written.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        try:
            loaded: object = plain_json.loads(text)
            if not isinstance(loaded, dict):
                raise DataError(f"{path} must hold a mapping of keys to values")
            values = cast("dict[str, Any]", loaded)
            stated = values.pop("sha256", None)
            rows = values.pop("episodes")
            episodes = tuple(Episode(q, tuple(s), c, k) for q, s, c, k in rows)
            manifest = cls(episodes=episodes, **values)
            found = manifest.sha256
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is not an episode manifest") from error
        if found != stated:
            raise DataError(f"{path} was changed after it was written: its sha256 does not match")
        return manifest
