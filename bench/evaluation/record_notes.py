"""What a record notes of its files and of its method's input."""

from collections.abc import Iterable
from statistics import fmean

from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.check.own_folders import folder_notes
from cdfss_bench.datasets.core.own_domain import OwnDomain

from ..planning.cell import Cell
from ..planning.episode_set import EpisodeSet
from ..records.schema import RunRecord
from .weights_notes import weights_notes

MOST = 0.5
"""Share of the pixels from which on a class of own data is perhaps the background."""


def cell_notes(cell: Cell, record: RunRecord) -> list[str]:
    """The notes of a finished cell, sorted."""
    backbone = cell.weights.backbone
    elsewhere = cell.composition.made_elsewhere(backbone)
    said = cell.composition.row_notes(backbone)
    notes = [*notes_of(cell.episode_set), *_size_notes(record), elsewhere, *said]
    notes += weights_notes(cell)
    return sorted(filter(None, notes))


def notes_of(episode_set: EpisodeSet) -> list[str]:
    """What is odd about the files of all episodes, those of an earlier run included."""
    domain = episode_set.domain
    seen: dict[tuple[int, str], str] = {}
    for episode in episode_set.manifest.episodes:
        seen.setdefault((episode.class_id, episode.query), "query")
        for name in episode.supports:
            seen.setdefault((episode.support_class_id, name), "support")
        domain.note_copies(
            domain.item(episode.class_id, episode.query),
            [domain.item(episode.support_class_id, name) for name in episode.supports],
        )
    for (class_id, name), role in seen.items():
        domain.note_oddities(domain.item(class_id, name), role=role)
    return sorted([*domain.notes, *folder_notes(domain), *_large_classes(domain, seen)])


def _large_classes(domain: Domain, seen: Iterable[tuple[int, str]]) -> list[str]:
    """Classes of own data that cover most of their pictures: masks may be upside down."""
    if not isinstance(domain, OwnDomain):
        return []
    shares: dict[int, list[float]] = {}
    for class_id, name in seen:
        share = float(domain.truth(domain.item(class_id, name)).mean())
        shares.setdefault(class_id, []).append(share)
    return [
        f"class '{entry.name}' covers {fmean(shares[entry.id]):.0%} of its pictures: see that "
        "object and background are not exchanged"
        for entry in domain.classes
        if entry.id in shares and fmean(shares[entry.id]) > MOST
    ]


def _size_notes(record: RunRecord) -> list[str]:
    """That the backbone sees images at another size than the one that is decided and counted."""
    seen, counted = record.method.input_size, record.evaluator.image_size
    if seen in (0, counted):
        return []
    told = f"{record.method.backbone} sees images at {seen}x{seen} pixels"
    return [f"{told}; masks are decided and counted at {counted}x{counted}"]
