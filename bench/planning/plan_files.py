"""Plan files: selections that are kept, the user's own and those that come with the package."""

from pathlib import Path
from typing import Any, cast

from cdfss_bench.cards import validated
from cdfss_bench.errors import UserError, unknown
from cdfss_bench.methods.registry.name_grammar import parse
from cdfss_bench.plain_yaml import read_yaml

from .plan_words import as_fields
from .selection import Selection, parse_weights

PLANS = Path(__file__).parent / "plans"
"""Selections that come with the package, named without a path."""


def read_plan(plan: Path, *, strict: bool = True) -> Selection:
    """A plan file: the words of the flags as YAML keys.

    Args:
        plan: a file, or the name of a plan that comes with the package.
        strict: whether words that say how cells are computed, not which, are refused; the
            command line reads them as its own options.

    Raises:
        UserError: naming the key that is wrong, or the plans that there are.
    """
    path, values = plan_values(plan)
    fields = Selection.model_fields
    kept = {name: value for name, value in values.items() if strict or name in fields}
    typed = kept.get("weights", {})
    if not isinstance(typed, dict):
        many = cast("list[Any]", typed) if isinstance(typed, list) else [typed]
        kept["weights"] = parse_weights([str(one) for one in many], kept.get("methods", ()))
    return validated(Selection, kept, path)


def plan_values(plan: Path) -> tuple[Path, dict[str, Any]]:
    """The file of a plan, and what it says by the names of fields.

    Raises:
        UserError: if it cannot be read.
    """
    path = plan_file(plan, PLANS)
    return path, as_fields(read_yaml(path), path)


def plan_file(plan: Path, packaged: Path) -> Path:
    """The file of a plan that is named by its path or, where it is among `packaged`, by its name.

    Raises:
        UserError: if it can only be a name, and there is none like it.
    """
    if plan.suffix in (".yaml", ".yml") or plan.exists():
        return plan
    known = sorted(path.stem for path in packaged.glob("*.yaml"))
    if str(plan) not in known:
        if is_method(str(plan)):
            raise UserError(
                f"'{plan}' is a method, no plan", hint=f"name methods with -m: -m {plan}"
            )
        raise unknown("plan", str(plan), known)
    return packaged / f"{plan}.yaml"


def is_method(name: str) -> bool:
    """Whether it can be parsed as the name of a method."""
    try:
        parse(name)
    except UserError:
        return False
    return True
