"""SUIM: underwater photographs, a folder of masks per class."""

from __future__ import annotations

from collections.abc import Sequence

from cdfss_bench.errors import DataError

from ..core.domain import DomainClass, Item
from ..core.file_domain import FileDomain, listed
from ..core.masks.facts import seen

IMAGES = "SUIM/images"
MASKS = "SUIM/masks"

COLOURS = {
    "FV": (255, 255, 0),
    "HD": (0, 0, 255),
    "PF": (0, 255, 0),
    "RI": (255, 0, 255),
    "RO": (255, 0, 0),
    "SR": (255, 255, 255),
    "WR": (0, 255, 255),
}
"""RGB of fish, human divers, plants, reefs, robots, sea floor, wrecks; black water is no class."""

RAW_COLOURS = frozenset({0, *(seen(r << 16 | g << 8 | b) for r, g, b in COLOURS.values())})
"""What the colour-coded masks of the download show, as `Facts.shown` has it."""


class SUIM(FileDomain):
    """Layout `SUIM/images/NAME.jpg`, `SUIM/masks/CLASS/NAME.{png,bmp}` (as ABCDFSS merges it)."""

    def discover(self) -> Sequence[DomainClass]:
        """The seven classes; an image stands in each class that it has a mask of."""
        images = set(listed(self.root / IMAGES, "jpg"))
        return [
            DomainClass(index, name, tuple(self._item(name, file, images) for file in files))
            for index, name in enumerate(self.card.classes)
            for folder in (self.root / MASKS / name,)
            for files in (sorted([*listed(folder, "png"), *listed(folder, "bmp")]),)
        ]

    def nothing_found(self) -> DataError:
        """Says how the download is prepared where it lies here in its raw form."""
        for place in ("SUIM", ".", "train_val", "TEST", "SUIM/train_val", "SUIM/TEST"):
            folder = self.root / place
            images, masks = folder / "images", folder / "masks"
            coded = [*listed(masks, "bmp"), *listed(masks, "png")]
            if listed(images, "jpg") and coded and not any((masks / n).is_dir() for n in COLOURS):
                raw = folder if place in ("SUIM", ".") else folder.parent
                return DataError(
                    f"{raw} is the raw form of SUIM: colour-coded masks in one folder, such as "
                    f"{masks / coded[0]}",
                    hint=f"cdfss-bench data prepare suim --from '{raw}' --data-root NEW_DIR, "
                    "then name that data root",
                )
        return super().nothing_found()

    def _item(self, name: str, file: str, images: set[str]) -> Item:
        image = f"{file.partition('.')[0]}.jpg"
        if image not in images:
            raise DataError(
                f"{self.root / MASKS}/{name}/{file} has no image {image} in {self.root / IMAGES}",
                hint="complete the folder, or remove the mask",
            )
        return Item(f"{IMAGES}/{image}", f"{IMAGES}/{image}", f"{MASKS}/{name}/{file}")
