"""Words of a plan file that say how cells are computed: they are options that were not typed."""

from pathlib import Path
from typing import Any

import typer


def plan_settings(context: typer.Context, plan: Path | None) -> Path | None:
    """Take `device: cuda`, `jobs: 2` and the like from a plan file as defaults of the options.

    Called before any other option is read; what is typed or set in the environment wins. Which
    cells are meant is read later, by `SelectionOptions.selection`.

    Raises:
        UserError: for a word that no option has.
    """
    if plan is None or context.resilient_parsing:
        return plan
    from cdfss_bench.errors import UserError, unknown

    from ..planning.plan_files import plan_values
    from ..planning.selection import Selection

    path, values = plan_values(plan)
    options = {
        flag.lstrip("-").replace("-", "_"): option
        for option in context.command.params
        for flag in (option.name or "", *option.opts)
    }
    words = [flag for option in context.command.params for flag in option.opts if flag[:2] == "--"]
    known = [word for flag in words if (word := flag.lstrip("-")) not in _TYPED_ONLY]
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in Selection.model_fields:
            continue
        option, word = options.get(name), name.replace("_", "-")
        if option is None or word in _TYPED_ONLY:
            error = unknown("word", word, known)
            raise UserError(f"{path}: {error.problem}", hint=error.hint)
        is_one = option.name == "plugins" and not isinstance(value, list)
        found[str(option.name)] = [value] if is_one else value
    context.default_map = {**(context.default_map or {}), **found}
    return plan


_TYPED_ONLY = ("plan", "dry-run", "json", "wide", "help")
"""Options that belong to a call, not to a plan."""
