"""DeepGlobe: scenes of 2448 pixels cut into 36 tiles each, with a mask per class."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from .pictures import decoded, jpeg_95, lossless
from .plan import Made, Plan, Same, Unit, sha256_of
from .recipe import Recipe, by_name, unused
from .sources import Entry, Source

SCENE = 2448
GRID = 6
TILE = SCENE // GRID
LEAST_SHARE = 0.048
"""A tile stays only if its rarest colour covers more (PATNet `data/preprocess.py`)."""

COLOURS = (
    (255, 255, 0),
    (0, 255, 255),
    (255, 0, 255),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
)
"""RGB of classes 1 to 6: agriculture, urban, rangeland, forest, water, barren. The published
script lists them in the BGR order of OpenCV."""

_UNKNOWN = (0, 0, 0)
_SATELLITE = re.compile(r"(?P<scene>.+)_sat\.(jpg|jpeg|png)")


class DeepGlobeRecipe(Recipe):
    """`ID_sat.jpg`, `ID_mask.png` -> `Deepglobe/{1..6}/test/{origin,groundtruth}/ID_sat_ij.*`.

    PATNet's script (steps 1 to 4, all commented out there; runnable in IFA): a 6x6 grid, tiles
    dropped that have one colour or a sliver of a colour, "unknown" included; a binary mask for
    every class in the tile by exact colour; the image copied into each class folder.

    `tiles=lossless` writes PNG bytes under the published names `*.jpg` (every reader goes by the
    content), so that no pixel changes and all machines make the same bytes; `tiles=as-published`
    encodes JPEG of quality 95 once more.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per scene."""
        plan = Plan("Deepglobe", self.identity)
        matches = {
            e.plain_name: m["scene"]
            for e in source.entries
            if (m := _SATELLITE.fullmatch(e.plain_name))
        }
        pictures = by_name((e for e in source.entries if e.plain_name in matches), plan)
        coded = [e for e in source.entries if e.plain_name.endswith("_mask.png")]
        masks = by_name(coded, plan)
        unmasked: dict[str, int] = {}
        for name, picture in sorted(pictures.items()):
            scene = matches[name]
            mask = masks.pop(f"{scene}_mask.png", None)
            if mask is None:
                unmasked[picture.folder] = unmasked.get(picture.folder, 0) + 1
                continue
            plan.units.append(self._unit(scene, picture, mask))
        if not plan.units:
            raise self.nothing_found("scene ID_sat.jpg with its ID_mask.png", source)
        for folder, count in unmasked.items():
            plan.remarks.append(
                f"{count} scenes of '{folder}' have no mask and are left out "
                "(the validation and test parts were published without)"
            )
        plan.problems += [f"{mask.origin} has no satellite picture" for mask in masks.values()]
        scenes = [e for e in source.entries if e.plain_name in matches]
        unused(plan, source, [*scenes, *coded], known=(".csv", ".txt", ".md"))
        per_tile = TILE * TILE * (3 if self.options["tiles"] == "lossless" else 1)
        # 9,175 of 28,908 tiles stay in the published data, with 2.24 masks each.
        plan.output_bytes = int(len(plan.units) * 11.5 * (per_tile + 2.24 * TILE * TILE / 8))
        return plan

    def _unit(self, scene: str, picture: Entry, mask: Entry) -> Unit:
        return Unit(scene, (picture, mask), lambda: self._tiles(scene, picture, mask))

    def _tiles(self, scene: str, picture: Entry, mask: Entry) -> Made:
        image, colours = decoded(picture, "RGB"), decoded(mask, "RGB")
        for entry, pixels in ((picture, image), (mask, colours)):
            if pixels.shape[:2] != (SCENE, SCENE):
                raise DataError(
                    f"{entry.origin} is {pixels.shape[1]}x{pixels.shape[0]}, "
                    f"DeepGlobe's scenes are {SCENE}x{SCENE}"
                )
        made = Made(looks={picture.plain_name: sha256_of(image.tobytes())})
        made.counts["scenes"] = 1
        strangers = 0
        for place, tile, truth in _grid(image, colours):
            shares, foreign = _shares(truth)
            strangers += foreign
            if len(shares) < 2:
                made.counts["tiles of one colour, dropped"] += 1
                continue
            if min(shares.values()) / (TILE * TILE) <= LEAST_SHARE:
                made.counts["tiles with a sliver, dropped"] += 1
                continue
            self._keep(made, f"{scene}_sat_{place}", tile, truth, shares)
        if strangers:
            made.odd.append(
                f"{mask.path} has {strangers} pixels of no class's colour; as published they "
                "belong to no class and count as a colour of their own"
            )
        return made

    def _keep(
        self,
        made: Made,
        stem: str,
        tile: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        shares: dict[tuple[int, int, int], int],
    ) -> None:
        first: str | None = None
        for index, colour in enumerate(COLOURS):
            if colour not in shares:
                continue
            base = f"Deepglobe/{index + 1}/test"
            path = f"{base}/origin/{stem}.jpg"
            if first is None:
                as_published = self.options["tiles"] == "as-published"
                made.files[path] = jpeg_95(tile) if as_published else lossless(tile)
            else:
                made.files[path] = Same(first)
            first = first or path
            mask = (truth == np.array(colour, np.uint8)).all(axis=-1)
            made.files[f"{base}/groundtruth/{stem}.png"] = lossless(mask)
            made.counts[f"{index + 1} {self.card.classes[index]}"] += 1
        made.counts["tiles kept" if first else "tiles of unknown only, dropped"] += 1


def _grid(
    image: NDArray[np.uint8], colours: NDArray[np.uint8]
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    for row in range(GRID):
        for column in range(GRID):
            part = (
                slice(row * TILE, (row + 1) * TILE),
                slice(column * TILE, (column + 1) * TILE),
            )
            yield f"{row}{column}", image[part], colours[part]


def _shares(truth: NDArray[np.uint8]) -> tuple[dict[tuple[int, int, int], int], int]:
    """Pixels of each colour in a tile [H, W, 3], and how many have no class's colour."""
    red, green, blue = (truth[..., channel].astype(np.int32) for channel in range(3))
    if ((truth == 0) | (truth == 255)).all():
        # Eight colours at most: counted without sorting 166,464 pixels.
        counts = np.bincount((red & 4 | green & 2 | blue & 1).ravel(), minlength=8)
        colours = [(255 * (c >> 2), 255 * (c >> 1 & 1), 255 * (c & 1)) for c in range(8)]
    else:
        values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
        colours = [(int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in values]
    shares = {colour: int(c) for colour, c in zip(colours, counts, strict=True) if c}
    known = {*COLOURS, _UNKNOWN}
    return shares, sum(count for colour, count in shares.items() if colour not in known)
