"""What a checkpoint says of itself, read from its header without torch and without its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import Field
from safetensors import SafetensorError, safe_open

from cdfss_bench import plain_json
from cdfss_bench.cards import Card, validated
from cdfss_bench.errors import WeightsError

from ..core.contract import Precision
from .file_kinds import is_safetensors, unreadable

Selection = Literal["last", "source-val", "target-oracle", "unknown"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)

METADATA_KEY = "cdfss-bench"
"""Where the card stands in the header of a safetensors file."""


MINI_SOURCE = "mini-source"
"""The mini suite's source domain; what was trained on it is a toy anywhere else."""


class WeightsCard(Card):
    """What a checkpoint says of itself; it stands in the file's header.

    Attributes:
        trained_as: the composition that was trained, score plug-ins left out.
        backbone: name of the backbone.
        selection: how this checkpoint was chosen among all of its training.
        base: sha256 of the pretrained backbone file under it, whose entries that training did not
            touch are not stored again; empty where the file holds the whole network.
        source: domain, fingerprint and episodes' sha256 of the source data.
        recipe: the training recipe, resolved.
        init: sha256 of the checkpoint from which the training started, if there was one.
        seed: of the training.
        episodes: seen in training, up to the weights that were kept.
        deviations: of the recipe from the card's: key to the card's value and the one used.
        as_published: oversights of the published code that were repeated.
        score: source-validation (or, for an oracle, target) mIoU by which it was chosen.
        curve: source-validation mIoU over the training, as (episodes seen, mIoU); empty where no
            source images were held out.
        precision: of the training's arithmetic.
        processes: that shared every batch.
        compiled: whether the objective was compiled.
        code: hash of the method's code.
        command: that trained it.
        origin: for a converted file, where it came from.
    """

    trained_as: str
    backbone: str
    selection: Selection
    base: str = ""
    source: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    init: str = ""
    seed: int | None = None
    episodes: int | None = None
    deviations: dict[str, tuple[Any, Any]] = {}
    as_published: tuple[str, ...] = ()
    score: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    precision: Precision = "fp32"
    processes: int = 1
    compiled: bool = False
    code: str = ""
    command: str = ""
    origin: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def is_toy(self) -> bool:
        """Whether it was trained on the mini suite's source."""
        return str(self.source.get("domain", "")).startswith(MINI_SOURCE)

    @property
    def trained_on(self) -> str:
        """The source domain, and what makes the training a baseline of its own."""
        radius = self.recipe.get("sam")
        text = str(self.source.get("domain", "unknown"))
        if radius:
            text += f" with SAM {radius:g}"
        # `--init none` is an empty value: it must not read as a key with nothing behind it.
        changed = [
            f"{key} {'none' if now == '' else now}"
            for key, (_, now) in self.deviations.items()
            if key != "sam"
        ]
        return f"{text} ({', '.join(changed)})" if changed else text


def read_card(path: Path) -> WeightsCard | None:
    """The card in the header of a safetensors file, without reading its tensors.

    Raises:
        WeightsError: if the file is damaged.
        UserError: if the header's card does not fit the schema.
    """
    if not is_safetensors(path):
        return None
    try:
        with safe_open(path, "np") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata = cast("dict[str, str]", file.metadata() or {})  # pyright: ignore[reportUnknownMemberType]
    except (SafetensorError, OSError) as error:
        raise unreadable(path, "safetensors") from error
    if METADATA_KEY not in metadata:
        return None
    try:
        values = plain_json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise WeightsError(f"{path}: the card in its header is not JSON ({error})") from error
    return validated(WeightsCard, values, path)
