"""Weights files read into a method: the backbone's, and a checkpoint's on top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cdfss_bench.errors import WeightsError

if TYPE_CHECKING:
    from ..core.method import Method
    from .checkpoints import Checkpoint
    from .resolve import Weights


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
    from .checkpoints import load_backbone, load_into, read_checkpoint, refuse_bare_backbone

    base = None
    if weights.pretrained is not None and weights.entry is not None:
        base = read_checkpoint(weights.pretrained)
        load_backbone(method.backbone, base, weights.entry.renames)
        method.on_pretrained()
    if weights.checkpoint is not None:
        trained = read_checkpoint(weights.checkpoint)
        _check_base(trained, base)
        if trained.card is None and not method.head():
            refuse_bare_backbone(trained)
        load_into(
            method,
            trained.tensors,
            path=weights.checkpoint,
            unused=method.unused_keys,
            optional=method.keys_without_training,
            complete=trained.card is None or not trained.card.base,
        )


def _check_base(trained: Checkpoint, base: Checkpoint | None) -> None:
    if trained.card is None or not trained.card.base or base is None:
        return
    if trained.card.base != base.sha256:
        raise WeightsError(
            f"{trained.path} was trained on top of other backbone weights than {base.path} "
            f"(sha256 {trained.card.base[:12]}..., not {base.sha256[:12]}...)",
            hint="put the backbone file it was trained with into the weights folder",
        )
