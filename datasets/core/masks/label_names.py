"""What the labels of label maps are called, and label maps of which every value is a class."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cdfss_bench.errors import DataError

from .facts import COLOUR, Facts, spelled
from .options import VOID, VOID_COLOUR, MaskOptions

EACH = "each"
"""`labels=each`, `colors=each`: every value but the background is a class."""

KNOWN_FILES = ("classes.txt", "labelmap.txt", "dataset.json")
"""Looked for where no file is named: our own, CVAT's, and that of nnU-Net and the Decathlon."""

_BACKGROUND = ("background", "_background_", "unlabeled", "__ignore__")


@dataclass(frozen=True)
class LabelNames:
    """Names by value.

    Attributes:
        labels: by grey value or index.
        colours: by `COLOUR` + 24 bits.
        path: of the file they come from.
    """

    labels: Mapping[int, str] = field(default_factory=dict[int, str])
    colours: Mapping[int, str] = field(default_factory=dict[int, str])
    path: Path | None = None


def read_names(top: Path, named: str) -> LabelNames:
    """The names in the file `named` below `top`, or in one of `KNOWN_FILES`.

    Lines are `1 liver`, `1: liver`, `1,liver`, or CVAT's `liver:255,0,0::`; JSON is a mapping of
    either to the other, alone or under `labels`.

    Raises:
        DataError: if the file is missing, or not so.
    """
    if named:
        if not (top / named).is_file():
            raise DataError(f"{top / named} is missing", hint="name another: names=FILE")
        files = [top / named]
    else:
        files = [top / name for name in KNOWN_FILES if (top / name).is_file()]
    if not files:
        return LabelNames()
    path = files[0]
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = _of_json(text) if path.suffix.lower() == ".json" else _of_lines(text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} does not say what labels are called ({error})",
            hint='write a line per class, "1 liver", or JSON {"1": "liver"}',
        ) from error
    names = [name for name in found.values() if name]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path} gives two values the name '{twice[0]}'", hint="rename one")
    if bad := [name for name in names if set(name) & set("+:[]=,/\\")]:
        raise DataError(f"{path}: the name '{bad[0]}' holds one of + : [ ] = , / \\", hint="rename")
    found = {value: name for value, name in found.items() if name.lower() not in _BACKGROUND}
    found.pop(0, None)
    labels = {value: name for value, name in found.items() if value < COLOUR}
    return LabelNames(labels, {v: n for v, n in found.items() if v not in labels}, path)


def with_each(options: MaskOptions, facts: Sequence[Facts], names: LabelNames) -> MaskOptions:
    """Options in which every value of the masks is a class, where that is said.

    `labels=each` and `colors=each` say it, and so does a file that names every value there is.
    Nothing else does: a map of instances looks like a map of classes.

    Args:
        options: what was typed.
        facts: of all masks.
        names: of the values.
    """
    if options.by and not options.each:
        return options
    ignore = {0, *(options.ignore or ())}
    stored = {value for one in facts for value in one.values} - ignore - {VOID}
    shown = {value for one in facts for value in one.shown} - ignore - {VOID_COLOUR}
    by = options.by
    if not by and stored and stored <= {*names.labels}:
        by = "stored"
    elif not by and shown and shown <= {*names.colours}:
        by = "shown"
    if not by:
        return options
    found, known = (stored, names.labels) if by == "stored" else (shown, names.colours)
    of_class = {known.get(v, spelled(v)): ((v, v),) for v in sorted(found)}
    return replace(options, by=by, each=True, of_class=of_class, typed=EACH)


def _of_json(text: str) -> dict[int, str]:
    loaded: object = json.loads(text)
    if isinstance(loaded, dict):
        loaded = loaded.get("labels", loaded)
    if not isinstance(loaded, dict):
        raise ValueError("it holds no mapping")
    found: dict[int, str] = {}
    for key, value in loaded.items():
        label, name = (key, value) if str(key).isdigit() else (value, key)
        if not str(label).isdigit():
            raise ValueError(f"'{key}' and '{value}' are no value and name")
        found[int(str(label))] = str(name).strip()
    return found


def _of_lines(text: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\s*(\d+)\s*[:,;\t ]\s*(.+?)\s*", line):
            value, name = int(match[1]), match[2]
        elif match := re.fullmatch(r"(.+?):(\d+),(\d+),(\d+):.*", line):
            red, green, blue = (int(part) for part in match.groups()[1:])
            grey = red == green == blue
            value, name = red if grey else COLOUR + (red << 16 | green << 8 | blue), match[1]
        else:
            raise ValueError(f"the line '{line.strip()}' names no value")
        if value in found:
            raise ValueError(f"the value {spelled(value)} stands there twice")
        found[value] = name.strip()
    return found
