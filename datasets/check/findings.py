"""What can be odd or wrong in the files of a domain, and what helps."""

import hashlib
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cdfss_bench.errors import DataError, UserError

from ..core.card import DomainCard
from ..core.coded_domain import CodedDomain
from ..core.domain import Domain, Item
from ..core.file_domain import FileDomain
from ..core.own_domain import OwnDomain
from ..core.registry import DOMAINS
from ..core.samplers import most_shots

PUBLISHED = "none needed, published numbers have it too"
"""The hint for what stands in every copy of a published data set."""

_SIDECARS = (".txt", ".csv", ".md", ".json", ".db", ".pdf")

Seen = dict[str, list[tuple[str, str]]]
"""(domain, name) of every picture by the hash of its pixels."""


class Finding(NamedTuple):
    """Something odd or wrong.

    Attributes:
        kind: `absent`, `unreadable`, `small class`, `size`, `empty`, `values`, `stray`,
            `duplicate`, `leak` or `note`.
        problem: one sentence.
        hint: the command or edit that helps.
    """

    kind: str
    problem: str
    hint: str


def how_to_get(name: str, error: UserError) -> str:
    """How to get a domain that is not there; other errors know best what corrects them."""
    name = name.partition("[")[0]
    absent = error.hint == f"cdfss-bench data check {name} --data-root DIR"
    if not absent:
        return error.hint or ""
    if DOMAINS.card(name).prepare is None:
        return "put the files there, or name their folder with --data-root DIR"
    return (
        f"cdfss-bench data fetch {name} --data-root DIR, then: "
        f"cdfss-bench data prepare {name} --data-root DIR"
    )


def hint_for_note(domain: Domain, note: str) -> str:
    """What helps where a domain notes something of its files."""
    if note.startswith("masks: "):
        return "if that is not what you meant, say labels=, colors= or ignore= in brackets"
    if domain.card.prepare is not None and "order" in domain.card.prepare.options:
        return (
            f"cdfss-bench data prepare {domain.card.name} makes the pinned order; "
            "keep this one to repeat numbers that were computed on it"
        )
    said = "it stands in the records; say so beside the numbers"
    return said if isinstance(domain, CodedDomain) else _keep(domain, said)


def small_classes(domain: Domain) -> Iterator[Finding]:
    """Classes with too few images for some number of shots."""
    for pool in domain.pools:
        most = most_shots(pool, domain.scene if domain.keeps_scenes_apart else str)
        if most < 5:
            elsewhere = f", some with only {most} in other volumes, series or groups than theirs"
            yield Finding(
                "small class",
                f"class '{pool.name}' has {len(pool.images)} images"
                + (elsewhere if most < len(pool.images) - 1 else "")
                + (f": at most {most}-shot" if most else ": it cannot be asked"),
                f"complete the class, or evaluate with fewer shots (-k {most})"
                if most
                else "complete the class, or remove it",
            )


@dataclass
class Look:
    """What opening one item gave."""

    item: Item
    role: str
    damages: list[str]
    size: str = ""
    other: str = ""
    empty: bool = False
    values: int = 0
    pixels: str = ""


def look_at(domain: Domain, item: Item, role: str) -> Look:
    """Opens an image and its mask; `role` says what they serve as."""
    look = Look(item, role, [])
    for read in (lambda: domain.read_image(item.image), lambda: domain.read_labels(item)):
        try:
            read()
        except DataError as error:
            look.damages.append(error.problem)
    if look.damages:
        return look
    image, labels = domain.read_image(item.image), domain.read_labels(item)
    look.size = f"{image.native[0]}x{image.native[1]}"
    look.other = "" if image.native == labels.native else f"{labels.native[0]}x{labels.native[1]}"
    look.empty = not domain.truth(item).any()
    look.pixels = hashlib.sha256(np.ascontiguousarray(image.array).data).hexdigest()
    if item.label is None and isinstance(domain, FileDomain):
        look.values = domain.grey_values(item)
    return look


def oddities(domain: Domain, look: Look) -> Iterator[Finding]:
    """A mask of another size than its image, and one that shows nothing."""
    side = domain.card.image_size
    if look.other:
        yield Finding(
            "size",
            f"{look.item.mask} is {look.other} but its image is {look.size}; "
            f"both are brought to {side}x{side}"
            + ("" if isinstance(domain, OwnDomain) else ", as published"),
            _with_option(domain.card, "defects", "repair")
            or _keep(domain, "save the mask at the size of its image"),
        )
    if look.empty:
        yield Finding(
            "empty",
            f"{look.item.mask} is empty and serves as {look.role}",
            "--protocol strict never asks it, nor shows it"
            + (", or draw the mask" if isinstance(domain, OwnDomain) else ""),
        )


def unreadable(domain: Domain, problem: str) -> Finding:
    """A file that cannot be read."""
    root = shlex.quote(str(domain.root))
    again = f"cdfss-bench data prepare {domain.card.name} --data-root {root}"
    card = domain.card
    return Finding(
        "unreadable",
        problem,
        f"delete the file, then make it anew: {again}"
        if card.prepare is not None
        else f"replace the file, then: cdfss-bench data check {card.name} --full",
    )


def duplicates(domain: Domain, own: Seen) -> Iterator[Finding]:
    """The same picture under several names."""
    for places in own.values():
        scenes: dict[str, str] = {}
        for _, name in places:
            scenes.setdefault(domain.scene(name), name)
        # A DeepGlobe tile lies in the folder of each of its classes: that is one picture.
        if len(scenes) > 1:
            shown = sorted(scenes.values())
            more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
            yield Finding(
                "duplicate",
                f"the same picture under several names: {', '.join(shown[:3])}{more}",
                "remove all but one of them, with their masks"
                if isinstance(domain, OwnDomain)
                else "keep it to stay comparable with published numbers, or remove all but one",
            )


def strays(domain: Domain) -> Iterator[Finding]:
    """Files that are never read."""
    if not isinstance(domain, FileDomain):
        return
    items = [item for entry in domain.classes for item in entry.items]
    used = {path for i in items for path in (i.image, i.mask, *domain.item_files(i))}
    for folder in sorted({path.rpartition("/")[0] for path in used}):
        names = sorted(
            name for name in _files(domain.root / folder) if f"{folder}/{name}" not in used
        )
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            are = "file is" if len(names) == 1 else "files are"
            hint = _keep(domain, "remove them, or give them the name that the layout asks for")
            yield Finding("stray", f"{len(names)} {are} never read in {folder}: {shown}", hint)


def _keep(domain: Domain, own: str) -> str:
    """A remedy for what published numbers have too, or, for own data, what helps there."""
    return own if isinstance(domain, OwnDomain) else PUBLISHED


def _with_option(card: DomainCard, option: str, value: str) -> str:
    if card.prepare is None or option not in card.prepare.options:
        return ""
    return (
        f"cdfss-bench data prepare {card.name} --{option} {value} --data-root NEW_DIR "
        "(published numbers have it uncorrected)"
    )


def _files(folder: Path) -> Iterable[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # what cannot be listed was read all the same: nothing to say about strays
        return []
    return [
        entry.name
        for entry in entries
        if not entry.name.startswith(".")
        and entry.suffix.lower() not in _SIDECARS
        and entry.is_file()
    ]
