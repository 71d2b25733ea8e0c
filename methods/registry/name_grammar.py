"""Method names compose: `HOST[options]+PLUGIN[options]...@control`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdfss_bench.cards import Catalog
from cdfss_bench.errors import CompositionError, unknown
from cdfss_bench.options import Value, resolve, spelled, split_options

from .card import MethodCard

if TYPE_CHECKING:
    from ..core.contract import Adaptation

METHODS: Catalog[MethodCard] = Catalog(
    kind="method",
    schema=MethodCard,
    folder=Path(__file__).parents[1],
    package="cdfss_bench.methods",
    parts=("hosts", "plugins", "controls", "aliases"),
    group="cdfss_bench.methods",
)
"""All method cards; `--plugin FOLDER` adds to it."""

CONTROLS = ("shuffled-support",)

PLACES = ("stage", "feature", "maps", "head", "anchors", "score")
"""Where plug-ins act, in the order in which an episode meets them: the order of a composition."""

MADE_FOR = "made for "
"""Begins what is said of a method on a backbone that it was not made for."""

THIS_ROW = "this row "
"""Begins what a card says of every row of its method."""

_PART = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[^\[\]]*\])?")


@dataclass(frozen=True, slots=True)
class Part:
    """A host or a plug-in with its options.

    Attributes:
        card: what it is.
        given: the options as typed.
        options: every option, given or default.
    """

    card: MethodCard
    given: Mapping[str, Value]
    options: Mapping[str, Value]

    @property
    def adaptation(self) -> Adaptation:
        """The most that its card (unless it takes no step) or an option that is set says."""
        own: Adaptation = "none" if self.options.get("steps") == 0 else self.card.adaptation
        options = self.card.options.items()
        switched: set[Adaptation] = {o.adaptation for name, o in options if self.options[name]}
        return _most({own, *switched})

    def __str__(self) -> str:
        """As one would type it, with the options that differ from their defaults."""
        changed = [
            f"{name}={spelled(value)}"
            for name, value in self.options.items()
            if value != self.card.options[name].default
        ]
        return self.card.name + (f"[{','.join(changed)}]" if changed else "")

    @property
    def trained(self) -> Part:
        """As source training sees it: options that act at test only have their defaults."""
        declared = self.card.options
        options = {
            name: value if declared[name].trains else declared[name].default
            for name, value in self.options.items()
        }
        return replace(self, options=options)


@dataclass(frozen=True, slots=True)
class Composition:
    """A method as it will be built.

    Attributes:
        host: the host or control.
        plugins: in the order in which they act; those of one place as they were typed.
        label: the name to show: an alias where one was typed.
        control: `shuffled-support` or empty.
    """

    host: Part
    plugins: tuple[Part, ...]
    label: str
    control: str = ""

    def __str__(self) -> str:
        """The canonical name, aliases resolved: equal networks have equal names."""
        parts = "+".join(str(part) for part in (self.host, *self.plugins))
        return parts + (f"@{self.control}" if self.control else "")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The host and its plug-ins."""
        return (self.host, *self.plugins)

    @property
    def adaptation(self) -> Adaptation:
        """The most that any part learns from: `transductive`, `episode` or `none`."""
        return _most({part.adaptation for part in self.parts})

    @property
    def has_head(self) -> bool:
        """Whether any part has parameters beside the backbone's that must have been trained."""
        return any(part.card.has_head for part in self.parts)

    @property
    def is_trained(self) -> bool:
        """Whether its published form is trained on source data: a recipe, or a part that trains."""
        return any(part.card.recipe is not None or part.card.trains for part in self.parts)

    def made_elsewhere(self, backbone: str) -> str:
        """For which backbones it was made, where `backbone` is none of them; empty otherwise."""
        for part in self.parts:
            if part.card.made_for and backbone not in part.card.made_for:
                return f"{MADE_FOR}{', '.join(part.card.made_for)}, here {backbone}"
        return ""

    def row_notes(self, backbone: str) -> list[str]:
        """What the cards of its parts say of a row on `backbone`."""
        found = [part.card.row_notes.get(key) for part in self.parts for key in ("any", backbone)]
        return [f"{THIS_ROW}{told}" for told in found if told]

    def with_host_options(self, options: Mapping[str, Value]) -> Composition:
        """With further options of the host, as if typed in its brackets.

        Raises:
            CompositionError: for an unknown option or a bad value.
        """
        card, given = self.host.card, {**self.host.given, **options}
        return replace(self, host=Part(card, given, resolve(card.options, given, card.name)))

    def in_miniature(self) -> Composition:
        """With the mini suite's sizes for what was not typed, as the parts' cards give them."""
        return self.with_defaults({part.card.name: part.card.mini.options for part in self.parts})

    def with_defaults(self, overrides: Mapping[str, Mapping[str, Value]]) -> Composition:
        """With other defaults per part name, for what was not typed."""

        def changed(part: Part) -> Part:
            values = {**overrides.get(part.card.name, {}), **part.given}
            return replace(part, options=resolve(part.card.options, values, part.card.name))

        return replace(
            self, host=changed(self.host), plugins=tuple(changed(part) for part in self.plugins)
        )


