"""Which records the options of a selection mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .option_groups import Only
from .selection_options import SelectionOptions, parsed_seeds, parsed_shots

if TYPE_CHECKING:
    from ..records.results import RunResult

FILTERS = Only("domains", "shots", "seeds", "protocol", "backbone", "plugins")
"""The options that limit records."""


def record_filter(options: SelectionOptions) -> Callable[[RunResult], bool]:
    """Tells whether a result is one that the options select; without options every one is."""
    domains = set(options.domains or ())
    shots = parsed_shots(options.shots)
    seeds = set(parsed_seeds(options.seeds)) if options.seeds else None

    def selected(result: RunResult) -> bool:
        record = result.record
        return (
            (not domains or bool({record.domain.title, record.domain.name} & domains))
            and (not shots or record.episodes.shots in shots)
            and (seeds is None or record.episodes.seed in seeds)
            and (options.protocol is None or record.episodes.protocol == options.protocol)
            and (options.backbone is None or record.method.backbone == options.backbone)
        )

    return selected
