"""Is a data set what its card says: counts, population, readable files, duplicates, oddities."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdfss_bench.canonical import digest
from cdfss_bench.errors import DataError, UserError

from ..core.card import DomainCard
from ..core.domain import Domain, Item
from ..core.file_domain import FileDomain
from ..core.own_domain import OwnDomain
from ..core.registry import DOMAINS, open_domain, split_name

_SHOWN = 5
_SIDECARS = (".txt", ".csv", ".md", ".json", ".db", ".pdf")
_PUBLISHED = "none needed, published numbers have it too"


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


@dataclass
class DomainReport:
    """What was found of one domain.

    Attributes:
        domain: its name.
        usable: whether it can be evaluated on.
        profile: the recognised population, or what part is here.
        fingerprint: of names and contents; the one that stands in records.
        names: sha256 of the sorted names alone: equal for trees that differ only in encoding.
        classes: images by class name.
        expected: images by known population.
        sizes: how many images have which size, `1022x767`; only where every file was opened.
        findings: what is odd or wrong.
    """

    domain: str
    usable: bool
    profile: str = ""
    fingerprint: str = ""
    names: str = ""
    classes: dict[str, int] = field(default_factory=dict[str, int])
    expected: dict[str, int] = field(default_factory=dict[str, int])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    findings: list[Finding] = field(default_factory=list[Finding])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "findings": [finding._asdict() for finding in self.findings],
        }

    def to_text(self) -> str:
        """A few lines for a person; of many findings of one kind the first."""
        lines = [f"{self.domain}: {self.profile if self.usable else 'not usable'}"]
        if self.classes:
            shown = [f"{name} {count}" for name, count in list(self.classes.items())[:8]]
            more = len(self.classes) - len(shown)
            lines.append("  images: " + ", ".join(shown) + (f", {more} more" if more > 0 else ""))
        if self.expected and self.profile not in self.expected:
            known = [f"{name} ({count:,} images)" for name, count in self.expected.items()]
            lines.append("  known populations: " + ", ".join(known))
        if self.sizes:
            lines.append(f"  sizes: {_spread(self.sizes)}")
        if self.fingerprint:
            lines.append(f"  fingerprint: {self.fingerprint[:16]}, names {self.names[:16]}")
        kinds: dict[tuple[str, str], list[str]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.kind, finding.hint), []).append(finding.problem)
        for (_, hint), problems in kinds.items():
            lines += [f"  - {problem}" for problem in problems[:_SHOWN]]
            if len(problems) > _SHOWN:
                lines.append(f"  - and {len(problems) - _SHOWN} more of the kind (--json has all)")
            if hint:
                lines.append(f"    hint: {hint}")
        return "\n".join(lines)


Seen = dict[str, list[tuple[str, str]]]
"""(domain, name) of every picture by the hash of its pixels."""


def check_domains(
    names: Sequence[str],
    root: Path | None,
    lists: Path | None = None,
    *,
    full: bool,
    listener: Callable[[int, int], None] | None = None,
) -> list[DomainReport]:
    """Looks at several domains and, with `full`, for pictures that two of them share.

    Args:
        names: of the domains.
        root: the data root.
        lists: folder of published lists.
        full: whether every image and mask is hashed anew and opened.
        listener: is told (done, total) within each domain.
    """
    seen: Seen = {}
    reports = [
        check_domain(name, root, lists, full=full, seen=seen, listener=listener) for name in names
    ]
    by_name = {report.domain: report for report in reports}
    for places in seen.values():
        owners = sorted({domain for domain, _ in places})
        if len(owners) > 1:
            shown = " and ".join(f"{domain} ({name})" for domain, name in places[:3])
            for owner in owners:
                by_name[owner].findings.append(
                    Finding(
                        "leak",
                        f"the same picture in {shown}",
                        "remove it from the source, or say so beside the numbers: "
                        "it is trained on and tested on",
                    )
                )
    return reports


def check_domain(
    name: str,
    root: Path | None,
    lists: Path | None = None,
    *,
    full: bool,
    hashed: bool = True,
    seen: Seen | None = None,
    listener: Callable[[int, int], None] | None = None,
) -> DomainReport:
    """Looks at a domain's files.

    Args:
        name: of the domain.
        root: the data root.
        lists: folder of published lists.
        full: whether every image and mask is hashed anew and opened.
        hashed: whether the fingerprint is computed.
        seen: gets the hash of every picture that was opened.
        listener: is told (done, total).
    """
    try:
        plain, options = split_name(name)
        domain = open_domain(plain, root, options, lists=lists)
        report = DomainReport(
            domain.title,
            usable=True,
            profile=domain.profile,
            fingerprint=domain.content_hash(again=full) if hashed else "",
            names=digest(sorted([e.id, i.name] for e in domain.classes for i in e.items)),
            classes={entry.name: len(entry.items) for entry in domain.classes},
            expected={key: sum(p.images) for key, p in domain.card.profiles.items()},
        )
    except UserError as error:
        return DomainReport(
            name, usable=False, findings=[Finding("absent", error.problem, _getting(name, error))]
        )
    report.findings += [Finding("note", note, _of_note(domain, note)) for note in domain.notes]
    report.findings += _small_classes(domain)
    if full:
        _open_all(domain, report, {} if seen is None else seen, listener)
        report.findings += _strays(domain)
    return report


def _getting(name: str, error: UserError) -> str:
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


def _keep(domain: Domain, own: str) -> str:
    """A remedy for what published numbers have too, or, for own data, what helps there."""
    return own if isinstance(domain, OwnDomain) else _PUBLISHED


def _of_note(domain: Domain, note: str) -> str:
    if note.startswith("masks: "):
        return "if that is not what you meant, say labels=, colors= or ignore= in brackets"
    if domain.card.prepare is not None and "order" in domain.card.prepare.options:
        return (
            f"cdfss-bench data prepare {domain.card.name} makes the pinned order; "
            "keep this one to repeat numbers that were computed on it"
        )
    return _keep(domain, "it stands in the records; say so beside the numbers")


def _small_classes(domain: Domain) -> Iterator[Finding]:
    for entry in domain.classes:
        count = len(entry.items)
        if count < 6:
            yield Finding(
                "small class",
                f"class '{entry.name}' has {count} images: "
                + (f"at most {count - 1}-shot" if count > 1 else "it cannot be asked"),
                f"complete the class, or evaluate with fewer shots (-k {max(count - 1, 1)})"
                if count > 1
                else "complete the class, or remove it",
            )


@dataclass
class _Look:
    """What opening one item gave."""

    item: Item
    role: str
    damages: list[str]
    size: str = ""
    other: str = ""
    empty: bool = False
    values: int = 0
    pixels: str = ""


def _open_all(
    domain: Domain,
    report: DomainReport,
    seen: Seen,
    listener: Callable[[int, int], None] | None,
) -> None:
    items: dict[Item, str] = {}
    for entry in domain.classes:
        for item in entry.items:
            items.setdefault(item, f"an image of class '{entry.name}'")
    sizes: Counter[str] = Counter()
    shown: set[str] = set()
    counted: set[str] = set()
    grey: list[str] = []
    own: Seen = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = pool.map(lambda pair: _look(domain, *pair), items.items())
        for done, look in enumerate(looks, start=1):
            report.findings += [_unreadable(domain, problem) for problem in look.damages]
            report.usable = report.usable and not look.damages
            if listener is not None:
                listener(done, len(items))
            if look.damages:
                continue
            if look.item.image not in counted:
                counted.add(look.item.image)
                sizes[look.size] += 1
                own.setdefault(look.pixels, []).append((report.domain, look.item.image))
            report.findings += _oddities(domain, look)
            if not look.empty:
                shown.add(look.role)
            if look.values:
                grey.append(look.item.mask)
    report.sizes = dict(sorted(sizes.items()))
    if grey:
        report.findings.append(
            Finding(
                "values",
                f"{len(grey)} masks hold other values than 0 and 255, for example {grey[0]}; "
                "they are cut at 128, as published",
                _PUBLISHED,
            )
        )
    for role in () if not report.usable else dict.fromkeys(items.values()):
        if role not in shown:
            report.usable = False
            report.findings.append(
                Finding(
                    "empty",
                    f"no mask of {role.removeprefix('an image of ')} shows anything of it",
                    "replace the masks, or remove the class",
                )
            )
    report.findings += _duplicates(domain, own)
    for pixels, places in own.items():
        seen.setdefault(pixels, []).extend(places[:1])


def _look(domain: Domain, item: Item, role: str) -> _Look:
    look = _Look(item, role, [])
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


def _oddities(domain: Domain, look: _Look) -> Iterator[Finding]:
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


def _unreadable(domain: Domain, problem: str) -> Finding:
    again = f"cdfss-bench data prepare {domain.card.name} --data-root {domain.root}"
    card = domain.card
    return Finding(
        "unreadable",
        problem,
        f"delete the file, then make it anew: {again}"
        if card.prepare is not None
        else f"replace the file, then: cdfss-bench data check {card.name} --full",
    )


def _with_option(card: DomainCard, option: str, value: str) -> str:
    if card.prepare is None or option not in card.prepare.options:
        return ""
    return (
        f"cdfss-bench data prepare {card.name} --{option} {value} --data-root NEW_DIR "
        "(published numbers have it uncorrected)"
    )


def _duplicates(domain: Domain, own: Seen) -> Iterator[Finding]:
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


def _strays(domain: Domain) -> Iterator[Finding]:
    if not isinstance(domain, FileDomain):
        return
    used = {path for e in domain.classes for i in e.items for path in (i.image, i.mask)}
    for folder in sorted({path.rpartition("/")[0] for path in used}):
        names = sorted(
            name for name in _files(domain.root / folder) if f"{folder}/{name}" not in used
        )
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            are = "file is" if len(names) == 1 else "files are"
            hint = _keep(domain, "remove them, or give them the name that the layout asks for")
            yield Finding("stray", f"{len(names)} {are} never read in {folder}: {shown}", hint)


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


def _spread(sizes: dict[str, int]) -> str:
    pairs = sorted((tuple(map(int, size.split("x"))) for size in sizes), key=lambda s: s[0] * s[1])
    if len(pairs) == 1:
        return f"all {pairs[0][0]}x{pairs[0][1]}"
    low, high = pairs[0], pairs[-1]
    return f"{len(pairs)} different, {low[0]}x{low[1]} to {high[0]}x{high[1]}"
