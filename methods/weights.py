"""Which weights a method runs with: never a silent random initialisation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import WeightsError

from .backbones.card import BACKBONES, Pretrained, refusal
from .grammar import METHODS, Composition, parse
from .weights_card import WeightsCard, read_card

if TYPE_CHECKING:
    from .base import Method
    from .checkpoints import Checkpoint

WeightsKind = Literal["not needed", "source-trained", "published", "not source-trained"]
"""What weights are to the method that runs with them (`Weights.kind`)."""

PACKAGED = Path(__file__).parent / "pretrained"
"""The mini suite's weights, which come with the package."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The files that one row runs with.

    Attributes:
        backbone: name of the backbone; empty for a control without one.
        pretrained: the backbone's file; None for a control without one, and where the checkpoint
            holds the backbone too (published and converted ones do).
        entry: the card's entry that describes the file.
        checkpoint: the source-trained file on top; None for backbone weights alone.
        card: what the checkpoint says of itself.
    """

    backbone: str
    pretrained: Path | None
    entry: Pretrained | None
    checkpoint: Path | None
    card: WeightsCard | None

    @property
    def description(self) -> str:
        """What the weights were trained on, for tables."""
        if self.checkpoint is not None:
            return f"trained on {self.card.trained_on if self.card else 'unknown'}"
        return f"{self.entry.trained_on} only" if self.entry else "none"

    def kind(self, composition: Composition) -> WeightsKind:
        """What these weights are to `composition`.

        `not needed`: nothing of it is trained on source data. `source-trained`: by `train`.
        `published`: a checkpoint that `train` did not make. `not source-trained`: the method is
        trained on source data in its published form, and here only its backbone is pretrained.
        """
        if self.checkpoint is not None:
            ours = self.card is not None and self.card.origin == ""
            return "source-trained" if ours else "published"
        return "not source-trained" if composition.is_trained else "not needed"

    @property
    def selection(self) -> str:
        """How the checkpoint was chosen; `none` where nothing was source-trained."""
        if self.checkpoint is None:
            return "none"
        return self.card.selection if self.card else "unknown"


def default_folders() -> list[Path]:
    """`$CDFSS_WEIGHTS` (several folders may stand in it), else the user's cache."""
    named = os.environ.get("CDFSS_WEIGHTS")
    if named:
        return [Path(part) for part in named.split(os.pathsep) if part]
    base = os.environ.get("XDG_CACHE_HOME")
    return [(Path(base) if base else Path.home() / ".cache") / "cdfss-bench" / "weights"]


def trained_name(composition: Composition) -> str:
    """The composition as far as source training is concerned: parts and options that train."""
    parts = [composition.host, *(p for p in composition.plugins if p.card.trains)]
    return "+".join(str(part.trained) for part in parts)


def resolve_weights(
    composition: Composition,
    *,
    backbone: str | None = None,
    checkpoint: Path | None = None,
    folders: Sequence[Path] = (),
) -> Weights:
    """The files for `composition`.

    Args:
        composition: the method.
        backbone: its name; None takes the first of the card's whose weights are at hand.
        checkpoint: a named weights file; None looks for one trained as this composition. A file
            without our card is taken for a published one, which holds the whole network.
        folders: where to look, in order.

    Raises:
        WeightsError: if something is missing, with the command that gets it.
        UserError: if the host does not ride on the backbone that was named.
    """
    host = composition.host.card
    if not host.backbones:
        return Weights("", None, None, None, None)
    if checkpoint is not None and not checkpoint.is_file():
        raise WeightsError(f"the weights file {checkpoint} does not exist")
    if backbone is not None and (refused := refusal(host, backbone)) is not None:
        raise refused
    card = read_card(checkpoint) if checkpoint is not None else None
    if card is not None:
        _check_card(card, composition, checkpoint, backbone)
        backbone = card.backbone
    elif checkpoint is not None:
        # A published checkpoint holds its backbone too.
        return Weights(backbone or host.backbones[0], None, None, checkpoint, None)
    candidates = [backbone] if backbone else list(host.backbones)
    for name in candidates:
        found = find_pretrained(name, folders)
        chosen = checkpoint or _find_trained(composition, name, found and found[0], folders)
        card = read_card(chosen) if chosen else None
        if card is not None and not card.base:
            return Weights(name, None, None, chosen, card)
        if found is None or (chosen is None and composition.has_head):
            continue
        path, entry = found
        return Weights(name, path, entry, chosen, card)
    raise _nothing_fits(composition, candidates, folders)


def pretrained_for(
    composition: Composition, *, backbone: str | None, folders: Sequence[Path]
) -> Weights:
    """The backbone weights with which a training of `composition` begins.

    Raises:
        WeightsError: if none are at hand.
        UserError: if the host does not ride on the backbone that was named.
    """
    host = composition.host.card
    if backbone is not None and (refused := refusal(host, backbone)) is not None:
        raise refused
    candidates = [backbone] if backbone else list(host.backbones)
    for name in candidates:
        found = find_pretrained(name, folders)
        if found is not None:
            return Weights(name, found[0], found[1], None, None)
    raise _nothing_fits(composition, candidates, folders)


def runs_on(name: str, folders: Sequence[Path]) -> dict[str, str]:
    """Backbones on which the method `name` can run with the weights at hand, and which those are.

    Plug-ins have those of what their bare name stands for, published rows do not run, controls
    need none.

    Raises:
        UserError: if a card is wrong.
    """
    card = METHODS.card(name)
    if card.kind == "published" or (card.kind == "plugin" and not card.alone):
        return {}
    plain, found = parse(name), dict[str, str]()
    for backbone in plain.host.card.backbones:
        for composition in (plain.in_miniature(), plain):
            with suppress(WeightsError):
                weights = resolve_weights(composition, backbone=backbone, folders=folders)
                found[backbone] = weights.description
    return found


