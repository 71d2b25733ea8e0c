"""Is a data set what its card says: counts, population, readable files, duplicates, oddities."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cdfss_bench.canonical import digest
from cdfss_bench.errors import UserError

from ..core.domain import Domain, Item
from ..core.registry import open_domain, split_name
from .findings import (
    PUBLISHED,
    Finding,
    Look,
    Seen,
    duplicates,
    hint_for_note,
    how_to_get,
    look_at,
    oddities,
    small_classes,
    strays,
    unreadable,
)
from .own_folders import folder_notes, refuse_masks_for_pictures

_SHOWN = 5


@dataclass
class DomainReport:
    """What was found of one domain.

    Attributes:
        domain: its name.
        usable: whether it can be evaluated on.
        profile: the recognised population, or what part is here.
        fingerprint: of names and contents; the one that stands in records.
        names: sha256 of the sorted names alone: equal for trees that differ only in encoding.
        note: what of the official form could not be checked.
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
    note: str = ""
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
        if self.note:
            lines.append(f"  not checked: {self.note}")
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
            note=domain.card.note,
            classes={entry.name: len(entry.items) for entry in domain.classes},
            expected={key: sum(p.images) for key, p in domain.card.profiles.items()},
        )
        refuse_masks_for_pictures(domain)
    except UserError as error:
        return DomainReport(
            name, usable=False, findings=[Finding("absent", error.problem, how_to_get(name, error))]
        )
    report.findings += [Finding("note", note, hint_for_note(domain, note)) for note in domain.notes]
    unread = "move it away, or say which folders are meant: images= and masks="
    report.findings += [Finding("stray", note, unread) for note in folder_notes(domain)]
    report.findings += small_classes(domain)
    if full:
        _open_all(domain, report, {} if seen is None else seen, listener)
        report.findings += strays(domain)
    return report


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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks: list[Look] = []
        for look in pool.map(lambda pair: look_at(domain, *pair), items.items()):
            looks.append(look)
            if listener is not None:
                listener(len(looks), len(items))
    for look in looks:
        report.findings += [unreadable(domain, problem) for problem in look.damages]
        report.findings += oddities(domain, look)
    sound = [look for look in looks if not look.damages]
    report.usable = len(sound) == len(looks)
    own: Seen = {}
    images = {look.item.image: look for look in sound}
    for image, look in images.items():
        own.setdefault(look.pixels, []).append((report.domain, image))
    report.sizes = dict(sorted(Counter(look.size for look in images.values()).items()))
    if grey := [look.item.mask for look in sound if look.values]:
        report.findings.append(
            Finding(
                "values",
                f"{len(grey)} masks hold other values than 0 and 255, for example {grey[0]}; "
                "they are cut at 128, as published",
                PUBLISHED,
            )
        )
    shown = {look.role for look in sound if not look.empty}
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
    for name in domain.classes_without_background if report.usable else ():
        report.usable = False
        report.findings.append(
            Finding(
                "full",
                f"every mask of class '{name}' is full",
                "draw the masks, or remove the class",
            )
        )
    report.findings += duplicates(domain, own)
    for pixels, places in own.items():
        seen.setdefault(pixels, []).extend(places[:1])


def _spread(sizes: dict[str, int]) -> str:
    pairs = sorted((tuple(map(int, size.split("x"))) for size in sizes), key=lambda s: s[0] * s[1])
    if len(pairs) == 1:
        return f"all {pairs[0][0]}x{pairs[0][1]}"
    low, high = pairs[0], pairs[-1]
    return f"{len(pairs)} different, {low[0]}x{low[1]} to {high[0]}x{high[1]}"
