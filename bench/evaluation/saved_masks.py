"""Where a run writes predicted masks, and which of them are not there yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cdfss_bench.errors import DataError

from ..planning.cell import Cell
from ..records.cell_folder import EpisodeRow, safe_name
from .episode_export import begin_masks, set_name
from .mask_files import MaskFolder, counts_of


@dataclass(frozen=True, slots=True)
class SavedMasks:
    """Where a run writes predicted masks; those of its only cell lie in the folder itself."""

    folder: Path
    one: bool

    def of(self, cell: Cell) -> Path:
        """The folder of a cell: `METHOD/DOMAIN-Kshot-seedS-PROTOCOL-ID` where there are several."""
        if self.one:
            return self.folder
        name = f"{set_name(cell.episode_set)}-{cell.id[:12]}"
        return self.folder / safe_name(cell.composition.label) / name

    def begin(self, cell: Cell) -> MaskFolder:
        """The masks of a cell, their folder with its index written.

        Raises:
            DataError: if the folder holds the masks of other episodes.
        """
        return begin_masks(self.of(cell), cell.episode_set)

    def missing(self, cell: Cell, rows: Mapping[int, EpisodeRow]) -> set[int]:
        """Episodes whose mask is not there, or is not the one of their row."""
        masks, episodes = self.begin(cell), cell.episode_set.manifest.episodes

        def is_saved(index: int) -> bool:
            if index not in rows or not masks.file(index).is_file():
                return False
            try:
                mask = masks.read(index)
            except DataError:
                return False
            found = counts_of(cell.episode_set.domain, episodes[index], mask)
            return found == rows[index].counts

        return {index for index in range(len(episodes)) if not is_saved(index)}
