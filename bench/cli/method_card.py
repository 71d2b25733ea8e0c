"""One method's card as two tables: what it is, and its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import show

if TYPE_CHECKING:
    from cdfss_bench.methods.registry.card import MethodCard


def show_method(card: MethodCard, ready: Sequence[str], *, wide: bool = False) -> None:
    """Everything that a user chooses by; `ready` are backbones whose weights are here."""
    from cdfss_bench.options import spelled

    from ..reporting.text_table import TextTable

    told = {
        "kind": card.kind,
        "what": card.summary,
        "why it does not run": card.reason,
        "paper": card.paper,
        "venue": f"{card.venue} {card.year}" if card.year else "",
        "address": card.url,
        "is": card.composition,
        "its bare name is": card.alone,
        "acts on": card.place,
        "offers": ", ".join(card.offers),
        "not beside": ", ".join(card.excludes),
        "adapts at test": card.adaptation,
        "backbones": ", ".join(card.backbones),
        "weights here for": ", ".join(ready),
        "input side": f"{card.input_size} pixels",
        "source training": card.recipe.source if card.recipe else "none",
    }
    rows = [[name, value] for name, value in told.items() if value]
    rows += [["differs from the paper", text] for text in card.deviations]
    rows += [["open in the paper", text] for text in card.open]
    tables = [TextTable(f"{card.name}: {card.title}", ["", "card"], rows, frozenset())]
    if card.options:
        typed = [
            [
                name,
                spelled(option.default) or "(empty)",
                ", ".join((*option.choices, *option.also)),
                option.help,
            ]
            for name, option in card.options.items()
        ]
        name = next(iter(card.options))
        title = f"options of {card.name}, typed as {card.name}[{name}=VALUE]"
        headers = ["option", "default", "or", "what"]
        if not any(row[2] for row in typed):
            headers, typed = ["option", "default", "what"], [[*r[:2], r[3]] for r in typed]
        tables.append(TextTable(title, headers, typed, frozenset()))
    show(*tables, wide=wide)
