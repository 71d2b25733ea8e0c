"""What the masks of a class mean: decided once for all of them, strictly, and then applied.

Nothing is guessed from one file: a reading must fit every mask of the class. What fits no reading,
or more than one, is refused with the option that says how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cdfss_bench.errors import DataError

from .facts import COLOUR, MOST_VALUES, WHITE, Facts, spelled
from .options import VOID, VOID_COLOUR, MaskOptions
from .reading import By, Reading, values_by

Say = Callable[[str], str]
"""`labels=1` as what to type: `-d 'folder[labels=1]'`, with the other options that are set."""

Masks = Mapping[Path, Facts]

_DEEP_WHITES = (1023, 4095, 16383, 65535)
_FEW = 16
"""Grey values up to which a mask is taken for a label map, beyond for a soft mask."""


def decide(
    masks: Masks, names: Sequence[str], options: MaskOptions, say: Say, *, classes: bool = False
) -> Reading:
    """The one reading of masks that belong together.

    Args:
        masks: what each file holds; at least one.
        names: of the classes in these masks; the first has the number 1.
        options: what the user said.
        say: spells an option in the domain's name, for hints.
        classes: whether several values may be as many classes, which a hint then says.

    Raises:
        DataError: if no reading, or more than one, fits; it names a file and an option.
    """
    by_number = {n: spans for n, name in enumerate(names, 1) if (spans := options.of(name))}
    whose = f"the masks of class '{names[0]}'" if len(names) == 1 else "the masks"
    if not by_number:
        _refuse_doubts(masks, say, lifted=False)
        return _Deciding(masks, whose, options, say, classes=classes).reading()
    assert options.by
    _refuse_doubts(masks, say, lifted=True, alpha=options.by == "alpha")
    if options.by == "stored":
        for path, facts in masks.items():
            if facts.kind == "colour":
                raise DataError(
                    f"{path} is in colours, of which labels= says nothing",
                    hint=f"name the colour of the object: {say('colors=#rrggbb')}",
                )
    objects = tuple((low, high, n) for n, spans in by_number.items() for low, high in spans)
    for low, high, n in objects:
        for other_low, other_high, other in objects:
            if n < other and max(low, other_low) <= min(high, other_high):
                raise DataError(
                    f"classes '{names[n - 1]}' and '{names[other - 1]}' would share a value",
                    hint="give each value to one class",
                )
    void = VOID if options.by == "stored" else VOID_COLOUR
    if options.ignore is None and not any(low <= void <= high for low, high, _ in objects):
        typed = f"{'labels' if options.by == 'stored' else 'colors'}={options.typed}"
        _refuse_void(masks, options.by, void, typed, say)
    return Reading(options.by, objects, options.ignore or (), strict=False)


def _refuse_void(masks: Masks, by: By, void: int, typed: str, say: Say) -> None:
    """Refuses the value of undecided pixels as long as nobody said what is to become of them."""
    for path, facts in masks.items():
        if void in values_by(facts, by):
            ignore = spelled(void)
            raise DataError(
                f"{path} holds {ignore} beside other labels, by which label maps mark undecided "
                "pixels",
                hint=f"leave them out of the count: {say(f'{typed},ignore={ignore}')}, or take "
                f"them for background: {say(f'{typed},ignore=none')}",
            )


def refuse_constant(masks: Masks, reading: Reading, number: int, name: str, say: Say) -> None:
    """Refuses a class whose truth is empty, or full, in every mask.

    Raises:
        DataError: saying what the masks hold.
    """
    held = [reading.numbers(facts) for facts in masks.values()]
    objects = sum(number in numbers for numbers in held)
    if any(number in numbers and numbers - {number, VOID} for numbers in held):
        return
    path = next(iter(masks))
    values = sorted({v for facts in masks.values() for v in values_by(facts, reading.by)})
    what = "are empty" if not objects else "are full" if objects == len(held) else "empty or full"
    raise DataError(
        f"all {len(held)} masks of class '{name}' {what}: "
        f"they hold {_listed(values)} (for example {path})",
        hint=_naming(values, say, alpha=any(facts.alpha for facts in masks.values()))
        + "draw the masks, or remove the class",
    )


def _naming(values: Sequence[int], say: Say, *, alpha: bool) -> str:
    """The option that names the object, for masks whose values are known."""
    other = next((value for value in reversed(values) if value), None)
    if alpha:
        return f"read the alpha channel: {say('labels=alpha')}, or "
    if other is None:
        return ""
    option = "colors" if other >= COLOUR else "labels"
    return f"name the value of the object: {say(f'{option}={spelled(other)}')}, or "


def _listed(values: Sequence[int], what: str = "", *, as_colours: bool = False) -> str:
    """`the values 1, 2 and 3`, or their number and ends where they are many."""
    words = [f"#{v * 0x010101:06x}" if as_colours and v < COLOUR else spelled(v) for v in values]
    if len(words) > 8:
        return f"{len(words)} values from {words[0]} to {words[-1]}"
    first, last = ", ".join(words[:-1]), words[-1] if words else "none"
    return f"{what} {first and f'{first} and '}{last}".strip()


def _refuse_doubts(masks: Masks, say: Say, *, lifted: bool, alpha: bool = False) -> None:
    """Refuses files that mean nothing certain; `lifted` where the user said how to read them."""
    for path, facts in masks.items():
        if facts.hides and not lifted:
            raise DataError(
                f"{path} has an alpha channel beside {_listed(facts.shown, 'the values')}",
                hint=f"read the alpha channel: {say('labels=alpha')}, or save the mask "
                "without transparency",
            )
        if lifted and not set(facts.alpha) <= {0, 255}:
            raise DataError(
                f"{path} has an alpha channel of {len(facts.alpha)} values, neither on nor off",
                hint="save the mask as black and white, without transparency",
            )
        if alpha:
            continue
        if facts.doubt == "many":
            raise DataError(
                f"{path} holds more than {MOST_VALUES:,} grey values or 256 colours: it is a "
                "photograph or a smoothed picture, no mask",
                hint="save the mask with one value per label, without smoothing, as PNG",
            )
        if facts.doubt == "fractions":
            raise DataError(
                f"{path} holds fractions (a score map?), which are no mask",
                hint="cut it at your threshold and save it as a PNG of 0 and 255",
            )
        if facts.doubt == "lossy colours":
            raise DataError(
                f"{path} is a JPEG in colours, which compression has changed",
                hint="save the mask as PNG from its source",
            )
        if facts.doubt == "lossy" and not lifted:
            raise DataError(
                f"{path} is a lossy file whose grey values ({_listed(facts.values)}) do not lie "
                "near black and white",
                hint="save the mask as PNG from its source, or say where it is cut: "
                f"{say('labels=128..255')}",
            )
        if facts.doubt == "palette" and not lifted:
            colours = _listed(facts.shown)
            raise DataError(
                f"{path} has a palette of {colours} in an order that is not that of labels",
                hint=f"name the colour of the object: {say('colors=#rrggbb')}, or its index: "
                f"{say('labels=1')}",
            )


class _Deciding:
    """The reading of masks of which the user said nothing (but perhaps what is undecided)."""

    def __init__(self, masks: Masks, whose: str, options: MaskOptions, say: Say, *, classes: bool):
        self._classes = classes
        self._masks, self._whose, self._say = masks, whose, say
        self._ignore = options.ignore or ()

    def reading(self) -> Reading:
        """Tries label maps with a palette, then colours, then grey values."""
        if any(facts.is_label_palette for facts in self._masks.values()):
            return self._label_palette()
        found = self._union("shown")
        if any(value >= COLOUR for value in found):
            if len(found) > 1:
                raise self._several(found, "colors")
            return Reading("shown", _objects(found), self._ignore)
        cut = sum(facts.cut for facts in self._masks.values())
        note = f"{cut} of {self._whose} are lossy files, cut at 128" if cut else ""
        return self._grey(found, note)

    def _union(self, by: By) -> set[int]:
        found = {v for facts in self._masks.values() for v in values_by(facts, by)}
        return found - {0} - set(self._ignore)

    def _label_palette(self) -> Reading:
        """Indices are labels; files of another kind must not be taken for the like."""
        found = self._union("stored")
        labels = found - {VOID}
        for path, facts in self._masks.items():
            white = facts.kind == "palette" and 0 in facts.values and facts.colours[0] == WHITE
            strange = facts.kind == "grey" and not {*facts.values} & labels and any(facts.values)
            if facts.kind == "colour" or strange or (white and not facts.is_label_palette):
                raise self._mixed("indices of a palette", f"something else ({path})", "labels=1")
        if len(labels) > 1:
            raise self._several(labels, "labels")
        if VOID in found and not labels:
            raise DataError(
                f"{self._whose} hold nothing but 0 and 255, which label maps keep for undecided "
                f"pixels (for example {next(iter(self._masks))})",
                hint=f"if 255 is the object: {self._say('labels=255')}",
            )
        if VOID in found:
            _refuse_void(self._masks, "stored", VOID, f"labels={min(labels)}", self._say)
        return Reading("stored", _objects(labels), self._ignore)

    def _grey(self, found: set[int], note: str) -> Reading:
        per_file = [{*facts.shown} - {0} for facts in self._masks.values()]
        if {1, VOID} <= found | {*self._ignore} and not any(v >= {1, VOID} for v in per_file):
            path = next((p for p, f in self._masks.items() if VOID in f.shown), None)
            if path is not None:
                raise self._mixed("0 and 1", f"0 and 255 ({path})", "labels=1+255")
        if found <= {1} or found <= {VOID}:
            return Reading("shown", _objects(found), self._ignore, note=note)
        if found <= {VOID, *_DEEP_WHITES} and all(len(values) <= 1 for values in per_file):
            return Reading("shown", _objects(found), self._ignore, note=note)
        if found == {1, VOID}:
            _refuse_void(self._masks, "shown", VOID, "labels=1", self._say)
        if len(found) > _FEW:
            path = max(self._masks, key=lambda path: len(self._masks[path].values))
            raise DataError(
                f"{path} is a soft mask: {self._whose} hold {_listed(sorted(found | {0}))}",
                hint=f"say where it is cut: {self._say('labels=128..255')}, or save masks "
                "without smoothing",
            )
        raise self._several(found, "labels")

    def _several(self, found: Iterable[int], option: str) -> DataError:
        values = sorted(found)
        path = next(p for p, f in self._masks.items() if {*f.values, *f.shown} & {*values})
        in_colours = option == "colors"
        void = VOID_COLOUR if in_colours else VOID
        first = next(v for v in values if (v >= COLOUR or not in_colours) and v != void)
        typed = f"{option}={spelled(first)}"
        hint = f"say it: {self._say(typed)} (several with +)"
        if void in values:
            hint = (
                f"say it: {self._say(f'{typed},ignore={spelled(void)}')} if {spelled(void)} is "
                f"undecided, {self._say(f'{option}={spelled(void)}')} if that is the object"
            )
        if self._classes and len([v for v in values if v != void]) > 1:
            each = f"{option}=each" + (f",ignore={spelled(void)}" if void in values else "")
            hint = f"if each is a class: {self._say(each)}; if not, {hint}"
        seen = _listed(values, "the colours" if in_colours else "the values", as_colours=in_colours)
        many = f"{seen} beside 0, and nothing says which is the object"
        one = f"the values 0 and {spelled(first)} in place of 0 and 1, or 0 and 255"
        return DataError(
            f"{self._whose} hold {many if len(values) > 1 else one} (for example {path})",
            hint=hint,
        )

    def _mixed(self, some: str, others: str, option: str) -> DataError:
        return DataError(
            f"{self._whose} are of two kinds: some hold {some}, others {others}",
            hint=f"save all in one way, or say how to read them: {self._say(option)}",
        )


def _objects(values: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    return tuple((value, value, 1) for value in sorted(values))
