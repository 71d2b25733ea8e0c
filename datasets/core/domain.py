"""What every domain offers: its classes, its episodes, and the tensors of an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError, unknown
from cdfss_bench.options import Value, spelled

from .card import DomainCard
from .decode_cache import DecodeCache, Pixels
from .manifest import Episode, Manifest
from .samplers import (
    SAMPLER_VERSION,
    Pool,
    is_held_out,
    patnet_episodes,
    strict_episodes,
    with_wrong_supports,
)
from .transforms import normalised

if TYPE_CHECKING:
    import torch

PROTOCOLS = ("patnet", "strict")
HELD_OUT = "held_out"
"""The option of a source that leaves the images of `train --hold-out` only."""
COPY = "asked and shown at once: "
"""How a note begins that says which support is its query's own picture."""


@dataclass(frozen=True, slots=True)
class Item:
    """One annotated image of one class.

    Attributes:
        name: the published name, by which episodes know it.
        image: where the picture is, relative to the data root.
        mask: where the mask is, relative to the data root.
        label: the value that means the class in a label map; None for a black-and-white mask.
    """

    name: str
    image: str
    mask: str
    label: int | None = None


@dataclass(frozen=True, slots=True)
class DomainClass:
    """A class that the tree holds images of; `items` are in the sampler's drawing order."""

    id: int
    name: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class EpisodeTensors:
    """The tensors of one episode, as the published loaders make them.

    Attributes:
        query_image: float32 [3, S, S], ImageNet-normalised.
        query_mask: uint8 [S, S], 0 or 1.
        support_images: float32 [K, 3, S, S].
        support_masks: uint8 [K, S, S].
        query_ignore: uint8 [S, S], 1 where the truth is undecided (PASCAL's void); else None.
        support_ignores: uint8 [K, S, S] likewise.
        class_id: the published class id.
    """

    query_image: torch.Tensor
    query_mask: torch.Tensor
    support_images: torch.Tensor
    support_masks: torch.Tensor
    class_id: int
    query_ignore: torch.Tensor | None = None
    support_ignores: torch.Tensor | None = None


