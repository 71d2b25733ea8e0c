"""How the masks of own data are to be read, as it is typed: `labels=`, `colors=`, `ignore=`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cdfss_bench.errors import DataError, unknown
from cdfss_bench.options import Value

from .facts import COLOUR, seen

Span = tuple[int, int]
"""Lowest and highest value of an object."""

VOID = 255
"""Undecided in label maps by VOC's convention; what becomes of it must be said with `ignore=`."""

VOID_COLOUR = COLOUR + 0xE0E0C0
"""How VOC paints undecided pixels."""

_ANY = ((-COLOUR, -1), (1, COLOUR - 1))
_SPAN = re.compile(r"(?P<low>-?\d+)(?:\.\.(?P<high>-?\d+))?")
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class MaskOptions:
    """What was said of the masks.

    Attributes:
        by: `stored` values (grey, or indices of a palette), what is `shown` (colours), `alpha`;
            empty where nothing was said.
        spans: of the object, for classes that are not named.
        of_class: of the object, by class name.
        ignore: undecided values; None where nothing was said.
        typed: the value of `labels=` or `colors=` as it was typed.
        each: whether every value is a class, whose names `of_class` gets from the masks.
    """

    by: Literal["", "stored", "shown", "alpha"] = ""
    spans: tuple[Span, ...] = ()
    of_class: Mapping[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    ignore: tuple[int, ...] | None = None
    typed: str = ""
    each: bool = False

    def of(self, name: str) -> tuple[Span, ...]:
        """Values of the object of class `name`; none where nothing was said of it."""
        return self.of_class.get(name, self.spans)

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Refuses options of classes that are not there.

        Raises:
            DataError: with the nearest class.
        """
        known = list(names)
        for name in self.of_class:
            if name not in known:
                raise unknown("class", name, known, error=DataError)


def parse(options: Mapping[str, Value]) -> MaskOptions:
    """The options `labels`, `colors` and `ignore` of a card, understood.

    Raises:
        DataError: if one is not spelled as it must be.
    """
    labels, colours = str(options.get("labels", "")), str(options.get("colors", ""))
    if labels and colours:
        raise DataError("labels= and colors= both say what the object is", hint="leave one out")
    ignored = str(options.get("ignore", ""))
    ignore: tuple[int, ...] | None = None
    if ignored:
        ignore = () if ignored == "none" else tuple(map(_ignored, ignored.split("+")))
    if labels == "alpha":
        return MaskOptions("alpha", ((255, 255),), ignore=ignore, typed=labels)
    if (labels or colours) == "each":
        by = "stored" if labels else "shown"
        return MaskOptions(by, ignore=ignore, typed="each", each=True)
    spans: dict[str, tuple[Span, ...]] = {}
    for entry in filter(None, (labels or colours).split("+")):
        name, _, value = entry.rpartition(":")
        found = _spans(value, entry) if labels else (_colour(value, entry),)
        spans[name] = (*spans.get(name, ()), *found)
    general = spans.pop("", ())
    by = "stored" if labels else "shown" if colours else ""
    return MaskOptions(by, general, spans, ignore, labels or colours)


def _spans(text: str, entry: str) -> tuple[Span, ...]:
    if text == "nonzero":
        return _ANY
    match = _SPAN.fullmatch(text)
    if match is None or int(match["high"] or match["low"]) < int(match["low"]):
        raise DataError(
            f"labels={entry} names no value",
            hint="labels=1, several as labels=1+3, a range as labels=128..255, by class as "
            "labels=cup:1+pot:2, all as labels=each, labels=nonzero, or labels=alpha for the alpha "
            "channel",
        )
    return ((int(match["low"]), int(match["high"] or match["low"])),)


def _colour(text: str, entry: str) -> Span:
    match = _COLOUR.fullmatch(text)
    if match is None:
        raise DataError(
            f"colors={entry} names no colour",
            hint="colors=#ff0000, several as colors=#ff0000+#00ff00, by class as "
            "colors=cup:#ff0000+pot:#00ff00",
        )
    value = seen(int(match[1], 16))
    return value, value


def _ignored(text: str) -> int:
    if text.startswith("#"):
        return _colour(text, text)[0]
    if not re.fullmatch(r"-?\d+", text):
        raise DataError(
            f"ignore={text} names no value",
            hint="ignore=255, a colour as ignore=#e0e0c0, or ignore=none if nothing is undecided",
        )
    return int(text)
