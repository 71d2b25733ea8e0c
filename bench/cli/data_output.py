"""How `data fetch` and `data prepare` show what came of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .console import say, show, show_table, talk

if TYPE_CHECKING:
    from cdfss_bench.datasets.check.report import DomainReport
    from cdfss_bench.datasets.core.card import DomainCard
    from cdfss_bench.datasets.prepare.fetching import Fetched
    from cdfss_bench.datasets.prepare.plan import Summary

SHOWN = 20
"""Sentences of a kind that are shown; the rest is counted (`--json` has all)."""


def show_summary(summary: Summary) -> None:
    """The table of what was made, then what was odd, then what could not be used."""
    from ..reporting.text_table import TextTable

    counts = {**dict(sorted(summary.counts.items())), "files": summary.files}
    made = {
        "units made now": summary.made,
        "units that were already done": summary.kept,
        "left out or odd": len(summary.odd),
        "could not be used": len(summary.problems),
    }
    rows = [[what, f"{count:,}"] for what, count in (*counts.items(), *made.items())]
    title = f"{summary.domain} in {summary.folder}"
    headers = ["what", "count"]
    show(TextTable(title, headers, rows, numeric=frozenset({1})))
    say(f"profile     │ {summary.profile}\nfingerprint │ {summary.fingerprint[:16]}")
    _list_some("left out or odd", summary.odd)
    _list_some("could not be used", summary.problems)
    if summary.problems:
        talk("  hint: replace those files, then type the same command: the rest is kept")


def _list_some(title: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    talk(f"{title}:")
    for sentence in sentences[:SHOWN]:
        talk(f"  - {sentence}")
    if len(sentences) > SHOWN:
        talk(f"  - and {len(sentences) - SHOWN} more (--json shows all)")


def show_reports(reports: Sequence[DomainReport], *, wide: bool = False) -> None:
    """One line for each domain that was checked."""
    rows = [
        [
            report.domain,
            (report.profile or "usable") if report.usable else "not usable",
            str(len(report.classes) or ""),
            f"{images:,}" if (images := sum(report.classes.values())) else "",
            str(len(report.findings) or ""),
            report.fingerprint[:16],
        ]
        for report in reports
    ]
    show_table(
        ["domain", "population", "classes", "images", "findings", "fingerprint"],
        rows,
        numeric=["classes", "images", "findings"],
        wide=wide,
    )


def look_at(summary: Summary) -> str:
    """The command that shows pictures of what was prepared."""
    words = ["cdfss-bench", "data", "show", summary.domain]
    root = str(summary.folder.parent)
    return shlex.join([*words, "--data-root", root, "-o", f"{summary.domain}.png"])


def show_fetched(files: Sequence[Fetched]) -> None:
    """One line for each file that is here, two for each that needs a person."""
    for file in files:
        if file.state in ("here", "downloaded"):
            talk(f"  {file.file}: {file.state}")
        elif file.state == "by hand":
            talk(f"  {file.file} is for you to get: {file.detail}")
            talk(f"    {file.hint}")
        else:
            talk(f"  error: {file.detail}")
            talk(f"    hint: {file.hint}")


def show_downloads(cards: Sequence[DomainCard], *, as_json: bool) -> None:
    """Addresses and sizes, from the cards alone."""
    from ..reporting.text_table import TextTable

    if as_json:
        pages = {c.name: [d.model_dump(mode="json") for d in c.downloads] for c in cards}
        say(json.dumps(pages, indent=1))
        return
    rows: list[list[str]] = []
    for card in cards:
        for entry in card.downloads:
            size = f"{entry.bytes / 1e9:,.2f} GB" if entry.bytes else ""
            where = entry.url or f"{entry.page}: {entry.click}"
            rows.append([card.name, entry.file, size, where])
    headers = ["domain", "file", "about", "where"]
    show(TextTable("", headers, rows, numeric=frozenset({2})))


def refuse_absent(places: Iterable[Path]) -> None:
    """Refuses a list or table that was named but is not there.

    Raises:
        UserError: naming it.
    """
    from cdfss_bench.errors import UserError

    for place in places:
        if not place.exists():
            raise UserError(f"{place} does not exist", hint="name another file or folder")
