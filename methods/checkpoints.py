"""Weights in files: read without executing anything, checked against the network, described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cdfss_bench.canonical import canonical_json, file_sha256
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import write_atomically

from .augreg import read_augreg
from .weights_card import METADATA_KEY, WeightsCard, read_card


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weights file in memory.

    Attributes:
        path: of the file.
        sha256: of the file.
        tensors: state-dict entries, float32.
        card: what it says of itself; None for a file of somebody else.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    card: WeightsCard | None


def read_checkpoint(path: Path) -> Checkpoint:
    """A `.safetensors` file, a published `.pt`/`.pth` read with `weights_only`, or Google's `.npz`.

    `module.` prefixes of DataParallel are removed; a dictionary that holds the state dict under
    `state_dict` or `model` is opened.

    Raises:
        WeightsError: if the file is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist")
    readers = {".safetensors": _read_safetensors, ".npz": read_augreg}
    tensors = readers.get(path.suffix, _read_published)(path)
    floats = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    return Checkpoint(path, file_sha256(path), floats, read_card(path))


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], card: WeightsCard) -> None:
    """Writes a safetensors file with `card` in its header, whole or not at all.

    Raises:
        UserError: if the disk is full or the folder may not be written.
    """
    header = {METADATA_KEY: canonical_json(card.model_dump(exclude_defaults=True))}
    data = save({name: t.detach().contiguous() for name, t in tensors.items()}, header)
    write_atomically(path, data)


def load_into(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    path: Path,
    unused: Sequence[str] = (),
    optional: Sequence[str] = (),
    complete: bool,
) -> None:
    """Loads `tensors` into `module`, whose state-dict keys they carry.

    Args:
        module: the network or backbone.
        tensors: by published key.
        path: for messages.
        unused: prefixes of entries that may be there and are not needed.
        optional: prefixes of entries of the module that need not be there.
        complete: whether every other entry of the module must be there.

    Raises:
        WeightsError: for missing, foreign or misshapen entries; the first ones are named.
    """
    expected = module.state_dict()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = [
        name
        for name in expected
        if name not in tensors and name not in counters and not name.startswith(tuple(optional))
    ]
    if complete and missing:
        raise WeightsError(
            f"{path} lacks {_some(missing)}, which {type(module).__name__} needs",
            mend="use a file that holds all of the network, or another backbone (--backbone)",
        )
    foreign = [
        name
        for name in tensors
        if name not in expected
        and not any(name.startswith(prefix) for prefix in unused)
        and not name.endswith("num_batches_tracked")
    ]
    if foreign:
        raise WeightsError(
            f"{path} holds {_some(foreign)}, which {type(module).__name__} does not have",
            mend="these weights belong to another network; check --method and --backbone",
        )
    elastic = _elastic(module)
    for name, tensor in tensors.items():
        if name not in expected or (name.endswith(elastic) and tensor.ndim == expected[name].ndim):
            continue
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{path}: '{name}' is {list(tensor.shape)}, "
                f"{type(module).__name__} expects {list(expected[name].shape)}"
            )
    known = {name: tensor for name, tensor in tensors.items() if name in expected}
    try:
        module.load_state_dict({**expected, **known})
    except RuntimeError as error:  # an elastic entry has a shape that nothing can be made of
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path} does not fit {type(module).__name__}: {problem}") from error


def renamed(tensors: Mapping[str, Tensor], renames: Mapping[str, str]) -> dict[str, Tensor]:
    """`tensors` with key prefixes replaced."""

    def changed(name: str) -> str:
        for old, new in renames.items():
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    return {changed(name): tensor for name, tensor in tensors.items()}


def _elastic(module: nn.Module) -> tuple[str, ...]:
    """Last names of the entries that may have another shape in a file."""
    return tuple(name for part in module.modules() for name in getattr(part, "elastic", ()))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown + (f" and {len(names) - 3} more entries" if len(names) > 3 else "")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            return {name: file.get_tensor(name) for name in file.keys()}  # pyright: ignore  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error})") from error


def _read_published(path: Path) -> dict[str, Tensor]:
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in the unpickler in any of a dozen ways
        raise WeightsError(
            f"{path} is not a checkpoint that can be read safely "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            mend="only files with plain tensors are opened; nothing in them is ever executed",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(cast("Any", loaded).get(key), dict):
            loaded = cast("dict[str, object]", loaded)[key]
    entries = cast("dict[object, object]", loaded) if isinstance(loaded, dict) else {}
    tensors = {
        name.removeprefix("module."): value
        for name, value in entries.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors, so it is not a checkpoint")
    return tensors
