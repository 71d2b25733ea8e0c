"""Names as published, and the papers behind them, from the cards of methods."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cdfss_bench.errors import UserError
from cdfss_bench.methods.registry.card import MethodCard
from cdfss_bench.methods.registry.name_grammar import METHODS, Composition, parse

from ..records.schema import NOT_TRAINED
from .latex import escaped


class Published(NamedTuple):
    """A row as a paper names it, and the papers of its parts, each once."""

    name: str
    papers: tuple[Paper, ...]


class Paper(NamedTuple):
    """A paper as cards know it: they have no authors.

    `venue` is `arXiv` for a preprint, `arxiv` its number there or empty, `url` of its code or text.
    """

    key: str
    title: str
    venue: str
    year: int
    arxiv: str
    url: str


def published(label: str) -> Published:
    """What a paper calls a row such as `ssp+lem`; a name without a card stays as it is."""
    name, bare, _ = label.partition(NOT_TRAINED)
    try:
        composition = parse(name)
    except UserError:
        return Published(label, ())
    cards = _cards(name, composition)
    papers = dict.fromkeys(filter(None, (_paper(card) for card, _ in cards)))
    spoken = "+".join(f"{card.title}{options}" for card, options in cards)
    control = ", shuffled support" if composition.control else ""
    return Published(f"{spoken}{control}{NOT_TRAINED if bare else ''}", tuple(papers))


def bibtex(labels: Iterable[str]) -> str:
    """An entry for every paper behind some rows; authors are to be added, as cards have none."""
    papers = {paper.key: paper for label in labels for paper in published(label).papers}
    lines = ["% From the cards of the methods, which name no authors: add them before you cite."]
    return "\n\n".join([*lines, *(_entry(papers[key]) for key in sorted(papers))]) + "\n"


def _cards(name: str, composition: Composition) -> list[tuple[MethodCard, str]]:
    """The one name that was typed, an alias say, or host and plug-ins with their options."""
    alone = METHODS.canonical(name.partition("@")[0])
    if alone in METHODS:
        return [(METHODS.card(alone), "")]
    return [(part.card, _options(str(part))) for part in composition.parts]


def _options(part: str) -> str:
    _, bracket, typed = part.partition("[")
    return f" ({typed.rstrip(']').replace(',', ', ')})" if bracket else ""


def _paper(card: MethodCard) -> Paper | None:
    if not card.paper or card.year is None:
        return None
    arxiv = re.search(r"arXiv (\d{4}\.\d{4,5})", card.paper)
    title = re.sub(r" \([^()]*\)$", "", card.paper)
    return Paper(
        _keys()[card.paper], title, card.venue, card.year, arxiv[1] if arxiv else "", card.url
    )


def _keys() -> dict[str, str]:
    """A key for each paper: its best known method and the year, `loec2025`."""
    ranks = {"host": 0, "alias": 1, "plugin": 2, "control": 3, "published": 4}
    cards = [METHODS.card(name) for name in METHODS.names()]
    keys: dict[str, str] = {}
    for card in sorted(cards, key=lambda c: (ranks[c.kind], len(c.name), c.name)):
        if card.paper and card.paper not in keys:
            short = card.name.partition("-")[0]
            key = f"{short}{card.year or ''}"
            keys[card.paper] = key if key not in keys.values() else f"{card.name}{card.year or ''}"
    return keys


def _entry(paper: Paper) -> str:
    is_preprint = paper.venue.lower() in ("", "arxiv")
    fields = {
        "title": f"{{{escaped(paper.title)}}}",
        "booktitle": "" if is_preprint else escaped(paper.venue),
        "year": str(paper.year),
        "eprint": paper.arxiv,
        "archiveprefix": "arXiv" if paper.arxiv else "",
        "howpublished": rf"\url{{{paper.url}}}" if paper.url else "",
    }
    kind = "misc" if is_preprint else "inproceedings"
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{paper.key},", *lines, "}"])
