"""Is a data set what its card says: counts, population, readable files, oddities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cdfss_bench.errors import DataError, UserError

from .domain import Domain, Item
from .opening import open_domain


@dataclass
class DomainReport:
    """What was found of one domain.

    Attributes:
        domain: its name.
        usable: whether it can be evaluated on.
        profile: the recognised population, or what part is here.
        fingerprint: of names and sizes.
        classes: images by class name.
        findings: what is odd or wrong, one sentence each.
        mend: the command or edit that helps.
    """

    domain: str
    usable: bool
    profile: str = ""
    fingerprint: str = ""
    classes: dict[str, int] = field(default_factory=dict[str, int])
    findings: list[str] = field(default_factory=list[str])
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """A few lines for a person."""
        lines = [f"{self.domain}: {self.profile if self.usable else 'not usable'}"]
        if self.classes:
            shown = [f"{name} {count}" for name, count in list(self.classes.items())[:8]]
            more = len(self.classes) - len(shown)
            lines.append("  images: " + ", ".join(shown) + (f", {more} more" if more > 0 else ""))
        if self.fingerprint:
            lines.append(f"  fingerprint: {self.fingerprint[:16]}")
        lines += [f"  - {finding}" for finding in self.findings]
        if self.mend:
            lines.append(f"  mend: {self.mend}")
        return "\n".join(lines)


def check_domain(
    name: str, root: Path | None, lists: Path | None = None, *, full: bool
) -> DomainReport:
    """Looks at a domain's files.

    Args:
        name: of the domain.
        root: the data root.
        lists: folder of published lists.
        full: whether every image and mask is opened.
    """
    try:
        domain = open_domain(name, root, lists=lists)
        report = DomainReport(
            domain.title,
            usable=True,
            profile=domain.profile,
            fingerprint=domain.fingerprint,
            classes={entry.name: len(entry.items) for entry in domain.classes},
        )
    except UserError as error:
        return DomainReport(name, usable=False, findings=[error.problem], mend=error.mend or "")
    report.findings += list(domain.notes)
    report.findings += _small_classes(domain)
    if full:
        for finding in _opened(domain):
            report.findings.append(finding)
            report.usable = report.usable and "not a readable image" not in finding
        report.findings += [note for note in domain.notes if note not in report.findings]
    return report


def _small_classes(domain: Domain) -> Iterator[str]:
    for entry in domain.classes:
        count = len(entry.items)
        if count < 6:
            yield (
                f"class '{entry.name}' has {count} images: "
                + (f"at most {count - 1}-shot" if count > 1 else "it cannot be asked")
            )


def _opened(domain: Domain) -> Iterator[str]:
    seen: set[Item] = set()
    for entry in domain.classes:
        for item in entry.items:
            if item in seen:
                continue
            seen.add(item)
            damaged = list(_damages(domain, item))
            yield from damaged
            if not damaged:
                domain.note_oddities(item, role=f"an image of class '{entry.name}'")


def _damages(domain: Domain, item: Item) -> Iterator[str]:
    for read in (lambda: domain.read_image(item.image), lambda: domain.read_labels(item)):
        try:
            read()
        except DataError as error:
            yield error.problem
