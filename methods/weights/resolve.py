"""Which weights a method runs with: never a silent random initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import WeightsError

from ..backbones.card import BACKBONES, Pretrained
from ..registry.build import accepted, fitting, refusal
from ..registry.name_grammar import METHODS, Composition, parse
from .card import MINI_SOURCE, WeightsCard, read_card
from .file_kinds import refuse_missing
from .search import (
    find_pretrained,
    find_trained,
    is_toy,
    trained_in,
    trained_name,
    training_needs,
)

WeightsKind = Literal["not needed", "source-trained", "published", "not source-trained"]
"""What weights are to the method that runs with them (`Weights.kind`)."""


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

    def words(self, composition: Composition) -> str:
        """What these weights are to `composition`, in words: for the record."""
        kind, card = self.kind(composition), self.card
        if self.checkpoint is None:
            if self.entry is None:
                return "none needed"
            note = ": not source-trained" if kind == "not source-trained" else ""
            return f"backbone only ({self.entry.trained_on}){note}"
        if card is None or card.origin:
            origin = card.origin if card else self.checkpoint.name
            return f"published checkpoint {origin}, selection {self.selection}"
        seen = f"{card.episodes:,} episodes" if card.episodes is not None else "unknown episodes"
        kept = "the last weights" if card.selection == "last" else f"selected by {card.selection}"
        return f"source-trained on {card.trained_on}, {seen}, {kept}"

    @property
    def pretraining(self) -> str:
        """What the backbone saw before any source training; empty without a backbone.

        A checkpoint that holds the backbone too does not say from which file it began: it is what
        all files of the backbone's card have in common, or `unknown`.
        """
        if self.entry is not None:
            return self.entry.trained_on
        if not self.backbone:
            return ""
        known = {entry.trained_on for entry in BACKBONES.card(self.backbone).pretrained}
        return known.pop() if len(known) == 1 else "unknown"

    @property
    def is_toy(self) -> bool:
        """Whether they are made for the mini suite: a small backbone, or trained on its source."""
        return (
            (self.backbone != "" and is_toy(self.backbone))
            or (self.entry is not None and self.entry.trained_on.startswith(MINI_SOURCE))
            or (self.card is not None and self.card.is_toy)
        )

    @property
    def selection(self) -> str:
        """How the checkpoint was chosen; `none` where nothing was source-trained."""
        if self.checkpoint is None:
            return "none"
        return self.card.selection if self.card else "unknown"


def resolve_weights(
    composition: Composition,
    *,
    backbone: str | None = None,
    checkpoint: Path | None = None,
    folders: Sequence[Path] = (),
    on_mini: bool = False,
) -> Weights:
    """The files for `composition`.

    What was made for the mini suite is chosen for its domains only; elsewhere where its backbone or
    a file is named, and only if there is nothing else.

    Args:
        composition: the method.
        backbone: its name; None takes the first of the card's whose weights are at hand, in the
            mini suite the card's small one.
        checkpoint: a named weights file; None looks for one trained as this composition. A file
            without our card is taken for a published one, which holds the whole network.
        folders: where to look, in order.
        on_mini: whether the data are the mini suite's.

    Raises:
        WeightsError: if something is missing, with the command that gets it.
        UserError: if the host does not work with the backbone that was named.
    """
    host = composition.host.card
    if not host.backbones:
        return Weights("", None, None, None, None)
    if checkpoint is not None:
        refuse_missing(checkpoint)
    if backbone is not None and (refused := refusal(composition, backbone)) is not None:
        raise refused
    card = read_card(checkpoint) if checkpoint is not None else None
    fits = fitting(composition) or host.backbones
    usual = host.mini.backbone if on_mini else fits[0]
    if card is not None:
        _check_card(card, composition, checkpoint, backbone)
        backbone = card.backbone
    elif checkpoint is not None:
        # A published checkpoint holds its backbone too.
        own = backbone or usual
        if composition.is_trained and not composition.has_head:
            _refuse_known_backbone(checkpoint, own)
        return Weights(own, None, None, checkpoint, None)
    elif on_mini and backbone is None and refusal(composition, usual) is None:
        backbone = usual
    named = backbone is not None
    candidates = _candidates(fits, backbone, on_mini=on_mini)
    for name in candidates:
        found = find_pretrained(name, folders, toys=on_mini or named)
        chosen = checkpoint or find_trained(
            composition, name, found and found[0], folders, on_mini=on_mini, named=named
        )
        card = read_card(chosen) if chosen else None
        if card is not None and not card.base:
            return Weights(name, None, None, chosen, card)
        if found is None or (chosen is None and composition.has_head):
            continue
        path, entry = found
        return Weights(name, path, entry, chosen, card)
    raise _nothing_fits(composition, candidates, folders, toys=on_mini or named)


def _candidates(backbones: Sequence[str], named: str | None, *, on_mini: bool) -> list[str]:
    if named is not None:
        return [named]
    return [n for n in backbones if on_mini or not is_toy(n)] or list(backbones)


def pretrained_for(
    composition: Composition,
    *,
    backbone: str | None,
    folders: Sequence[Path],
    on_mini: bool = False,
) -> Weights:
    """The backbone weights with which a training of `composition` begins; see `resolve_weights`.

    Raises:
        WeightsError: if none are at hand.
        UserError: if the host does not work with the backbone that was named.
    """
    host = composition.host.card
    if backbone is None and on_mini:
        backbone = host.mini.backbone
    if backbone is not None and (refused := refusal(composition, backbone)) is not None:
        raise refused
    candidates = _candidates(host.backbones, backbone, on_mini=on_mini)
    toys = on_mini or backbone is not None
    for name in candidates:
        found = find_pretrained(name, folders, toys=toys)
        if found is not None:
            return Weights(name, found[0], found[1], None, None)
    raise _nothing_fits(composition, candidates, folders, toys=toys, training=True)


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
    for backbone in accepted(plain):
        for composition in (plain.in_miniature(), plain):
            with suppress(WeightsError):
                # Named, so that the small ones of the mini suite are listed too.
                weights = resolve_weights(composition, backbone=backbone, folders=folders)
                found[backbone] = weights.description
    return found


def initial_for(
    composition: Composition, weights: Weights, *, folders: Sequence[Path], on_mini: bool = False
) -> Path:
    """The checkpoint trained as `composition` with which another training begins.

    It stands on `weights`. What was trained on the mini source begins no other training, unless the
    data or the backbone are the mini suite's too.

    Raises:
        WeightsError: if none is at hand, with the command that makes it.
    """
    named = is_toy(weights.backbone)
    found = find_trained(
        composition, weights.backbone, weights.pretrained, folders, on_mini=on_mini, named=named
    )
    if found is None:
        name = trained_name(composition)
        raise WeightsError(
            f"the training starts from weights of {name} on {weights.backbone}, and none are here",
            hint=f"cdfss-bench train -m '{name}' --backbone {weights.backbone} first, "
            "or name a checkpoint with --init FILE",
        )
    return found


def _check_card(
    card: WeightsCard, composition: Composition, path: Path | None, backbone: str | None
) -> None:
    if card.trained_as != trained_name(composition):
        raise WeightsError(
            f"{path} was trained as {card.trained_as}, not as {trained_name(composition)}",
            hint=training_needs(composition) or None,
        )
    if backbone is not None and backbone != card.backbone:
        raise WeightsError(f"{path} was trained on {card.backbone}, not on {backbone}")


def _refuse_known_backbone(path: Path, backbone: str) -> None:
    sha256 = file_sha256(path)
    for entry in BACKBONES.card(backbone).pretrained:
        if entry.sha256 and sha256.startswith(entry.sha256):
            raise WeightsError(
                f"{path} holds the pretrained weights of {backbone} ({entry.trained_on}), which "
                "are not those of a source-trained method",
                hint=f"leave out --weights, and name the folder of {entry.files[0]} with "
                "--weights-dir",
            )


def _nothing_fits(
    composition: Composition,
    candidates: Sequence[str],
    folders: Sequence[Path],
    *,
    toys: bool,
    training: bool = False,
) -> WeightsError:
    where = ", ".join(str(folder) for folder in folders) or "no folder"
    trunks = [name for name in candidates if find_pretrained(name, folders, toys=toys) is not None]
    trial = "" if toys else _trial(composition, folders, training=training)
    name = trained_name(composition)
    needs = training_needs(composition)
    told = f"; {needs}" if needs and not training else ""
    if not trunks:
        entry = next(iter(BACKBONES.card(candidates[0]).pretrained), None)
        hint = "put a file that `cdfss-bench weights list` names into the weights folder"
        if entry is not None and entry.url:
            hint = f"cdfss-bench weights fetch {candidates[0]}"
        elif entry is not None and entry.page:
            hint = f"put {entry.files[0]} from {entry.page} into the weights folder"
        problem = f"no pretrained weights of {' or '.join(candidates)} for {composition} in {where}"
        if not training and _lacks_training(composition, candidates, folders):
            problem += f", and none that were trained as {name}"
            hint += f", then cdfss-bench train -m '{name}' --backbone {candidates[0]}"
        else:
            told = ""
        return WeightsError(
            problem, hint=f"{hint}, or name their folder with --weights-dir DIR{trial}{told}"
        )
    return WeightsError(
        f"{composition} has a part that must be trained, and no weights of {name} on "
        f"{' or '.join(trunks)} are in {where}",
        hint=f"cdfss-bench train -m '{name}' --backbone {trunks[0]}, or --weights FILE"
        f"{trial}{told}",
    )


def _lacks_training(
    composition: Composition, candidates: Sequence[str], folders: Sequence[Path]
) -> bool:
    """Whether it has a part that must be trained, and no file holds it, on whatever backbone file.

    The backbone's file alone would not be enough.
    """
    cards = [card for _, card in trained_in(folders) if card.backbone in candidates]
    wanted = trained_name(composition)
    return composition.has_head and all(card.trained_as != wanted for card in cards)


def _trial(composition: Composition, folders: Sequence[Path], *, training: bool) -> str:
    """What to type for a trial with a small backbone, if the method could run with it."""
    for name in composition.host.card.backbones:
        if is_toy(name) and find_pretrained(name, folders) is not None:
            with suppress(WeightsError):
                if not training:
                    resolve_weights(composition, backbone=name, folders=folders)
                return f", or --backbone {name} for a trial with the toy backbone"
    return ""