def _most(found: Set[Adaptation]) -> Adaptation:
    most_first: tuple[Adaptation, ...] = ("transductive", "episode", "none")
    return next(kind for kind in most_first if kind in {*found, "none"})


def parse(text: str) -> Composition:
    """The composition that `text` names.

    Raises:
        CompositionError: for bad syntax, an unknown option, or an impossible combination.
        UserError: for an unknown name, or if a card is wrong.
    """
    body, at, control = text.strip().partition("@")
    if at and control not in CONTROLS:
        raise unknown("control", control, CONTROLS, error=CompositionError)
    parts: list[Part] = []
    for name, given in _split(body, text):
        parts += _resolved(name, given, text, leads=not parts)
    host, *plugins = parts
    if host.card.kind == "plugin":
        raise CompositionError(
            f"'{text}': {host.card.name} is a plug-in and needs a host before it",
            hint=f"for example: ssp+{host.card.name}",
        )
    _check_places(host, plugins, text)
    plugins.sort(key=lambda part: PLACES.index(part.card.place))
    return Composition(host, tuple(plugins), text.strip(), control)


def _split(body: str, text: str) -> list[tuple[str, dict[str, Value]]]:
    """Names with what was typed in their brackets; a word alone sets a boolean option."""
    result: list[tuple[str, dict[str, Value]]] = []
    # A plus inside brackets belongs to a value (1e+3).
    for piece in re.split(r"\+(?![^\[]*\])", body):
        if _PART.fullmatch(piece.strip()) is None:
            raise CompositionError(
                f"'{text}' is not a method name: '{piece}' is not NAME or NAME[key=value,...]",
                hint="compose as HOST+PLUGIN[key=value]+PLUGIN; quote it for the shell",
            )
        result.append(split_options(piece.strip(), text, switches=True))
    return result


def _resolved(name: str, given: Mapping[str, Value], text: str, *, leads: bool) -> list[Part]:
    card = METHODS.card(METHODS.canonical(name))
    if card.kind == "published":
        raise CompositionError(
            f"'{card.name}' stands in the tables as published only: {card.reason}"
        )
    if card.kind == "alias":
        return _expanded(card, card.composition, given, text)
    if leads and card.alone:
        return _expanded(card, card.alone, given, text)
    _refuse_bare_words(card, given, text)
    return [Part(card, given, resolve(card.options, given, card.name))]


def _refuse_bare_words(card: MethodCard, given: Mapping[str, Value], text: str) -> None:
    for key, value in given.items():
        option = card.options.get(key)
        if value is True and option is not None and not isinstance(option.default, bool):
            raise CompositionError(
                f"'{text}': '{key}' is not key=value",
                hint=f"only a switch stands alone; for example: "
                f"{card.name}[{key}={spelled(option.default)}]",
            )


def _expanded(
    card: MethodCard, composition: str, given: Mapping[str, Value], text: str
) -> list[Part]:
    """What a name stands for, with `PART.OPTION`s given; a plug-in's own options need no dot."""
    parts = list(parse(composition).parts)
    names = [part.card.name for part in parts]
    for key, value in given.items():
        owner, dot, option = key.rpartition(".")
        if not dot and card.name in names:
            owner = card.name
        if owner not in names:
            raise CompositionError(
                f"'{text}': {card.name} is {composition}; say whose option '{key}' is",
                hint=f"for example: {card.name}[{names[-1]}.{option}={spelled(value)}]",
            )
        part = parts[names.index(owner)]
        _refuse_bare_words(part.card, {option: value}, text)
        merged = {**part.given, option: value}
        options = resolve(part.card.options, merged, owner)
        parts[names.index(owner)] = replace(part, given=merged, options=options)
    return parts


def _check_places(host: Part, plugins: list[Part], text: str) -> None:
    seen: set[str] = set()
    for plugin in plugins:
        card = plugin.card
        if card.kind != "plugin":
            raise CompositionError(
                f"'{text}': {card.name} is a {card.kind}, only plug-ins follow a '+'"
            )
        if card.name in seen:
            raise CompositionError(f"'{text}' carries {card.name} twice")
        if rivals := seen & set(card.excludes):
            raise CompositionError(
                f"'{text}' is impossible: {card.name} takes the place of {min(rivals)}"
            )
        seen.add(card.name)
        if card.place == "stage" and host.card.recipe and host.card.recipe.freeze == "all":
            raise CompositionError(
                f"'{text}' is impossible: {card.name} changes what the backbone's later stages "
                f"learn from, and {host.card.name} is trained with a frozen backbone"
            )
        if card.place not in host.card.offers:
            offered = ", ".join(host.card.offers) or "no place"
            raise CompositionError(
                f"'{text}' is impossible: {card.name} acts on the {card.place}, "
                f"{host.card.name} offers {offered}"
            )