def initial_for(composition: Composition, weights: Weights, *, folders: Sequence[Path]) -> Path:
    """The checkpoint trained as `composition` with which another training begins.

    Args:
        composition: what it was trained as.
        weights: the backbone weights under it (see `pretrained_for`).
        folders: where to look, in order.

    Raises:
        WeightsError: if none is at hand, with the command that makes it.
    """
    found = _find_trained(composition, weights.backbone, weights.pretrained, folders)
    if found is None:
        name = trained_name(composition)
        raise WeightsError(
            f"the training starts from weights of {name} on {weights.backbone}, and none are here",
            mend=f"cdfss-bench train -m '{name}' --backbone {weights.backbone} first, "
            "or name a checkpoint with --init FILE",
        )
    return found


def load_initial(method: Method, checkpoint: Path, weights: Weights) -> None:
    """Puts what `checkpoint` holds into a method that may have further parts.

    Raises:
        WeightsError: if it does not fit, or was trained on other backbone weights than `weights`.
    """
    from .checkpoints import load_into, read_checkpoint

    trained = read_checkpoint(checkpoint)
    _check_base(trained, read_checkpoint(weights.pretrained) if weights.pretrained else None)
    load_into(method, trained.tensors, path=checkpoint, unused=method.unused_keys, complete=False)


def load_weights(method: Method, weights: Weights) -> None:
    """Puts the files of `weights` into a method built for them.

    Raises:
        WeightsError: if a file does not fit, or a checkpoint was trained on another backbone file.
    """
    from .checkpoints import load_into, read_checkpoint, renamed

    base = None
    if weights.pretrained is not None and weights.entry is not None:
        base = read_checkpoint(weights.pretrained)
        trunk = method.backbone
        tensors = renamed(base.tensors, weights.entry.renames)
        load_into(trunk, tensors, path=weights.pretrained, unused=trunk.unused_keys, complete=True)
        method.on_pretrained()
    if weights.checkpoint is not None:
        trained = read_checkpoint(weights.checkpoint)
        _check_base(trained, base)
        load_into(
            method,
            trained.tensors,
            path=weights.checkpoint,
            unused=method.unused_keys,
            optional=method.keys_without_training,
            complete=trained.card is None or not trained.card.base,
        )


def find_pretrained(name: str, folders: Sequence[Path]) -> tuple[Path, Pretrained] | None:
    """The backbone's weights file in the first folder that has one, with its card entry."""
    for folder in (*folders, PACKAGED):
        for entry in BACKBONES.card(name).pretrained:
            for file in entry.files:
                if (folder / file).is_file():
                    return folder / file, entry
    return None


def _find_trained(
    composition: Composition, backbone: str, pretrained: Path | None, folders: Sequence[Path]
) -> Path | None:
    """The file trained as `composition`, whole or on top of just these backbone weights.

    What was trained with SAM is a baseline of its own, to be named.
    """
    wanted = trained_name(composition)
    bases = ("",) if pretrained is None else ("", file_sha256(pretrained))
    for folder in (*folders, PACKAGED):
        found = [
            path
            for path, card in _cards_in(folder)
            if card.backbone == backbone
            and card.trained_as == wanted
            and card.base in bases
            and not card.recipe.get("sam")
        ]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise WeightsError(
                f"{folder} holds several weights of {wanted} on {backbone}: {names}",
                mend="name one with --weights FILE",
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


def _check_card(
    card: WeightsCard, composition: Composition, path: Path | None, backbone: str | None
) -> None:
    if card.trained_as != trained_name(composition):
        raise WeightsError(
            f"{path} was trained as {card.trained_as}, not as {trained_name(composition)}"
        )
    if backbone is not None and backbone != card.backbone:
        raise WeightsError(f"{path} was trained on {card.backbone}, not on {backbone}")


def _check_base(trained: Checkpoint, base: Checkpoint | None) -> None:
    if trained.card is None or not trained.card.base or base is None:
        return
    if trained.card.base != base.sha256:
        raise WeightsError(
            f"{trained.path} was trained on top of other backbone weights than {base.path} "
            f"(sha256 {trained.card.base[:12]}..., not {base.sha256[:12]}...)",
            mend="put the backbone file it was trained with into the weights folder",
        )


def _nothing_fits(
    composition: Composition, candidates: Sequence[str], folders: Sequence[Path]
) -> WeightsError:
    where = ", ".join(str(folder) for folder in folders) or "no folder"
    trunks = [name for name in candidates if find_pretrained(name, folders) is not None]
    if not trunks:
        entry = next(iter(BACKBONES.card(candidates[0]).pretrained), None)
        mend = "put a file that `cdfss-bench weights list` names into the weights folder"
        if entry is not None and entry.url:
            mend = f"cdfss-bench weights fetch {candidates[0]}"
        elif entry is not None and entry.page:
            mend = f"put {entry.files[0]} from {entry.page} into the weights folder"
        return WeightsError(
            f"no pretrained weights of {' or '.join(candidates)} for {composition} in {where}",
            mend=f"{mend}, or name their folder with --weights-dir DIR",
        )
    name = trained_name(composition)
    return WeightsError(
        f"{composition} has a part that must be trained, and no weights of {name} on "
        f"{' or '.join(trunks)} are in {where}",
        mend=f"cdfss-bench train -m '{name}' --backbone {trunks[0]}, or --weights FILE",
    )
