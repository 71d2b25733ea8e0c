"""Predicted masks as files: one PNG per episode, written by any program, read strictly."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.core.masks.facts import look_at
from cdfss_bench.datasets.core.upright import opened_picture
from cdfss_bench.errors import DataError
from cdfss_bench.files import write_atomically

from ..records.cell_folder import EpisodeRow
from ..records.counts import Counts
from .boundary import boundary_measures
from .pixel_counts import count

PREDICTIONS = "predictions"
"""The folder, beside the index, that predicted masks are written to."""

_HINT = "write one channel of 8 bits (or 1 bit) that is 0 and 255, or 0 and 1"


def file_name(episode: int) -> str:
    """`00000.png`: the number of the episode in five digits."""
    return f"{episode:05d}.png"


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] or [H, W, 3] as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class MaskFolder:
    """A folder with the predicted mask, `side` pixels wide, of each of `count` episodes."""

    def __init__(self, path: Path, count: int, side: int):
        self.path = path
        self.count = count
        self.side = side

    def file(self, episode: int) -> Path:
        """Where the mask of an episode belongs."""
        return self.path / file_name(episode)

    def write(self, episode: int, mask: NDArray[np.uint8]) -> None:
        """Write a mask, uint8 [S, S] of 0 and 1, as 0 and 255.

        Raises:
            UserError: if the file cannot be written.
        """
        write_atomically(self.file(episode), png_of(mask * np.uint8(255)))

    def write_all(self, episodes: Sequence[int], masks: NDArray[np.uint8]) -> None:
        """Write the masks, uint8 [B, S, S], of so many episodes, as `write` does."""
        for episode, mask in zip(episodes, masks, strict=True):
            self.write(episode, mask)

    def read(self, episode: int) -> NDArray[np.uint8]:
        """Read the mask of an episode, uint8 [S, S] of 0 and 1.

        Raises:
            DataError: if the file is missing, no PNG, of another size, or holds anything but 0 and
                255, or 0 and 1, in one channel (or three equal ones).
        """
        return self._read(episode)[0]

    def masks(self) -> Iterator[NDArray[np.uint8]]:
        """Every mask in the order of the episodes.

        Raises:
            DataError: as `read`, and if some files hold 0 and 1 but others 0 and 255: a soft mask
                that was rounded would otherwise count as foreground.
        """
        first: tuple[int, Path] | None = None
        for episode in range(self.count):
            mask, white = self._read(episode)
            if white:
                first = first or (white, self.file(episode))
                if white != first[0]:
                    raise DataError(
                        f"{self.file(episode)} holds 0 and {white} but {first[1]} holds 0 and "
                        f"{first[0]}",
                        hint="write all masks in one way, 0 and 255 or 0 and 1",
                    )
            yield mask

    def require_complete(self) -> None:
        """Check that the folder holds the PNG of every episode and nothing else.

        Files whose names begin with a dot are no part of it.

        Raises:
            DataError: with the number of missing or further files, naming the first.
        """
        wanted = [file_name(episode) for episode in range(self.count)]
        try:
            here = {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")}
        except (FileNotFoundError, NotADirectoryError):
            here = set[str]()
        missing = [name for name in wanted if name not in here]
        if missing:
            one = f"1 of {self.count} masks is" if len(missing) == 1 else ""
            many = one or f"{len(missing)} of {self.count} masks are"
            first = "" if one else "the first is "
            raise DataError(
                f"{many} missing in {self.path}: {first}{missing[0]}",
                hint=f"write one PNG per episode, {file_name(0)} to {file_name(self.count - 1)}",
            )
        further = sorted(here - set(wanted))
        if further:
            more = "1 file" if len(further) == 1 else f"{len(further)} files"
            first = "" if len(further) == 1 else "the first is "
            raise DataError(
                f"{self.path} holds {more} beside the masks of {self.count} episodes: "
                f"{first}{further[0]}",
                hint="move away what is no mask of these episodes",
            )

    def _read(self, episode: int) -> tuple[NDArray[np.uint8], int]:
        """The mask and its value of foreground; 0 where it has none."""
        path = self.file(episode)
        with opened_picture(path) as image:
            form, (width, height) = image.format, image.size
        if form != "PNG":
            raise DataError(f"{path} is a {form} file, no PNG", hint="save the mask as PNG")
        if (width, height) != (self.side, self.side):
            raise DataError(
                f"{path} is {width}x{height} where {self.side}x{self.side} is due",
                hint="write masks at the size of the exported pictures",
            )
        look = look_at(path)
        facts = look.facts
        values = set(facts.values)
        if facts.kind == "palette" or facts.kind == "colour":
            held = "a palette" if facts.kind == "palette" else "colours"
            raise DataError(f"{path} holds {held}, no mask", hint=_HINT)
        if facts.alpha or facts.orientation != 1:
            held = "transparency" if facts.alpha else "an EXIF orientation"
            raise DataError(f"{path} holds {held} beside the mask", hint=_HINT)
        if facts.doubt or facts.bits not in (1, 8) or not (values <= {0, 1} or values <= {0, 255}):
            other = sorted(values - {0, 255})
            held = f"the value {other[0]}" if other else f"{facts.bits} bits or too many values"
            raise DataError(f"{path} holds {held} where only 0 and 255, or 0 and 1, are due",
                            hint=_HINT)  # fmt: skip
        white = 255 if facts.bits == 1 and 1 in values else max(values, default=0)
        return (look.codes != 0).astype(np.uint8), white


def mask_sha256(mask: NDArray[np.uint8]) -> str:
    """sha256 of the pixels of a mask, however its file spells them."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def counts_of(domain: Domain, episode: Episode, mask: NDArray[np.uint8]) -> Counts:
    """Count the pixels of a predicted mask, uint8 [S, S] of 0 and 1, of an episode's query."""
    query = domain.item(episode.class_id, episode.query)
    void = domain.undecided(query)
    (counted,) = count(
        torch.from_numpy(mask)[None],
        torch.from_numpy(np.array(domain.truth(query)))[None],
        None if void is None else torch.from_numpy(np.array(void))[None],
    )
    return counted


def row_of(
    domain: Domain,
    index: int,
    episode: Episode,
    mask: NDArray[np.uint8],
    boundary: float | None = None,
) -> EpisodeRow:
    """Measure a predicted mask as `counts_of`, and its boundary with NSD's tolerance in pixels."""
    found = None
    if boundary is not None:
        query = domain.item(episode.class_id, episode.query)
        found = boundary_measures(mask, domain.truth(query), boundary, domain.undecided(query))
    return EpisodeRow(index, episode, counts_of(domain, episode, mask), found)
