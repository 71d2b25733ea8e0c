"""Which weights files lie in the weights folders and in the package, and what they are of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.options import spelled

from ..backbones.card import BACKBONES, Pretrained
from ..registry.name_grammar import Composition
from .card import MINI_SOURCE, WeightsCard, read_card

PACKAGED = Path(__file__).parents[1] / "pretrained"
"""The mini suite's weights, which come with the package."""


TRAINED = Path("weights")
"""Where `train` writes unless told otherwise, below the folder in which it is typed."""


def default_folders() -> list[Path]:
    """Where weights are looked for: where `train` writes, if it did, then `kept_folders`."""
    kept = kept_folders()
    is_apart = TRAINED.is_dir() and TRAINED.resolve() not in [each.resolve() for each in kept]
    return [TRAINED, *kept] if is_apart else kept


def kept_folders() -> list[Path]:
    """Where weights are fetched and converted to, the first of them, and looked for.

    `$CDFSS_WEIGHTS` (several folders may stand in it), else the user's cache.
    """
    named = os.environ.get("CDFSS_WEIGHTS")
    if named:
        return [Path(part) for part in named.split(os.pathsep) if part]
    base = os.environ.get("XDG_CACHE_HOME")
    return [(Path(base) if base else Path.home() / ".cache") / "cdfss-bench" / "weights"]


def trained_name(composition: Composition) -> str:
    """The composition as far as source training is concerned: parts and options that train."""
    parts = [composition.host, *(p for p in composition.plugins if p.card.trains)]
    return "+".join(str(part.trained) for part in parts)


def training_needs(composition: Composition) -> str:
    """Which of what was typed needs weights of its own, and which acts at test only.

    Empty where neither an option was changed nor a plug-in added.
    """
    trained: list[str] = []
    at_test: list[str] = []
    for part in composition.parts:
        is_host = part is composition.host
        if not (is_host or part.card.trains):
            at_test.append(str(part))
            continue
        own = {key: part.card.options[key] for key in part.given}
        changed = {key: o for key, o in own.items() if part.options[key] != o.default}
        if not is_host or any(option.trains for option in changed.values()):
            trained.append(str(part.trained))
        at_test += [
            f"{part.card.name}[{key}={spelled(part.options[key])}]"
            for key, option in changed.items()
            if not option.trains
        ]
    told = [
        f"{' and '.join(names)} {one if len(names) == 1 else many}"
        for names, one, many in (
            (trained, "needs weights trained with it", "need weights trained with them"),
            (at_test, "acts at test only and needs no training", "act at test only and need none"),
        )
        if names
    ]
    return ", ".join(told)


def is_toy(backbone: str) -> bool:
    """Whether a backbone was made for the mini suite: all its weights are of the mini source."""
    entries = BACKBONES.card(backbone).pretrained
    return bool(entries) and all(entry.trained_on == MINI_SOURCE for entry in entries)


def find_pretrained(
    name: str, folders: Sequence[Path], *, toys: bool = True
) -> tuple[Path, Pretrained] | None:
    """The backbone's weights file in the first folder that has one, with its card entry.

    The package's own folder comes last. Without `toys` no file counts that was pretrained on the
    mini source.
    """
    for folder in (*folders, PACKAGED):
        for entry in BACKBONES.card(name).pretrained:
            for file in entry.files:
                if (folder / file).is_file():
                    found = _as_trained(folder / file, entry)
                    if toys or not found.trained_on.startswith(MINI_SOURCE):
                        return folder / file, found
    return None


def _as_trained(path: Path, entry: Pretrained) -> Pretrained:
    """The entry with what the file says that it was pretrained on, if `train` made it."""
    with suppress(UserError):  # a damaged file is refused when it is read
        card = read_card(path)
        if card is not None and card.source:
            return entry.model_copy(update={"trained_on": card.trained_on})
    return entry


def find_trained(
    composition: Composition,
    backbone: str,
    pretrained: Path | None,
    folders: Sequence[Path],
    *,
    on_mini: bool,
    named: bool,
) -> Path | None:
    """The file trained as `composition`, whole or on top of just these backbone weights.

    What was trained with SAM is a baseline of its own, to be named. Outside the mini suite, what
    was trained on its source counts where the backbone is named and nothing else is there.
    """
    wanted = trained_name(composition)
    bases = ("",) if pretrained is None else ("", file_sha256(pretrained))
    fitting = {
        folder: [
            (path, card)
            for path, card in _cards_in(folder)
            if card.backbone == backbone
            and card.trained_as == wanted
            and card.base in bases
            and not card.recipe.get("sam")
        ]
        for folder in (*folders, PACKAGED)
    }
    rounds = ((True, False),) if on_mini else ((False,), (True,)) if named else ((False,),)
    for kinds in rounds:
        for folder, cards in fitting.items():
            found = [path for path, card in cards if card.is_toy in kinds]
            if len(found) > 1:
                names = " and ".join(path.name for path in found)
                raise WeightsError(
                    f"{folder} holds several weights of {wanted} on {backbone}: {names}",
                    hint="name one with --weights FILE",
                )
            if found:
                return found[0]
    return None


def trained_in(folders: Sequence[Path]) -> Iterator[tuple[Path, WeightsCard]]:
    """Every source-trained file of ours in the folders and in the package, with its card."""
    for folder in (*folders, PACKAGED):
        yield from _cards_in(folder)


def _cards_in(folder: Path) -> Iterator[tuple[Path, WeightsCard]]:
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        card = read_card(path)
        if card is not None:
            yield path, card
