"""The log of a training for Weights & Biases, online or in a folder beside its weights."""

import importlib.util
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdfss_bench.errors import UserError
from cdfss_bench.files import explained_os_errors
from cdfss_bench.methods.weights.card import WeightsCard

from .tensorboard import numbers_of


class WandbRun:
    """A run that is told what the lines of the JSON log and of the curve tell.

    The library's own variables choose where it goes: `WANDB_MODE=offline`, `WANDB_PROJECT`,
    `WANDB_ENTITY`.

    Args:
        folder: where the library keeps its files, and this class the run's id.
        name: shown.
        card: of the training.
        step: where the training stands; a resumed one goes on with the run that it began.

    Raises:
        UserError: if W&B is not installed, refuses, or the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str, card: WeightsCard, step: int):
        check_wandb()
        import wandb  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        library: Any = wandb
        with explained_os_errors(folder, "creating the folder of W&B's files"):
            folder.mkdir(parents=True, exist_ok=True)
            known = folder / "id"
            if not step or not known.is_file():
                known.write_text(secrets.token_hex(4), encoding="utf-8")
            identity = known.read_text(encoding="utf-8").strip()
        try:
            self._run: Any = library.init(
                project=os.environ.get("WANDB_PROJECT", "cdfss-bench"),
                name=name,
                id=identity,
                resume="allow",
                dir=str(folder),
                config=card.model_dump(mode="json", exclude_defaults=True),
            )
        except Exception as error:  # its classes differ between versions
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"W&B does not begin a run: {said}",
                hint="wandb login, or WANDB_MODE=offline to write it here and `wandb sync` later",
            ) from error

    def add(self, row: Mapping[str, object]) -> None:
        """The numbers of one line: loss, terms, rates, mIoU (%)."""
        self._run.log(numbers_of(row), step=row["step"])

    def close(self) -> None:
        """Writes what is waiting."""
        self._run.finish()


def check_wandb() -> None:
    """Notices before hours are spent that W&B is absent.

    Raises:
        UserError: naming the command that installs it.
    """
    try:
        found = importlib.util.find_spec("wandb")
        # Its own folder of runs, called `wandb` too, is found as a package without a file.
        is_there = found is not None and found.origin is not None
    except ValueError:  # a module without a spec, as a stand-in is
        is_there = True
    if not is_there:
        raise UserError(
            "W&B (the library wandb) is not installed", hint="pip install 'cdfss-bench[wandb]'"
        )
