"""Options in brackets, `lcm[k=5,beta=mean]`: declared in a card, checked when typed."""

import re
from collections.abc import Collection, Mapping
from typing import Literal, cast

from pydantic import Field

from cdfss_bench.cards import Card
from cdfss_bench.errors import CompositionError, unknown

Value = bool | int | float | str


class Option(Card):
    """One declared option; its type is the type of its default.

    Attributes:
        default: the published (or, where the paper is silent, our) value.
        help: what it does, with the source of the default.
        choices: for text, the only legal values.
        also: words that are legal beside numbers, such as `mean` for LCM's beta.
        minimum: smallest legal number.
        maximum: largest legal number.
        trains: whether source training depends on it; one that acts at test only needs no weights
            of its own.
        adaptation: for a boolean, what a part learns from at test where it is set.
    """

    default: Value
    help: str
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    minimum: float | None = Field(default=None, alias="min")
    maximum: float | None = Field(default=None, alias="max")
    trains: bool = True
    adaptation: Literal["none", "episode", "transductive"] = "none"

    def parse(self, value: Value, where: str) -> Value:
        """`value`, typed text included, as a legal value of this option.

        Raises:
            CompositionError: saying what `where` accepts.
        """
        if isinstance(value, str) and value in self.also:
            return value
        try:
            result = _as_type_of(self.default, _one(value))
        except (ValueError, TypeError):
            wanted = _TYPE_NAMES[type(self.default)]
            words = "".join(f" or '{word}'" for word in self.also)
            raise CompositionError(f"{where} takes {wanted}{words}, not '{value}'") from None
        if self.choices and result not in self.choices:
            raise unknown(f"value of {where}", str(result), self.choices, error=CompositionError)
        if isinstance(result, int | float) and not isinstance(result, bool):
            if self.minimum is not None and result < self.minimum:
                least = spelled(self.minimum)
                raise CompositionError(f"{where} must be at least {least}, not {spelled(result)}")
            if self.maximum is not None and result > self.maximum:
                most = spelled(self.maximum)
                raise CompositionError(f"{where} must be at most {most}, not {spelled(result)}")
        return result


_TYPE_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def resolve(
    declared: Mapping[str, Option], given: Mapping[str, Value], owner: str
) -> dict[str, Value]:
    """Every declared option with its given or default value, in the declared order.

    Raises:
        CompositionError: for an option nobody declared or a value that is not legal.
    """
    for name in given:
        if name not in declared:
            if not declared:
                raise CompositionError(f"{owner} has no options, so '{name}' cannot be set")
            raise unknown(f"option of {owner}:", name, declared, error=CompositionError)
    return {
        name: option.parse(given[name], f"option '{name}' of {owner}")
        if name in given
        else option.default
        for name, option in declared.items()
    }


def spelled(value: Value) -> str:
    """`value` as it is typed inside brackets; different values are spelled differently."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    short = format(value, "g")
    return short if float(short) == value else repr(value)


def split_options(
    typed: str, whole: str, *, switches: bool = False
) -> tuple[str, dict[str, Value]]:
    """Split `NAME[key=value,...]` into the name and its options, as text.

    Args:
        typed: one name with or without brackets.
        whole: what was typed in all, for messages.
        switches: whether a word alone stands for a boolean option that is set.

    Raises:
        CompositionError: if the brackets are not closed, an option is not `key=value`, or one is
            set twice.
    """
    match = _BRACKETS.fullmatch(typed)
    if match is None:
        raise CompositionError(f"'{whole}' is not NAME[key=value,...]")
    options: dict[str, Value] = {}
    for assignment in filter(None, (match["options"] or "").split(",")):
        key, equals, value = (word.strip() for word in assignment.partition("="))
        if not key or not (value if equals else switches):
            raise CompositionError(f"'{whole}': '{assignment}' is not key=value")
        if key in options:
            raise CompositionError(f"'{whole}' sets '{key}' twice")
        options[key] = value if equals else True
    return match["name"], options


_BRACKETS = re.compile(r"(?P<name>[^\[\]]*)(?:\[(?P<options>[^\[\]]*)\])?")


def _one(value: object) -> Value:
    """`value`, which is None or several only where it comes from Python."""
    if value is None or (isinstance(value, Collection) and not isinstance(value, str)):
        raise ValueError(value)
    return cast("Value", value)


def _as_type_of(default: Value, value: Value) -> Value:
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
        raise ValueError(value)
    if isinstance(default, str):
        if isinstance(value, bool):
            return spelled(value)
        return str(value)
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(default, int):
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(value)
    return number
