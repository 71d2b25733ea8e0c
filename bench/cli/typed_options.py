"""Which options stand on the command line: what a variable or a default says does not count."""

from collections.abc import Collection, Iterator

import typer


def typed_options(context: typer.Context) -> Iterator[str]:
    """Names of the parameters that were typed, in the order of the command's help."""
    for parameter in context.command.params:
        if is_typed(context, parameter.name or ""):
            yield parameter.name or ""


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether the parameter `name` was typed."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def first_typed(context: typer.Context, names: Collection[str]) -> str | None:
    """The first option of `names` that was typed, as it is written: `--seed` for `seeds`."""
    from ..planning.plan_words import flag_of

    return next((flag_of(name) for name in names if is_typed(context, name)), None)