class Domain(ABC):
    """A data set as few-shot segmentation sees it.

    A reader implements `discover`, `read_image`, `read_labels` and `content_hash`, or derives from
    `FileDomain` and implements `discover` alone; sampling, manifests, profiles and tensors are
    common to all.

    Args:
        card: what is known without the files.
        root: the data root; readers look for their published folder under it.
        options: the card's options, resolved.
        cache: where decoded pictures are kept.
        lists: folder of the published lists (PASCAL folds, ISIC class table), if one was named.

    Attributes:
        absolute: options that were typed as absolute paths, as typed; the root is taken from them.
        notes: oddities met while reading (an empty support mask, a mask of another size than its
            image); they stand in the record of a run.
    """

    def __init__(
        self,
        card: DomainCard,
        root: Path,
        options: Mapping[str, Value],
        cache: DecodeCache,
        lists: Path | None = None,
    ):
        self.card = card
        self.root = root
        self.options = dict(options)
        self.cache = cache
        self.lists = lists
        self.absolute: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self._sketches: dict[str, bytes] = {}

    @abstractmethod
    def discover(self) -> Sequence[DomainClass]:
        """The classes that the tree holds, in id order.

        Raises:
            DataError: if the published folder is not there or holds nothing usable, a file has no
                partner, or one that must be looked at is unsound.
        """

    @abstractmethod
    def read_image(self, path: str) -> Pixels:
        """The picture at `path`: uint8 [S, S, 3].

        Raises:
            DataError: if the file is missing, unreadable, or was changed meanwhile.
        """

    @abstractmethod
    def read_labels(self, item: Item) -> Pixels:
        """The label map of an item, [S, S]: 0/1, or label values where `item.label` is set.

        Raises:
            DataError: as `read_image`.
        """

    @abstractmethod
    def content_hash(self, *, again: bool = False) -> str:
        """sha256 over all that decides which data this is: class ids, names, labels, contents.

        Args:
            again: whether every file is hashed, whatever is remembered of it.

        Raises:
            DataError: naming a file that cannot be read.
        """

    def listed_queries(self) -> Sequence[tuple[int, str]] | None:
        """(class id, name) of each published query in order, or None where queries are drawn."""
        return None

    @property
    def published_length(self) -> int:
        """Episodes of the published protocol on this tree."""
        return self.card.length or len(self.listed_queries() or ())

    @property
    def void_label(self) -> int | None:
        """The label that means "undecided" in label maps, if the domain has one."""
        return None

    @property
    def classes_without_truth(self) -> tuple[str, ...]:
        """Names of classes that no mask shows; a reader of files looks."""
        return ()

    @property
    def classes_without_background(self) -> tuple[str, ...]:
        """Names of classes that fill every mask; the readers of own data look."""
        return ()

    def scene(self, name: str) -> str:
        """What a support must not share with its query under `strict`; by default the image."""
        return name

    @property
    def keeps_scenes_apart(self) -> bool:
        """Whether a support shares no scene with its query under `patnet` either."""
        return False

    @property
    def title(self) -> str:
        """The name with the options that differ from their defaults, `pascal[fold=0,split=val]`."""
        return self.spelled_with(self.options)

    @property
    def typed(self) -> str:
        """What opens this domain again, under the same data root where its path is relative."""
        return self.spelled_with({**self.options, **self.absolute})

    @property
    def whole(self) -> str:
        """The title of what `held_out` takes a share of, which is what a training names."""
        return self.spelled_with({k: v for k, v in self.options.items() if k != HELD_OUT})

    def spelled_with(self, options: Mapping[str, Value]) -> str:
        """The card's name with those of `options` that differ from their defaults."""
        changed = [
            f"{key}={spelled(value)}"
            for key, value in options.items()
            if value != self.card.options[key].default
        ]
        return self.card.name + (f"[{','.join(changed)}]" if changed else "")

    @cached_property
    def classes(self) -> tuple[DomainClass, ...]:
        """The classes that are present, in id order."""
        try:
            found = tuple(entry for entry in self.discover() if entry.items)
        except PermissionError as error:
            raise DataError(
                f"{error.filename} may not be read",
                hint="have it opened to you, or name another root with --data-root DIR",
            ) from error
        if not found:
            raise self.nothing_found()
        for entry in found:
            _refuse_no_text(entry, self.root)
        return found

    def nothing_found(self) -> DataError:
        """The error for a root without this domain's files."""
        return DataError(
            f"no {self.card.title} under {self.root}: expected\n{_indented(self.card.layout)}",
            hint=f"it seems to be one level away: --data-root '{near}'"
            if (near := self._root_nearby()) is not None
            else f"cdfss-bench data check {self.card.name} --data-root DIR",
        )

    def _root_nearby(self) -> Path | None:
        """The folder above the root, or one inside it, that holds what the layout begins with."""
        top = self.card.layout.split("/")[0].strip()
        root = self.root.absolute()
        try:
            inner = sorted(root.iterdir())
        except OSError:
            inner = []
        places = [root.parent] * (root.name == top) + inner
        return next((place for place in places if (place / top).is_dir()), None) if top else None

    @property
    def counts(self) -> tuple[int, ...]:
        """Images per class present."""
        return tuple(len(entry.items) for entry in self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """Which data this is, by content; it stands in manifests, records and trained weights."""
        return self.content_hash()

    @property
    def share_held_out(self) -> float:
        """The option `held_out`: of which share of the source's images this consists; 0: all."""
        return float(self.options.get(HELD_OUT, 0.0))

    def is_asked(self, name: str) -> bool:
        """Whether the image of that name belongs to the held-out share, if one was asked for."""
        return not self.share_held_out or is_held_out(name, self.share_held_out)

    @cached_property
    def profile(self) -> str:
        """The named population, or what part of the published one is here."""
        if self.share_held_out:
            return f"source validation: the held-out {self.share_held_out:.0%} of the images"
        if {entry.name for entry in self.classes} == set(self.card.classes):
            for name, profile in self.card.profiles.items():
                if profile.fits(self.counts):
                    return name
        return self.describe_part()

    def describe_part(self) -> str:
        """`partial: ...` where less than the field's population is present, else `unknown: ...`."""
        expected = sum(next(iter(self.card.profiles.values())).images) if self.card.profiles else 0
        here, classes = sum(self.counts), len(self.classes)
        if classes < len(self.card.classes):
            return f"partial: {classes} of {len(self.card.classes)} classes"
        if here < expected:
            return f"partial: {here} of {expected} images"
        return f"unknown: {here} images of {classes} classes"

    @property
    def is_complete(self) -> bool:
        """Whether results may stand in the column of the published population."""
        return self.profile in self.card.profiles

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The classes as the samplers see them."""
        return tuple(Pool(e.id, e.name, tuple(i.name for i in e.items)) for e in self.classes)

    def item(self, class_id: int, name: str) -> Item:
        """The item of that name in that class.

        Raises:
            DataError: if the class has no such image (a manifest made on other data).
        """
        try:
            return self._by_name[class_id][name]
        except KeyError:
            raise DataError(
                f"{self.title} has no image '{name}' of class {class_id} under {self.root}",
                hint="the manifest was made on other data; draw a new one",
            ) from None

    @cached_property
    def _by_name(self) -> dict[int, dict[str, Item]]:
        return {entry.id: {item.name: item for item in entry.items} for entry in self.classes}

    def episodes(
        self, shots: int, seed: int = 0, protocol: str = "patnet", length: int | None = None
    ) -> Manifest:
        """The manifest of a protocol, from a private generator.

        Args:
            shots: supports per episode.
            seed: 0 is the published one.
            protocol: `patnet` reproduces the published loaders bit for bit; `strict` removes
                their defects.
            length: how many episodes; by default as many as the published protocol has. A shorter
                manifest is a prefix of the longer one.

        Raises:
            DataError: for a class with too few images, or numbers out of range.
        """
        if protocol not in PROTOCOLS:
            raise unknown("protocol", protocol, PROTOCOLS, error=DataError)
        given = (shots, seed, 1 if length is None else length)
        if any(isinstance(number, bool) or not isinstance(number, Integral) for number in given):
            raise DataError("shots, seed and the number of episodes are whole numbers")
        shots, seed, _ = map(int, given)  # NumPy's numbers too
        if shots < 1 or not 0 <= seed < 2**32 or (length is not None and length < 1):
            raise DataError(
                "shots and the number of episodes begin at 1, seeds at 0 and end at 4,294,967,295"
            )
        pools, queries = self.pools, self.listed_queries()
        count = length or self.published_length
        if protocol == "patnet":
            rng = np.random.RandomState(seed)
            scene = self.scene if self.keeps_scenes_apart else str
            drawn = patnet_episodes(pools, queries, length=count, shots=shots, rng=rng, scene=scene)
        else:
            drawn = strict_episodes(
                pools,
                queries,
                length=count,
                shots=shots,
                seed=seed,
                domain=self.title,
                scene=self.scene,
                usable=self._is_usable,
            )
        return Manifest(
            domain=self.title,
            fingerprint=self.fingerprint,
            profile=self.profile,
            protocol=protocol,
            sampler=SAMPLER_VERSION,
            shots=shots,
            seed=seed,
            episodes=tuple(drawn),
        )

    def shuffled(self, manifest: Manifest) -> Manifest:
        """`manifest` with every support replaced by one of a wrong class.

        Raises:
            DataError: if the domain has a single class.
        """
        strict = manifest.protocol == "strict"
        episodes = with_wrong_supports(
            manifest.episodes,
            self.pools,
            seed=manifest.seed,
            domain=self.title,
            scene=self.scene,
            usable=self._is_usable if strict else lambda _class_id, _name: True,
        )
        return replace(manifest, episodes=episodes)

    def _is_usable(self, class_id: int, name: str) -> bool:
        return bool(self.truth(self.item(class_id, name)).any())

    def image(self, item: Item) -> NDArray[np.uint8]:
        """The transformed picture, uint8 [S, S, 3]."""
        return self.read_image(item.image).array

    def truth(self, item: Item) -> NDArray[np.uint8]:
        """The transformed mask of the item's class, uint8 [S, S] of 0 and 1."""
        labels = self.read_labels(item).array
        if item.label is None:
            return labels
        return (labels == item.label).astype(np.uint8)

    def undecided(self, item: Item) -> NDArray[np.uint8] | None:
        """1 where the truth is undecided, [S, S]; None where the domain has no such label."""
        if self.void_label is None:
            return None
        return (self.read_labels(item).array == self.void_label).astype(np.uint8)

    def note(self, text: str) -> None:
        """Adds a sentence to `notes`, once."""
        self.notes[text] = None

    def note_oddities(self, item: Item, *, role: str) -> None:
        """Adds what is odd about an item's files to `notes`."""
        image, labels = self.read_image(item.image), self.read_labels(item)
        self._sketches[item.image] = _sketch(image.array)
        if image.native != labels.native:
            self.note(
                f"{item.mask} is {labels.native[0]}x{labels.native[1]} but its image is "
                f"{image.native[0]}x{image.native[1]}; both are brought to "
                f"{self.card.image_size}x{self.card.image_size}, as published"
            )
        if not self.truth(item).any():
            self.note(f"{item.mask} is empty and serves as {role}")

    def note_copies(self, query: Item, supports: Iterable[Item]) -> None:
        """Adds to `notes` which supports are the query's own picture, pixel by pixel."""
        for support in supports:
            if self._sketched(query) == self._sketched(support) and np.array_equal(
                self.image(query), self.image(support)
            ):
                self.note(f"{COPY}{query.image} = {support.image}")

    def _sketched(self, item: Item) -> bytes:
        if item.image not in self._sketches:
            self._sketches[item.image] = _sketch(self.image(item))
        return self._sketches[item.image]

    def load(self, episode: Episode) -> EpisodeTensors:
        """The tensors of one episode, bit-identical to the published loaders'.

        Raises:
            DataError: if a file is missing or unreadable; it is named.
        """
        import torch

        query = self.item(episode.class_id, episode.query)
        supports = [self.item(episode.support_class_id, name) for name in episode.supports]

        void = self.undecided(query)
        voids = [self.undecided(item) for item in supports]
        decided = [array for array in voids if array is not None]
        return EpisodeTensors(
            query_image=normalised(self.image(query)),
            query_mask=torch.from_numpy(np.array(self.truth(query))),
            support_images=normalised(np.stack([self.image(item) for item in supports])),
            support_masks=torch.from_numpy(np.stack([self.truth(item) for item in supports])),
            class_id=episode.class_id,
            query_ignore=None if void is None else torch.from_numpy(void),
            support_ignores=torch.from_numpy(np.stack(decided)) if decided else None,
        )


def _refuse_no_text(entry: DomainClass, root: Path) -> None:
    """Refuses names that no record can hold, and a class that would break the lines of a table."""
    if not entry.name.strip() or any(category(c) in ("Cc", "Cs") for c in entry.name):
        raise DataError(
            f"a class under {root} is called {entry.name!r}, which a table cannot show",
            hint="rename it with letters that can be read",
        )
    for item in entry.items:
        try:
            item.name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name {item.name!r} of an image of class '{entry.name}' under {root} is not "
                "UTF-8",
                hint="rename the file, and its mask",
            ) from None


def _sketch(picture: NDArray[np.uint8]) -> bytes:
    """A few pixels: other pictures have others, but for the rarest exception."""
    return picture[5::31, 5::31].tobytes()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())
