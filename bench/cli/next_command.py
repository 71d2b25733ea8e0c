"""The command that goes on with weights that were just written, ready to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .console import talk

if TYPE_CHECKING:
    from cdfss_bench.methods.registry.name_grammar import Composition


@dataclass(frozen=True, slots=True)
class Written:
    """A weights file of a method on a backbone."""

    composition: Composition
    backbone: str
    file: Path


def say_how_to_run(
    written: Sequence[Written],
    *,
    weights_dirs: Sequence[Path],
    plugins: Sequence[Path],
    data: Sequence[str],
    on_mini: bool,
) -> None:
    """Prints the `run` commands that use the files; methods that can share one do.

    `weights_dirs` and `plugins` are those that were typed, `data` the words that select the data,
    and `on_mini` says whether those are the mini suite's.
    """
    common = [*_each("--weights-dir", weights_dirs), *_each("--plugin", plugins), *data]
    methods: dict[tuple[str, ...], list[str]] = {}
    for one in written:
        how = _found_by(one, weights_dirs, on_mini=on_mini)
        methods.setdefault(("--backbone", one.backbone, *how), []).append(one.composition.label)
    for how, labels in methods.items():
        words = ["cdfss-bench", "run", *_each("-m", dict.fromkeys(labels)), *how, *common]
        talk(f"next: {shlex.join(words)}")


def say_how_to_train(backbone: str, file: Path, *, on_mini: bool, data: Sequence[str]) -> None:
    """Prints the `train` command that begins with a pretrained backbone, if a method does.

    `data` are the words that say where the source lies, `on_mini` whether it is the mini suite's.
    """
    from cdfss_bench.methods.registry.name_grammar import METHODS
    from cdfss_bench.methods.weights.search import default_folders, find_pretrained

    cards = [METHODS.card(name) for name in METHODS.names()]
    fitting = [
        card.name
        for card in cards
        if backbone in card.backbones and (card.mini.recipe if on_mini else card.recipe)
    ]
    if not fitting:
        return
    found = find_pretrained(backbone, default_folders())
    is_found = found is not None and found[0].resolve() == file.resolve()
    where = [] if is_found else ["--weights-dir", str(file.parent)]
    source = ["--source", "mini"] if on_mini else ["--source", "pascal", *data]
    method = next((name for name in fitting if name == "ssp"), fitting[0])
    words = ["cdfss-bench", "train", "-m", method, "--backbone", backbone, *source, *where]
    talk(f"next: {shlex.join(words)}")


def _found_by(one: Written, weights_dirs: Sequence[Path], *, on_mini: bool) -> list[str]:
    """What `run` must be told to take just that file: nothing, its folder, or the file."""
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.weights.resolve import resolve_weights
    from cdfss_bench.methods.weights.search import default_folders

    known = [*weights_dirs, *default_folders()]
    home = one.file.parent
    for words, folders in (([], known), (["--weights-dir", str(home)], [home, *known])):
        with suppress(UserError):  # such as two that were trained alike
            found = resolve_weights(
                one.composition, backbone=one.backbone, folders=folders, on_mini=on_mini
            ).checkpoint
            if found is not None and found.resolve() == one.file.resolve():
                return words
    return ["--weights", str(one.file)]


def data_words(data_root: Path | None, lists: Path | None, *, on_mini: bool) -> list[str]:
    """The words that select the targets which belong to a source domain."""
    if on_mini:
        return ["--suite", "mini"]
    named = [("--data-root", data_root), ("--lists", lists)]
    return [word for flag, path in named if path is not None for word in (flag, str(path))]


def _each(flag: str, values: Sequence[object] | dict[str, None]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]
