"""What every recipe from a download to the published layout has in common."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cdfss_bench.errors import DataError
from cdfss_bench.options import Value

from ..core.card import DomainCard
from .pictures import size_of
from .plan import Made, Plan, Unit, sha256_of
from .sources import Entry, Source


class Recipe(ABC):
    """A domain's way from its download to its published layout.

    Args:
        card: of the domain.
        options: of the card's `prepare`, resolved.
        lists: class tables and lists that the user named, in the order of preference.
    """

    version = 1
    """Bump when any output changes: trees of different versions are not mixed."""

    def __init__(self, card: DomainCard, options: Mapping[str, Value], lists: Sequence[Path] = ()):
        self.card = card
        self.options = dict(options)
        self.lists = tuple(lists)

    @abstractmethod
    def plan(self, source: Source) -> Plan:
        """The units of work for what `source` holds.

        Raises:
            DataError: if this is not the download that the recipe knows: it lacks all images, all
                masks, or a table or list that is needed.
        """

    @property
    def identity(self) -> dict[str, Value]:
        """What decides the outputs beside the inputs."""
        return {"recipe": self.card.name, "version": self.version, **self.options}

    def nothing_found(self, what: str, source: Source) -> DataError:
        """The error for a download that holds none of the expected files."""
        seen = ", ".join(dict.fromkeys(e.path.rpartition("/")[0] or e.name for e in source.entries))
        short = f"{seen[:160]} ..." if len(seen) > 160 else seen
        return DataError(
            f"no {what} in the download of {self.card.title}; it holds {short or 'nothing'}",
            hint=f"cdfss-bench data fetch {self.card.name} says what to download",
        )


def by_name(entries: Iterable[Entry], plan: Plan) -> dict[str, Entry]:
    """Entries by their published name; one that stands in several folders is taken from the first.

    Cameras and Windows write `.JPG`; published names have small suffixes. A download that holds a
    copy of itself (Kaggle's chest films do) is harmless; two different files of one name are a
    remark, and a problem if they lie in one folder.
    """
    found: dict[str, Entry] = {}
    copies = 0
    for entry in entries:
        first = found.setdefault(entry.plain_name, entry)
        if first is entry:
            continue
        if first.path.rpartition("/")[0] == entry.path.rpartition("/")[0]:
            plan.problems.append(f"{entry.origin} and {first.name} have one published name")
            continue
        copies += 1
        if first.size != entry.size:
            plan.remarks.append(f"{first.path} and {entry.path} differ: the former is taken")
    if copies:
        plan.remarks.append(f"{copies} files stand in several folders of the download")
    return found


def by_stem(entries: Iterable[Entry], plan: Plan) -> dict[str, Entry]:
    """Entries by their published name without its suffix, as `by_name` chooses them."""
    return {entry.stem: entry for entry in by_name(entries, plan).values()}


def copied(name: str, image: Entry, mask: Entry, to: tuple[str, str], counted: str) -> Unit:
    """The unit of that name which makes a `copied_pair`."""
    return Unit(name, (image, mask), lambda: copied_pair(image, mask, to, counted))


def copied_pair(image: Entry, mask: Entry, to: tuple[str, str], counted: str) -> Made:
    """Image and mask copied unchanged, after both were decoded once.

    Args:
        image: is copied to the first path of `to`.
        mask: is copied to the second.
        to: paths relative to the data root.
        counted: what the summary counts the pair as.

    Raises:
        DataError: if one of them is damaged.
    """
    made = Made(counts=Counter({counted: 1}))
    data, truth = image.read(), mask.read()
    size, other = size_of(data, image.origin), size_of(truth, mask.origin)
    if size != other:
        made.odd.append(
            f"{mask.path} is {other[0]}x{other[1]} but its image is {size[0]}x{size[1]}; "
            "both are kept"
        )
    made.files = {to[0]: image, to[1]: mask}
    made.looks[image.plain_name] = sha256_of(data)
    return made


def paired(
    images: Mapping[str, Entry], masks: dict[str, Entry], ending: str, plan: Plan
) -> Iterator[tuple[str, Entry, Entry]]:
    """(key, image, mask) in the order of keys; a problem for each without its partner.

    Args:
        images: by a key.
        masks: by the key of their image; those that have one are taken out.
        ending: of a mask's name behind that stem, for messages.
        plan: gets the problems, once all pairs were taken.
    """
    for key, image in sorted(images.items()):
        if (mask := masks.pop(key, None)) is None:
            plan.problems.append(f"{image.origin} has no mask {image.stem}{ending}")
        else:
            yield key, image, mask
    plan.problems += [f"{mask.origin} has no image" for _, mask in sorted(masks.items())]


def first_found(
    places: Iterable[Path], entries: Iterable[Entry], what: str
) -> tuple[bytes, str, Entry | None] | None:
    """A table or list: its bytes, where it lies, and its entry if it is of the download.

    Args:
        places: where it may lie beside the download, looked into first.
        entries: of the download that are such a file.
        what: it is, for messages.

    Raises:
        DataError: if it cannot be read.
    """
    for path in places:
        if path.is_file():
            try:
                return path.read_bytes(), str(path), None
            except OSError as error:
                raise DataError(f"{what} {path} cannot be read ({error.strerror})") from error
    for entry in entries:
        return entry.read(), entry.origin, entry
    return None


PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")


def left_over(plan: Plan, entries: Iterable[Entry], taken: Iterable[Entry]) -> None:
    """A problem for each picture among `entries`, the files of a known folder, that is not taken.

    Args:
        plan: gets the problems.
        entries: of a folder whose every picture has a use.
        taken: those of a kind that the recipe reads.
    """
    known = {id(entry) for entry in taken}
    plan.problems += [
        f"{entry.origin} is no {'.jpg' if entry.suffix == '.jpeg' else 'file'} of the published "
        "layout"
        for entry in entries
        if id(entry) not in known and entry.suffix in PICTURES
    ]


def unused(plan: Plan, source: Source, used: Iterable[Entry], known: Sequence[str] = ()) -> None:
    """A remark on every kind of file that the recipe has no use for; nothing is left out silently.

    Args:
        plan: gets the remarks.
        source: the download.
        used: entries that a unit reads or a remark already names.
        known: small letters of suffixes that need no remark.
    """
    taken = {id(entry) for entry in used}
    rest: dict[str, list[str]] = {}
    for entry in source.entries:
        if id(entry) not in taken and entry.suffix not in (*known, ".sha256"):
            rest.setdefault(entry.path.rpartition("/")[0], []).append(entry.name)
    for folder, names in rest.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        plural = "file has" if len(names) == 1 else "files have"
        plan.remarks.append(
            f"{len(names)} {plural} no use here{f' in {folder}' if folder else ''}: {shown}"
        )
    plan.remarks += list(source.remarks)
