"""PASCAL VOC 2012 + SBD: photographs, masks of both, and the published fold lists."""

from collections import Counter

from cdfss_bench.errors import DataError

from .matfile import MatError, segmentation
from .pictures import decoded, lossless, size_of
from .plan import Made, Plan, Unit, sha256_of
from .recipe import Recipe, by_name, first_found, unused
from .sources import Entry, Source

_BASE = "VOCdevkit/VOC2012"
_LISTS = tuple(f"{split}/fold{fold}.txt" for split in ("trn", "val") for fold in range(4))
_FOLDERS = ("JPEGImages", "SegmentationClassAug", "SegmentationClass", "SegmentationObject", "img")
_VOID = 255
_LABELS = 20


class PascalRecipe(Recipe):
    """`JPEGImages`, masks and lists -> `VOCdevkit/VOC2012/...` and `splits/pascal/...`.

    Masks are taken from the first of: a ready-made folder `SegmentationClassAug`; VOC's
    `SegmentationClass` (with the undecided border of 255); SBD's `cls/*.mat` (without). The union
    of the latter two has the 12,031 masks of the circulating `SegmentationClassAug`. Photographs
    without a mask are left out.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per mask, and one for the lists."""
        plan = Plan("VOCdevkit", self.identity)
        photos = by_name((e for e in source.entries if e.folder == "JPEGImages"), plan)
        photos = {entry.stem: entry for entry in photos.values() if entry.suffix == ".jpg"}
        if not photos:
            raise self.nothing_found("photograph JPEGImages/*.jpg", source)
        masks = self._masks(source, plan)
        if not masks:
            raise self.nothing_found(
                "mask (SegmentationClassAug/*.png, SegmentationClass/*.png or SBD's cls/*.mat)",
                source,
            )
        plan.units.append(self._lists(source, plan))
        for stem, mask in sorted(masks.items()):
            if stem in photos:
                plan.units.append(_unit(photos[stem], mask))
            else:
                plan.problems.append(f"{mask.origin} has no photograph JPEGImages/{stem}.jpg")
        if blind := len(photos.keys() - masks.keys()):
            plan.remarks.append(f"{blind} photographs have no mask and are left out")
        used = [e for e in source.entries if e.folder in _FOLDERS]
        unused(plan, source, used, known=(".txt", ".xml", ".mat", ".m", ".csv"))
        label_map = 190_000  # bytes of a typical uncompressed label map
        plan.output_bytes = sum(
            entry.size if entry.suffix != ".mat" else label_map
            for unit in plan.units
            for entry in unit.inputs
        )
        return plan

    def _masks(self, source: Source, plan: Plan) -> dict[str, Entry]:
        kinds = (
            ("SegmentationClassAug", ".png", "SegmentationClassAug"),
            ("SegmentationClass", ".png", "VOC's SegmentationClass"),
            ("cls", ".mat", "SBD"),
        )
        chosen: dict[str, Entry] = {}
        for folder, suffix, title in kinds:
            found = by_name(
                (e for e in source.entries if e.folder == folder and e.suffix == suffix), plan
            )
            new = {e.stem: e for e in found.values() if e.stem not in chosen}
            if new:
                plan.remarks.append(f"{len(new)} masks are those of {title}")
            chosen |= new
        return chosen

    def _lists(self, source: Source, plan: Plan) -> Unit:
        files: dict[str, bytes] = {}
        inputs: list[Entry] = []
        for name in _LISTS:
            places = [
                place for given in self.lists for place in (given / "pascal" / name, given / name)
            ]
            entries = [e for e in source.entries if f"/{e.path}".endswith(f"/pascal/{name}")]
            found = first_found(places, entries, "the list")
            if found is None:
                raise DataError(
                    f"the published fold list {name} is missing",
                    hint="cdfss-bench data fetch pascal gets the lists, or name their folder "
                    "with --lists DIR",
                )
            data, where, entry = found
            inputs += [entry] if entry is not None else []
            published = self.card.download(f"pascal/{name}")
            if published is not None and sha256_of(data) != published.sha256:
                plan.remarks.append(f"{where} is not the published list (its sha256 differs)")
            files[f"splits/pascal/{name}"] = data
        return Unit("fold lists", tuple(inputs), lambda: Made(dict(files)))


def _unit(photo: Entry, mask: Entry) -> Unit:
    def make() -> Made:
        made = Made(counts=Counter(masks=1))
        data = photo.read()
        size = size_of(data, photo.origin)
        made.looks[photo.plain_name] = sha256_of(data)
        made.files[f"{_BASE}/JPEGImages/{photo.plain_name}"] = photo
        target = f"{_BASE}/SegmentationClassAug/{mask.stem}.png"
        if mask.suffix == ".mat":
            try:
                labels = segmentation(mask.read())
            except MatError as error:
                raise DataError(f"{mask.origin} cannot be read: {error}") from error
            made.files[target] = lossless(labels)
        else:
            labels = decoded(mask)
            made.files[target] = mask
        if labels.ndim != 2:
            raise DataError(f"{mask.origin} is a picture in colour, not a label map")
        foreign = int(((labels > _LABELS) & (labels != _VOID)).sum())
        if foreign:
            made.odd.append(f"{mask.path} has {foreign} pixels of no class (not 0 to 20 or 255)")
        if labels.shape[::-1] != size:
            made.odd.append(
                f"{mask.path} is {labels.shape[1]}x{labels.shape[0]}, its image {size[0]}x{size[1]}"
            )
        return made

    return Unit(mask.stem, (photo, mask), make)
