"""What the masks of a class mean: decided once for all of them, strictly, and then applied.

Nothing is guessed from one file: a reading must fit every mask of the class. What fits no reading,
or more than one, is refused with the option that says how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from .mask_facts import COLOUR, MOST_VALUES, Facts, look_at, spelled
from .mask_options import VOID, MaskOptions

Say = Callable[[str], str]
"""`labels=1` as what to type: `-d 'folder[labels=1]'`, with the other options that are set."""

Masks = Mapping[Path, Facts]

_DEEP_WHITES = (1023, 4095, 16383, 65535)
_FEW = 16
"""Grey values up to which a mask is taken for a label map, beyond for a soft mask."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What each value of a class's masks means.

    Attributes:
        by: which value of a pixel counts: as `stored`, as `shown`, or its `alpha`.
        objects: (lowest value, highest value, number of the class).
        undecided: values of undecided pixels.
        strict: whether any further value but 0 is an error; else it is background.
        note: what a reader of the numbers must know of it; may be empty.
    """

    by: Literal["stored", "shown", "alpha"]
    objects: tuple[tuple[int, int, int], ...]
    undecided: tuple[int, ...] = ()
    strict: bool = True
    note: str = ""

    @property
    def key(self) -> list[object]:
        """All that decides a decoded mask beside the file."""
        return [self.by, self.objects, self.undecided]

    def meaning(self, facts: Facts) -> tuple[int, ...]:
        """0, the number of a class, or 255, for each of `facts.values` (or of `facts.alpha`)."""
        return tuple(map(self._meaning_of, self._counted(facts)))

    def _counted(self, facts: Facts) -> tuple[int, ...]:
        if self.by == "alpha":
            return facts.alpha or (255,)
        return facts.values if self.by == "stored" else facts.shown

    def _meaning_of(self, value: int) -> int:
        if value in self.undecided:
            return VOID
        found = next((n for low, high, n in self.objects if low <= value <= high), None)
        if found is None and value and self.strict:
            raise ValueError(spelled(value))
        return found or 0

    def numbers(self, facts: Facts) -> set[int]:
        """What a mask holds: 0, numbers of classes, 255."""
        found = set(self.meaning(facts))
        return found | {0} if 0 in facts.alpha and self.by != "alpha" else found


def decode(path: Path, facts: Facts, reading: Reading) -> NDArray[np.uint8]:
    """The mask at `path` as stored, [H, W] of 0, the numbers of classes, and 255 for undecided.

    Args:
        path: of the mask.
        facts: of it, on which the reading was decided.
        reading: of its class.

    Raises:
        DataError: if the file is unreadable, or no longer holds what it held.
    """
    look = look_at(path)
    if look.facts != facts:
        raise DataError(f"{path} was changed while it was read", mend="type the command again")
    codes, values = look.codes, facts.values
    if reading.by == "alpha":
        codes = np.full(codes.shape, 255) if look.alpha is None else look.alpha.astype(np.int64)
        values = facts.alpha or (255,)
    meaning = np.array(reading.meaning(facts) or (0,), np.uint8)
    # Values are sorted, and every pixel that is not transparent has one of them.
    place = np.searchsorted(np.array(values), codes) if values else np.zeros(codes.shape, np.intp)
    labels = meaning[place.clip(0, len(meaning) - 1)]
    if look.alpha is not None and reading.by != "alpha":
        labels = np.where(look.alpha == 0, 0, labels).astype(np.uint8)
    return labels


def decide(masks: Masks, names: Sequence[str], options: MaskOptions, say: Say) -> Reading:
    """The one reading of masks that belong together.

    Args:
        masks: what each file holds; at least one.
        names: of the classes in these masks; the first has the number 1.
        options: what the user said.
        say: spells an option in the domain's name, for hints.

    Raises:
        DataError: if no reading, or more than one, fits; it names a file and an option.
    """
    by_number = {n: spans for n, name in enumerate(names, 1) if (spans := options.of(name))}
    whose = f"the masks of class '{names[0]}'" if len(names) == 1 else "the masks"
    if not by_number:
        _refuse_doubts(masks, say, lifted=False)
        return _Deciding(masks, whose, options, say).reading()
    assert options.by
    _refuse_doubts(masks, say, lifted=True, alpha=options.by == "alpha")
    if options.by == "stored":
        for path, facts in masks.items():
            if facts.kind == "colour":
                raise DataError(
                    f"{path} is in colours, of which labels= says nothing",
                    mend=f"name the colour of the object: {say('colors=#rrggbb')}",
                )
    objects = tuple((low, high, n) for n, spans in by_number.items() for low, high in spans)
    for low, high, n in objects:
        for other_low, other_high, other in objects:
            if n < other and max(low, other_low) <= min(high, other_high):
                raise DataError(
                    f"classes '{names[n - 1]}' and '{names[other - 1]}' would share a value",
                    mend="give each value to one class",
                )
    undecided = options.ignore
    if undecided is None:
        is_label_map = options.by == "stored" and all(high < VOID for _, high, _ in objects)
        undecided = (VOID,) if is_label_map else ()
    return Reading(options.by, objects, undecided, strict=False)


def refuse_constant(masks: Masks, reading: Reading, number: int, name: str, say: Say) -> None:
    """Refuses a class whose truth is empty, or full, in every mask.

    Raises:
        DataError: saying what the masks hold.
    """
    held = [reading.numbers(facts) for facts in masks.values()]
    objects = sum(number in numbers for numbers in held)
    if any(number in numbers and 0 in numbers for numbers in held):
        return
    path = next(iter(masks))
    values = sorted({v for facts in masks.values() for v in _values(facts, reading.by)})
    what = "are empty" if not objects else "are full" if objects == len(held) else "empty or full"
    raise DataError(
        f"all {len(held)} masks of class '{name}' {what}: "
        f"they hold {_listed(values)} (for example {path})",
        mend=_naming(values, say, alpha=any(facts.alpha for facts in masks.values()))
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


def _values(facts: Facts, by: str) -> tuple[int, ...]:
    return facts.alpha if by == "alpha" else facts.values if by == "stored" else facts.shown


def _listed(values: Iterable[int]) -> str:
    words = [spelled(value) for value in values]
    if len(words) > 8:
        return f"{len(words)} values from {words[0]} to {words[-1]}"
    return (
        "nothing" if not words else " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    )


def _refuse_doubts(masks: Masks, say: Say, *, lifted: bool, alpha: bool = False) -> None:
    """Refuses files that mean nothing certain; `lifted` where the user said how to read them."""
    for path, facts in masks.items():
        if alpha and not set(facts.alpha) <= {0, 255}:
            raise DataError(
                f"{path} has an alpha channel of {len(facts.alpha)} values, neither on nor off",
                mend="save the mask as black and white",
            )
        if not alpha and lifted and not set(facts.alpha) <= {0, 255}:
            raise DataError(
                f"{path} has half-transparent pixels", mend="save the mask without transparency"
            )
        if facts.doubt == "many":
            raise DataError(
                f"{path} holds more than {MOST_VALUES:,} grey values or 256 colours: it is a "
                "photograph or a smoothed picture, no mask",
                mend="save the mask with one value per label, without smoothing, as PNG",
            )
        if facts.doubt == "fractions":
            raise DataError(
                f"{path} holds fractions (a score map?), which are no mask",
                mend="cut it at your threshold and save it as a PNG of 0 and 255",
            )
        if facts.doubt == "lossy colours":
            raise DataError(
                f"{path} is a JPEG in colours, which compression has changed",
                mend="save the mask as PNG from its source",
            )
        if facts.doubt == "lossy" and not lifted:
            raise DataError(
                f"{path} is a lossy file whose grey values ({_listed(facts.values)}) do not lie "
                "near black and white",
                mend="save the mask as PNG from its source, or say where it is cut: "
                f"{say('labels=128..255')}",
            )
        if facts.doubt == "palette" and not lifted:
            colours = _listed(facts.shown)
            raise DataError(
                f"{path} has a palette of {colours} in an order that is not that of labels",
                mend=f"name the colour of the object: {say('colors=#rrggbb')}, or its index: "
                f"{say('labels=1')}",
            )
        if facts.doubt == "alpha" and not lifted:
            raise DataError(
                f"{path} has an alpha channel: what is seen of it holds {_listed(facts.shown)}",
                mend=f"read the alpha channel: {say('labels=alpha')}, or save the mask "
                "without transparency",
            )


class _Deciding:
    """The reading of masks of which the user said nothing (but perhaps what is undecided)."""

    def __init__(self, masks: Masks, whose: str, options: MaskOptions, say: Say):
        self._masks, self._whose, self._say = masks, whose, say
        self._ignore = options.ignore or ()
        self._void = VOID if options.ignore is None else None

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

    def _union(self, by: str) -> set[int]:
        found = {v for facts in self._masks.values() for v in _values(facts, by)}
        return found - {0} - set(self._ignore)

    def _label_palette(self) -> Reading:
        for path, facts in self._masks.items():
            if facts.kind == "colour":
                raise self._mixed("indices of a palette", f"colours ({path})", "colors=#rrggbb")
        labels = self._union("stored") - {self._void}
        if len(labels) > 1:
            raise self._several(labels, "labels")
        for path, facts in self._masks.items():
            own = {*facts.values} - labels - {0, *self._ignore}
            foreign = (
                facts.kind == "grey"
                and own
                and not own <= labels
                and not (labels & {*facts.values})
            )
            white_first = facts.kind == "palette" and facts.colours and not facts.is_label_palette
            white_first = white_first and facts.colours[0] and facts.values[0] == 0
            if foreign or white_first:
                raise self._mixed("labels", f"black and white ({path})", "labels=1")
        return self._label_map(labels)

    def _grey(self, found: set[int], note: str) -> Reading:
        if found <= {1} or found <= {VOID}:
            return Reading("shown", _objects(found), self._ignore, note=note)
        per_file = [{*facts.shown} & found for facts in self._masks.values()]
        if found <= {VOID, *_DEEP_WHITES} and all(len(values) <= 1 for values in per_file):
            return Reading("shown", _objects(found), self._ignore, note=note)
        if found == {1, VOID} and self._void == VOID:
            both = any(values == found for values in per_file)
            ones = sum(1 in values for values in per_file)
            # A label map may well lack its label now and then, but not as a rule.
            if both and ones >= len([v for v in per_file if v == {VOID}]):
                return self._label_map({1})
            path = next(p for p, f in self._masks.items() if {*f.shown} & found == {VOID})
            raise self._mixed("1", f"255 ({path}), which may be white or undecided", "labels=1")
        if len(found) > _FEW:
            path = max(self._masks, key=lambda path: len(self._masks[path].values))
            raise DataError(
                f"{path} is a soft mask: {self._whose} hold {_listed(sorted(found | {0}))}",
                mend=f"say where it is cut: {self._say('labels=128..255')}, or save masks "
                "without smoothing",
            )
        raise self._several(found, "labels")

    def _label_map(self, labels: set[int]) -> Reading:
        undecided = (*self._ignore, *(() if self._void is None else (self._void,)))
        words = f"{self._whose} are label maps: {_listed(sorted(labels))} is the object"
        if undecided:
            words += f", {_listed(undecided)} is undecided"
        return Reading("stored", _objects(labels), undecided, note=words)

    def _several(self, found: Iterable[int], option: str) -> DataError:
        values = sorted(found)
        path = next(p for p, f in self._masks.items() if {*f.values, *f.shown} & {*values})
        first = next(v for v in values if option == "labels" or v >= COLOUR)
        what = "colours" if option == "colors" else "values"
        many = f"the {what} {_listed(values)} beside 0, and nothing says which is the object"
        one = f"the values 0 and {spelled(first)} in place of 0 and 1, or 0 and 255"
        return DataError(
            f"{self._whose} hold {many if len(values) > 1 else one} (for example {path})",
            mend=f"say it: {self._say(f'{option}={spelled(first)}')} (several with +), and "
            f"what is undecided with ignore=",
        )

    def _mixed(self, some: str, others: str, option: str) -> DataError:
        return DataError(
            f"{self._whose} are of two kinds: some hold {some}, others {others}",
            mend=f"save all in one way, or say how to read them: {self._say(option)}",
        )


def _objects(values: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    return tuple((value, value, 1) for value in sorted(values))
