"""A group of commands: says what an option takes, and where a command that it lacks is found."""

import inspect
import sys
from functools import partial
from typing import Any

from typer.core import TyperGroup

from .console import screen_width
from .variables import split_at_blanks_and_commas

_WORDS = {"bool": "", "str": "TEXT", "Path": "PATH", "path": "PATH", "int": "N", "float": "X"}
"""What an option takes, by the type that typer prints; a flag takes nothing."""
_LISTED = ("METHOD", "DOMAIN", "N")
"""What options take of which one text names several: `ssp,loec`, `1,5`."""
_FRAMED = 76
"""Characters of a screen on which frames leave room for the names of all options."""
_INSTEAD = {
    "backbones": "weights list",
    "benchmark": "run",
    "eval": "run",
    "evaluate": "run",
    "help": "--help",
    "leaderboard": "report",
    "table": "report",
    "test": "run",
    "version": "--version",
}
"""The command that does what other programs call by these names."""


class CommandGroup(TyperGroup):
    """A group whose help says `TEXT` and `PATH` instead of Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options."""
        return _described(super().get_params(ctx), ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name.

        Raises:
            UserError: for a name that another command is known by.
        """
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            # The list is made anew, the options in it stay: they keep what is said here.
            _described(command.get_params(ctx), ctx)
            command.help = _unwrapped(command.help)
            _without_frames(command, ctx)
        elif not ctx.resilient_parsing and (found := self._elsewhere(ctx, cmd_name)):
            from cdfss_bench.errors import UserError

            hint = " or ".join(f"cdfss-bench {name}" for name in found)
            raise UserError(f"{ctx.command_path} has no command '{cmd_name}'", hint=hint)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, on a narrow screen without frames."""
        _without_frames(self, ctx)
        super().format_help(ctx, formatter)

    def _elsewhere(self, ctx: Any, name: str) -> list[str]:
        root: dict[str, Any] = getattr(ctx.find_root().command, "commands", {})
        found = [word for word, group in root.items() if name in getattr(group, "commands", {})]
        here = [f"{word} {name}" for word in found]
        if str(self.name) in getattr(root.get(name), "commands", {}):
            here.append(f"{name} {self.name}")
        if ctx.parent is not None and name in root and not here:
            here.append(name)
        return here or ([_INSTEAD[name]] if name in _INSTEAD else [])


def _described(options: list[Any], ctx: Any) -> list[Any]:
    for option in options:
        if getattr(option, "multiple", False) and option.metavar in _LISTED:
            split_at_blanks_and_commas(option)
        shown = getattr(option, "display_type_rich", None)  # older typer prints words already
        if shown is None:
            continue
        kind = shown(ctx).strip("<>").removeprefix("list[").removesuffix("]")
        word = _WORDS.get(kind.removesuffix(" range"))
        if option.param_type_name == "argument" and word is not None:
            option.display_type_rich = partial(_same, word)
        elif option.param_type_name == "option" and option.metavar is None:
            option.metavar = word
    return options


def _without_frames(command: Any, ctx: Any) -> None:
    """Have the help of a command cut no name of an option where the screen is narrow."""
    if screen_width(sys.stdout) < _FRAMED:
        command.rich_markup_mode = None
        for option in command.get_params(ctx):
            # Only where frames are drawn, brackets would be a style.
            option.help = (getattr(option, "help", None) or "").replace("\\[", "[")
        for inner in getattr(command, "commands", {}).values():
            inner.short_help = inner.short_help or (_unwrapped(inner.help) or "").split("\n")[0]


def _same(word: str, ctx: Any) -> str:
    del ctx
    return word


def _unwrapped(text: str | None) -> str | None:
    """Paragraphs on one line each: a docstring is wrapped for the width of source files."""
    if text is None:
        return None
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part.replace("\n", " ") for part in parts)
