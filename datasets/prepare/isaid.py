"""iSAID-5i: the validation patches with their class indices, and the fold lists, copied."""

from cdfss_bench.errors import DataError

from ..domains.isaid import ALL, ENDING
from .pictures import size_of
from .plan import Made, Plan, Unit
from .recipe import Recipe, by_stem, copied_pair, first_found, paired, unused
from .sources import Entry, Source

SIDE = 256
_TO = "iSAID/val/{}/{}"


class ISAIDRecipe(Recipe):
    """`val/images/NAME.png`, `val/semantic_png/NAME*.png` -> `iSAID/val/...`, files unchanged.

    Lists `val/fold{0,1,2}.txt` of the download, or of the folder named with `--lists`, go to
    `iSAID/splits/val`. The training patches are left out, since the domain is only tested on.
    """

    def plan(self, source: Source) -> Plan:
        """A unit per patch."""
        plan = Plan("iSAID", self.identity)
        pictures = [e for e in source.entries if e.suffix == ".png"]
        here = [e for e in pictures if _is_in(e, "val", "images", "semantic_png")]
        images = by_stem((e for e in here if e.folder == "images"), plan)
        found = by_stem((e for e in here if e.folder == "semantic_png"), plan)
        masks = {stem.removesuffix(ENDING): entry for stem, entry in found.items()}
        if not images or not masks:
            raise self.nothing_found("patch val/images/*.png, val/semantic_png/*.png", source)
        plan.units += [_unit(*pair) for pair in paired(images, masks, f"{ENDING}.png", plan)]
        lists = [e for e in source.entries if _is_list(e) and _is_in(e, "val", "val")]
        self._add_lists(plan, lists)
        training = [e for e in source.entries if "train" in e.path.split("/") or "trn" in e.path]
        if training:
            plan.remarks.append(f"{len(training)} files of the training part are left out")
        unused(plan, source, [*here, *lists, *training], known=(".md", ".json"))
        return plan

    def _add_lists(self, plan: Plan, entries: list[Entry]) -> None:
        files: dict[str, bytes] = {}
        for fold in range(ALL):
            name = f"fold{fold}.txt"
            places = [p / inner / "val" / name for p in self.lists for inner in ("isaid", "")]
            found = first_found(places, [e for e in entries if e.name == name], "the list")
            if found is not None:
                files[name] = found[0]
        if len(files) == ALL:
            made = {f"iSAID/splits/val/{name}": data for name, data in files.items()}
            plan.units.append(Unit("fold lists", tuple(entries), lambda: Made(dict(made))))
        else:
            plan.remarks.append(
                "no fold lists val/fold0.txt to fold2.txt: a patch stands in each class it shows"
            )


def _is_in(entry: Entry, part: str, *folders: str) -> bool:
    return part in entry.path.split("/")[:-1] and entry.folder in folders


def _is_list(entry: Entry) -> bool:
    return entry.name in {f"fold{fold}.txt" for fold in range(ALL)}


def _unit(stem: str, image: Entry, mask: Entry) -> Unit:
    def make() -> Made:
        for entry in (image, mask):
            width, height = size_of(entry.read(), entry.origin)
            if (width, height) != (SIDE, SIDE):
                raise DataError(f"{entry.origin} is {width}x{height}, no patch of {SIDE}x{SIDE}")
        names = ("images", image.plain_name), ("semantic_png", f"{stem}{ENDING}.png")
        return copied_pair(image, mask, (_TO.format(*names[0]), _TO.format(*names[1])), "patches")

    return Unit(image.plain_name, (image, mask), make)
