"""Predicted masks that lie in folders, each found by the record whose rows they have."""

from pathlib import Path

from cdfss_bench.datasets import Domain, Manifest
from cdfss_bench.errors import DataError

from ...evaluation.episode_export import INDEX, read_index
from ...evaluation.mask_files import PREDICTIONS, MaskFolder, counts_of
from ...records.results import RunResult

_PROBED = 3
"""Masks of a folder that are counted before it is taken for a record's."""


class SavedMasks:
    """Masks that runs or other programs saved, told by their episodes and their pixel counts.

    Args:
        folder: of `run --save-masks`, of an export, or of several of them.

    Raises:
        DataError: if there is none, or an index is damaged.
    """

    def __init__(self, folder: Path):
        self._found: dict[str, list[MaskFolder]] = {}
        indices = sorted(folder.rglob(INDEX))
        if not indices:
            raise DataError(f"{folder} holds no saved masks", hint="cdfss-bench run --save-masks")
        for path in indices:
            index = read_index(path.parent)
            masks = MaskFolder(path.parent / PREDICTIONS, len(index.episodes), index.image_size)
            self._found.setdefault(index.manifest_sha256, []).append(masks)

    def of(self, answer: RunResult, domain: Domain, manifest: Manifest) -> MaskFolder | None:
        """The folder whose masks have the pixel counts of a record's rows; None without one."""
        for masks in self._found.get(answer.record.episodes.sha256, ()):
            try:
                masks.require_complete()
                probed = answer.rows[:: max(1, len(answer.rows) // _PROBED)]
                if all(
                    counts_of(domain, manifest[row.index], masks.read(row.index)) == row.counts
                    for row in probed
                ):
                    return masks
            except DataError:
                continue
        return None
