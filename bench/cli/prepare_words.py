"""What is typed behind `data prepare`: a domain, and options of its recipe, as its card says."""

from collections.abc import Mapping, Sequence

from cdfss_bench.errors import UserError
from cdfss_bench.options import Option, Value


def domain_and_options(words: Sequence[str]) -> tuple[str, dict[str, Value]]:
    """The domain's name and the options of its recipe.

    Args:
        words: one name, brackets included, and `--option value`, `--option=value`, or `--choice`
            for a choice that only one option has.

    Raises:
        UserError: if there is not exactly one domain, a word decides nothing of it, a value is
            missing, or an option is set twice.
    """
    from cdfss_bench.datasets import DOMAINS
    from cdfss_bench.datasets.core.registry import split_name

    typed, flags = _domain_among(words)
    name, options = split_name(typed)
    recipe = DOMAINS.card(name).prepare
    declared = recipe.options if recipe is not None else {}
    waiting = list(flags)
    while waiting:
        flag, _, value = waiting.pop(0).partition("=")
        key = flag.removeprefix("--")
        by_choice = [option for option, it in declared.items() if key in it.choices]
        if key not in declared and len(by_choice) == 1 and not value:
            key, value = by_choice[0], key
        if key not in declared or not flag.startswith("--"):
            raise UserError(f"{flag} decides nothing of {name}", hint=_hint(name, declared))
        if not value:
            if not waiting or waiting[0].startswith("-"):
                raise UserError(f"{flag} needs a value", hint=declared[key].help)
            value = waiting.pop(0)
        if key in options:
            raise UserError(f"option '{key}' of {name} is set twice", hint="leave one of them out")
        options[key] = value
    return name, options


def _domain_among(words: Sequence[str]) -> tuple[str, list[str]]:
    """The domain, and all other words in their order.

    It is the first word that is no flag and no flag's value; where a flag stands first, the first
    word that names a domain.
    """
    from cdfss_bench.datasets import DOMAINS

    places = [
        index
        for index, word in enumerate(words)
        if (index == 0 and not word.startswith("-")) or word.partition("[")[0] in DOMAINS
    ]
    if not places:
        raise UserError("no domain is named", hint="cdfss-bench list domains shows them")
    rest = [word for index, word in enumerate(words) if index != places[0]]
    return words[places[0]], rest


def _hint(name: str, declared: Mapping[str, Option]) -> str:
    if not declared:
        return f"leave it out: {name} has no options"
    return f"leave it out; {name} takes {', '.join(f'--{key}' for key in declared)}"
