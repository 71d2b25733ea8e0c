"""How a training is gone about, where it writes, and what it tells of a step."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from cdfss_bench.errors import RecordError
from cdfss_bench.files import explained_os_errors

from .validation import JsonLines, Targets


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step did.

    Attributes:
        number: from 1.
        total: steps in all.
        loss: the objective; None where the method only looked at the batch.
        terms: each unweighted term of it.
        validation: the latest mIoU on held-out source episodes; None before the first.
    """

    number: int
    total: int
    loss: float | None
    terms: dict[str, float]
    validation: float | None = None


@dataclass(frozen=True, slots=True)
class Conduct:
    """How to go about it; nothing here changes the weights, an oracle's targets apart.

    Attributes:
        workers: threads that decode ahead.
        save_every: steps between two states on disk.
        targets: where the diagnostic curve is measured, if it is.
        listener: told of every step.
        fresh: whether what an earlier training left is discarded.
        tensorboard: whether the log is written for TensorBoard too.
        wandb: whether W&B is told too.
        memory: bytes of features that are kept, where a frozen backbone's are (`Recipe.folded`).
    """

    workers: int = 2
    save_every: int = 500
    targets: Targets | None = None
    listener: Callable[[Step], None] | None = None
    fresh: bool = False
    tensorboard: bool = False
    wandb: bool = False
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Files:
    """Where a training writes, all beside its weights.

    Attributes:
        weights: what `run` loads.
        state: of an unfinished training.
        log: JSON lines with loss, rate and source-validation mIoU.
        curve: JSON lines with mIoU on the targets.
        scalars: a folder with both for TensorBoard.
        wandb: a folder with both for W&B.
    """

    weights: Path

    @property
    def state(self) -> Path:
        """The state of an unfinished training."""
        return self.weights.with_suffix(".training")

    @property
    def log(self) -> JsonLines:
        """What happened."""
        return JsonLines(self.weights.with_suffix(".log.jsonl"))

    @property
    def curve(self) -> JsonLines:
        """The diagnosis on the targets."""
        return JsonLines(self.weights.with_suffix(".curve.jsonl"))

    @property
    def scalars(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.weights.with_suffix(".tensorboard")

    @property
    def wandb(self) -> Path:
        """The folder of W&B's files."""
        return self.weights.with_suffix(".wandb")

    def lock(self) -> AbstractContextManager[object]:
        """The right to write here.

        Raises:
            RecordError: if another process trains into the same file.
        """
        with explained_os_errors(self.weights, "creating the folder of the weights"):
            self.weights.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.weights.parent / f".{self.weights.stem}.lock", timeout=0)
            try:
                return lock.acquire()
            except Timeout as error:
                raise RecordError(f"another process is training {self.weights}") from error
