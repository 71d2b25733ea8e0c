"""What a user's own images have in common, however their masks are stored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from cdfss_bench.errors import DataError

from . import medical
from .decode_cache import Pixels
from .domain import Item
from .file_domain import FileDomain
from .medical_files import is_medical
from .transforms import resized_image
from .upright import Header, header_of, read_upright
from .windows import Window


def header_at(path: Path) -> Header:
    """What a picture, a slice or a DICOM file says of itself.

    Raises:
        DataError: if it is missing, damaged, or holds several frames.
    """
    if not is_medical(path):
        return header_of(path)
    return Header(medical.size_of(path), 1, transparent=False)


def picture_at(path: Path, window: Window | None = None) -> Image.Image:
    """A picture, a slice or a DICOM file as a viewer shows it, of 8 bits.

    Args:
        path: of the file, or of a slice in its volume.
        window: which values of a slice or DICOM file become black and white.

    Raises:
        DataError: as `header_at`.
    """
    if not is_medical(path):
        return read_upright(path)
    return medical.picture_of(path, window or Window())


class OwnDomain(FileDomain):
    """Images without a published protocol: every image of every class is asked once.

    The option `name`, where a card declares it, is what tables and records call the data.
    """

    @property
    def title(self) -> str:
        """The name that was given, or the card's with the options that differ."""
        return str(self.options.get("name", "")) or super().title

    @property
    def hashed_name(self) -> str:
        """The card's name with the options that differ: the same data under any name."""
        return self.spelled_with({k: v for k, v in self.options.items() if k != "name"})

    def listed_queries(self) -> Sequence[tuple[int, str]]:
        """Every image of every class."""
        return [(entry.id, item.name) for entry in self.classes for item in entry.items]

    def read_image(self, path: str) -> Pixels:
        """The picture at `path` as a viewer shows it, uint8 [S, S, 3]."""

        def decode() -> Pixels:
            picture = read_upright(self.root / path)
            return Pixels(resized_image(picture, self.card.image_size), picture.size)

        return self.cached(path, "upright image", decode)

    @property
    def classes_without_background(self) -> tuple[str, ...]:
        """Classes whose every mask is full, undecided pixels apart."""
        return self._filled

    @cached_property
    def _filled(self) -> tuple[str, ...]:
        return tuple(e.name for e in self.classes if all(map(self._is_full, e.items)))

    def _is_full(self, item: Item) -> bool:
        try:
            labels, void = self.truth(item), self.undecided(item)
        except DataError:
            return False
        return bool((labels if void is None else labels | void).all())

    def oddities_of(self, path: str) -> tuple[str, ...]:
        """None: own files are read as they are meant, or refused."""
        del path
        return ()

    def describe_part(self) -> str:
        """What is here is the whole population."""
        return f"own: {sum(self.counts)} images of {len(self.classes)} classes"

    @property
    def is_complete(self) -> bool:
        """Own data has no other population to be a part of."""
        return True
