"""The log of a training for TensorBoard, beside its weights."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cdfss_bench.errors import UserError
from cdfss_bench.files import explained_os_errors

_TAGS = {
    "loss": "loss",
    "lr": "rate",
    "source_val_miou": "miou/source-val",
    "target_oracle_miou": "miou/target-oracle",
}


class Scalars:
    """Event files that tell what the lines of the JSON log and of the curve tell.

    Args:
        folder: where they are written.
        step: where the training stands; what was told of later steps is hidden.

    Raises:
        UserError: if TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int):
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        with explained_os_errors(folder, "creating the folder of TensorBoard's files"):
            self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, row: Mapping[str, object]) -> None:
        """The numbers of one line: loss, terms, rates, mIoU (%)."""
        for tag, value in numbers_of(row).items():
            self._writer.add_scalar(tag, value, row["step"])

    def close(self) -> None:
        """Writes what is waiting."""
        self._writer.close()


def numbers_of(row: Mapping[str, object]) -> dict[str, object]:
    """The numbers of one line of the log or of the curve, by the tag under which they are shown."""
    told = {tag: row[key] for key, tag in _TAGS.items() if row.get(key) is not None}
    for key, group in (("terms", "terms"), ("lr_parts", "rate")):
        values = cast("Mapping[str, object]", row.get(key, {}))
        told |= {f"{group}/{name}": value for name, value in values.items()}
    if "domain" in row:
        told[f"miou/{row['domain']}"] = row["miou"]
    return told


def check_tensorboard() -> None:
    """Notices before hours are spent that TensorBoard is absent.

    Raises:
        UserError: naming the command that installs it.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "TensorBoard is not installed", hint="pip install 'cdfss-bench[tensorboard]'"
        )
