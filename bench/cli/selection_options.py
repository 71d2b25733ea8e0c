"""The options that select methods, domains, episodes, data and weights, as one group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_methods, complete_weights, words_of
from .options import Backbone, DataRoot, Domains, Lists, Plugins, WeightsDirs, add_plugins

if TYPE_CHECKING:
    from ..planning.selection import Selection

_select = partial(typer.Option, rich_help_panel="Selection")


def parsed_seeds(typed: Sequence[str] | None) -> tuple[int, ...]:
    """`0..4`, `1,3` and single numbers as seeds; 0 where nothing was typed.

    Raises:
        UserError: for anything else.
    """
    from ..planning.plan_words import numbers

    return numbers(typed or ("0",), "--seed")


def parsed_shots(typed: Sequence[str] | None, word: str = "--shots") -> tuple[int, ...]:
    """`1,5` and single numbers as shots; none where nothing was typed.

    Raises:
        UserError: for anything else.
    """
    from cdfss_bench.errors import UserError

    from ..planning.plan_words import numbers

    found = numbers(typed or (), word)
    if 0 in found:
        raise UserError(f"{word} 0: shots begin at 1")
    return found


def split_names(options: object) -> None:
    """Splits methods and domains of a new group of options that were typed as `A,B`."""
    from ..planning.plan_words import names

    for name in ("methods", "domains"):
        if (typed := getattr(options, name)) is not None:
            object.__setattr__(options, name, list(names(typed)))


@dataclasses.dataclass(frozen=True)
class SelectionOptions:
    """What was typed to select methods, domains, episodes, data and weights."""

    methods: Annotated[
        list[str] | None,
        _select(
            "--method",
            "-m",
            metavar="METHOD",
            help="Method, composed as HOST+PLUGIN\\[key=value]; several as A,B. Repeatable.",
            envvar="CDFSS_METHOD",
            autocompletion=complete_methods,
        ),
    ] = None
    domains: Domains = None
    shots: Annotated[
        list[str] | None,
        _select(
            "--shots",
            "-k",
            metavar="N",
            help="Support images per episode (shots), such as 1 or 1,5. Repeatable; 1 by default.",
            envvar="CDFSS_SHOTS",
        ),
    ] = None
    seeds: Annotated[
        list[str] | None,
        _select(
            "--seed",
            metavar="N",
            help="Seed of the episodes, several as 0,2 or a range as 0..4. Repeatable; 0 by "
            "default, with diagnose 0..2.",
            envvar="CDFSS_SEED",
        ),
    ] = None
    protocol: Annotated[
        str | None,
        _select(
            help="Episode protocol: patnet (as published, with its known errors) or strict "
            "(without them). patnet by default.",
            envvar="CDFSS_PROTOCOL",
            autocompletion=words_of("patnet", "strict"),
        ),
    ] = None
    suite: Annotated[
        str | None,
        _select(
            help="Suite: mini (generated, needs no data), cdfss (the four real targets) or "
            "extended (further targets of 2025-26). By default cdfss where a data root is set, "
            "else mini.",
            envvar="CDFSS_SUITE",
            autocompletion=words_of("mini", "cdfss", "extended"),
        ),
    ] = None
    data_root: DataRoot = None
    lists: Lists = None
    backbone: Backbone = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="Trained weights: FILE, or METHOD=FILE for one of several methods. Repeatable.",
            autocompletion=complete_weights,
            rich_help_panel="Data and weights",
        ),
    ] = None
    weights_dirs: WeightsDirs = None
    plugins: Plugins = None

    def __post_init__(self) -> None:
        """Split what was typed as `A,B`."""
        split_names(self)

    def selection(
        self,
        plan: Path | None = None,
        stored: Mapping[str, Any] | None = None,
        *,
        strict: bool = True,
        **more: Any,
    ) -> Selection:
        """The selection of a plan file, of options, or of both; an option that was typed wins.

        Args:
            plan: plan file.
            stored: values instead of a plan file's.
            strict: whether words of a plan file that say how it is computed are refused.
            **more: further values of `Selection`; None for what was not typed.

        Raises:
            UserError: if no method was selected, or a value is not legal.
        """
        from cdfss_bench.errors import UserError

        from ..planning.plan_files import read_plan
        from ..planning.selection import Selection, of_methods, parse_weights
        from ..planning.typed import validated_typed

        add_plugins(self.plugins)
        typed = {key: value for key, value in vars(self).items() if key != "plugins"} | more
        given = {key: value for key, value in typed.items() if value not in (None, [], ())}
        if "seeds" in given:
            given["seeds"] = parsed_seeds(given["seeds"])
        if "shots" in given:
            given["shots"] = parsed_shots(given["shots"])
        base = dict(stored or {})
        if plan is not None:
            base = read_plan(plan, strict=strict).model_dump(exclude_unset=True)
        groups = base.get("groups", ())
        rows = [*base.get("methods", ()), *(name for group in groups for name in group["methods"])]
        methods = list(dict.fromkeys(given.get("methods") or rows))
        if not methods:
            raise UserError("no method is selected", hint="name one with -m, such as -m loec")
        if "weights" in base:
            base["weights"] = of_methods(base["weights"], methods)
        if groups:
            base |= _narrowed(base, methods, given)
            given.pop("methods", None)
        if "weights" in given:
            given["weights"] = parse_weights(given["weights"], methods)
        return validated_typed(Selection, {**base, **given}, plan, given)


def _narrowed(
    plan: Mapping[str, Any], methods: Sequence[str], typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Those rows of a plan with groups that are named, typed values in place of a group's own.

    Raises:
        UserError: if a method is named that the plan does not hold.
    """
    from cdfss_bench.errors import unknown

    kept = [
        {key: value for key, value in group.items() if key == "methods" or key not in typed}
        for group in ({"methods": plan.get("methods", ())}, *plan["groups"])
    ]
    known = list(dict.fromkeys(name for group in kept for name in group["methods"]))
    for name in methods:
        if name not in known:
            raise unknown("method of the plan", name, known)
    for group in kept:
        group["methods"] = tuple(name for name in group["methods"] if name in methods)
    own, *groups = kept
    return {"methods": own["methods"], "groups": tuple(g for g in groups if g["methods"])}
