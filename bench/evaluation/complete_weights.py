"""Methods with weights files that hold all that training makes."""

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from safetensors import safe_open

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.checkpoints import read_checkpoint
from cdfss_bench.methods.weights.resolve import Weights

from .prediction import load_method


def load_complete(
    composition: Composition, weights: Weights, *, precision: Precision = "fp32"
) -> Method:
    """`load_method`, where a file of `train` holds every parameter of the method's own.

    On top of a backbone's file it holds only what training changed; a part that it lacked would be
    as constructed, which is at random.

    Raises:
        WeightsError: if a file does not fit, lacks a part, or holds nothing but zeros.
    """
    files = [path for path in (weights.pretrained, weights.checkpoint) if path is not None]
    with quoting(*files):
        network = load_method(composition, weights, precision=precision)
        for path in files:
            _refuse_zeros(path)
    if weights.checkpoint is None or weights.card is None or not weights.card.base:
        return network
    with safe_open(weights.checkpoint, "np") as file:  # pyright: ignore[reportUnknownVariableType]
        held = {str(name) for name in file.keys()}  # pyright: ignore  # noqa: SIM118
    own = {id(parameter) for parameter in network.head()}
    lacking = [
        name
        for name, parameter in network.state_dict(keep_vars=True).items()
        if id(parameter) in own
        and name not in held
        and not name.startswith(network.keys_without_training)
    ]
    if lacking or not held:
        more = f" and {len(lacking) - 1} more entries" if len(lacking) > 1 else ""
        what = f"'{lacking[0]}'{more}, which training makes" if lacking else "all weights"
        raise WeightsError(
            f"{weights.checkpoint} lacks {what}", hint="use the file as `train` wrote it"
        )
    return network


@contextmanager
def quoting(*files: Path) -> Generator[None]:
    """Put the names of files in quotes where the hint of an error is a command with them."""
    try:
        yield
    except WeightsError as error:
        hint = error.hint
        for path in files:
            hint = hint and hint.replace(f" {path} -", f" {shlex.quote(str(path))} -")
        error.reword(error.problem, hint)
        raise


def _refuse_zeros(path: Path) -> None:
    """Refuse a file that some program began and never filled.

    A network of zeros gives the same mask everywhere, which looks like a number of a method.
    """
    stat = path.stat()
    if _is_zero(path, stat.st_size, stat.st_mtime_ns):
        raise WeightsError(
            f"{path} holds nothing but zeros: no training wrote it",
            hint="take another file, or write this one again",
        )


@lru_cache(maxsize=64)
def _is_zero(path: Path, _size: int, _changed: int) -> bool:
    # Biases and statistics may be zeros.
    tensors = read_checkpoint(path).tensors.values()
    kernels = [tensor for tensor in tensors if tensor.ndim > 1]
    return bool(kernels) and not any(bool(tensor.any()) for tensor in kernels)
