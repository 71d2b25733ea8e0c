"""Options that say which records a verb is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import complete_known_backbones, complete_known_domains, complete_runs, words_of
from .option_groups import Only
from .options import Plugins
from .selection_options import parsed_shots, split_names

if TYPE_CHECKING:
    from ..records.results import RunResult
    from ..records.schema import RunRecord

_select = partial(typer.Option, rich_help_panel="Which records")


@dataclass(frozen=True)
class RecordOptions:
    """Limits records."""

    methods: Annotated[
        list[str] | None,
        _select(
            "--method",
            "-m",
            metavar="METHOD",
            help="Method, NAME:HASH or a pattern such as 'ssp*', with the shuffled-support "
            "control of each; several as A,B. Repeatable; all by default.",
            autocompletion=complete_runs,
        ),
    ] = None
    domains: Annotated[
        list[str] | None,
        _select(
            "--domain",
            "-d",
            metavar="DOMAIN",
            help="Domain, several as A,B. Repeatable; all by default.",
            envvar="CDFSS_DOMAIN",
            autocompletion=complete_known_domains,
        ),
    ] = None
    shots: Annotated[
        list[str] | None,
        _select(
            "--shots",
            "-k",
            metavar="N",
            help="Support images per episode (shots), such as 1 or 1,5. Repeatable; all by "
            "default.",
            envvar="CDFSS_SHOTS",
        ),
    ] = None
    seeds: Annotated[
        list[str] | None,
        _select(
            "--seed",
            metavar="N",
            help="Seed of the episodes, several as 0,2 or a range as 0..4. Repeatable; all by "
            "default.",
            envvar="CDFSS_SEED",
        ),
    ] = None
    protocol: Annotated[
        str | None,
        _select(
            help="Episode protocol: patnet or strict; both by default.",
            envvar="CDFSS_PROTOCOL",
            autocompletion=words_of("patnet", "strict"),
        ),
    ] = None
    backbone: Annotated[
        str | None,
        _select(
            help="Backbone; all by default.",
            envvar="CDFSS_BACKBONE",
            autocompletion=complete_known_backbones,
        ),
    ] = None
    plugins: Plugins = None

    def __post_init__(self) -> None:
        """Split what was typed as `A,B`."""
        split_names(self)

    @property
    def is_limit(self) -> bool:
        """Whether any record may be left out."""
        return any(value for name, value in vars(self).items() if name != "plugins")


LIMITS = Only("domains", "shots", "seeds", "protocol", "backbone", "plugins")
"""What limits records where a verb names their methods by arguments."""
ALL_UNLESS_TYPED = Only(
    "methods", "domains", "shots", "seeds", "protocol", "backbone", environment=False
)
"""For `report`: a variable that was set for `run` must not hide rows of a leaderboard unseen."""


def record_filter(
    options: RecordOptions, found: Sequence[RunResult]
) -> Callable[[RunResult], bool]:
    """Tells whether a result is one that the options select; without options every one is.

    Args:
        options: as typed.
        found: all results.

    Raises:
        UserError: if an option names what no result has.
    """
    from ..comparison.rows import CONTROL
    from ..planning.plan_words import numbers

    methods: set[str] | None = None
    if options.methods is not None:
        hits = [result for name in options.methods for result in _of_method(found, name)]
        plain = {result.record.method.composition for result in hits}
        methods = {result.record.cell for result in hits} | {
            result.record.cell
            for result in found
            if result.record.method.composition in {f"{name}{CONTROL}" for name in plain}
        }
    seeds = numbers(options.seeds or (), "--seed")
    limits = [
        _Limit("domain", options.domains or (), lambda r: (r.domain.title, r.domain.name)),
        _Limit("shots", parsed_shots(options.shots), lambda r: (r.episodes.shots,)),
        _Limit("seed", seeds, lambda r: (r.episodes.seed,)),
        _Limit("protocol", _one(options.protocol), lambda r: (r.episodes.protocol,)),
        _Limit("backbone", _one(options.backbone), lambda r: (r.method.backbone,)),
    ]
    for limit in limits:
        limit.check(found)

    def selected(result: RunResult) -> bool:
        is_named = methods is None or result.record.cell in methods
        return is_named and all(limit.admits(result) for limit in limits)

    return selected


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _of_method(found: Sequence[RunResult], name: str) -> list[RunResult]:
    from ..comparison.removable import meant

    return meant(found, name, "recorded method") if found else []


class _Limit:
    """Values of one property of a record, whatever their case; none typed admit every record."""

    def __init__(
        self,
        word: str,
        typed: Sequence[object],
        of: Callable[[RunRecord], Sequence[object]],
    ) -> None:
        self._word = word
        self._typed = [str(value).lower() for value in typed]
        self._of = of

    def admits(self, result: RunResult) -> bool:
        own = {str(value).lower() for value in self._of(result.record)}
        return not self._typed or not own.isdisjoint(self._typed)

    def check(self, found: Sequence[RunResult]) -> None:
        """Refuses a name that no record has, and numbers of which no record has any.

        Raises:
            UserError: as said.
        """
        from cdfss_bench.errors import UserError, unknown

        known = {str(value) for result in found for value in self._of(result.record)} - {""}
        lacking = [value for value in self._typed if value not in {n.lower() for n in known}]
        if not known or (self._word in ("shots", "seed") and len(lacking) < len(self._typed)):
            return
        for value in lacking:
            hint = unknown(self._word, value, known).hint
            raise UserError(f"no record is of {self._word} {value}", hint=hint)
