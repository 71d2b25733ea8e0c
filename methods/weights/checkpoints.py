"""Weights in files: read without executing anything, checked against the network, described."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cdfss_bench.canonical import canonical_json, file_sha256
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import write_atomically

from ..backbones.base import Backbone
from .augreg import read_augreg
from .card import METADATA_KEY, WeightsCard, read_card
from .file_kinds import is_npz, is_safetensors, refuse_missing, unreadable
from .state_dicts import fitted, tensors_in, without_inserted
from .torch_files import load_torch

_CLASSIFIER = re.compile(r"(.*\.)?(fc|head|head\.fc|classifier(\.\d+)?|logits)\.weight")
_IMAGENET = 1000


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


def read_checkpoint(path: Path, entry: str = "") -> Checkpoint:
    """The entries of a weights file: safetensors, `torch.save`'s, or Google's `.npz`.

    The content decides, not the suffix. Containers (`state_dict`, `model`, ...) are opened, and
    parts of keys that wrappers insert (`module.`, `_orig_mod.`) are removed.

    Args:
        path: of the file.
        entry: which state dict is meant, where a file holds several.

    Raises:
        WeightsError: if the file is missing, damaged, holds anything but plain named tensors, or
            several state dicts of which none is named.
    """
    refuse_missing(path)
    card = read_card(path)
    if card is not None:
        tensors = _read_safetensors(path)  # written by us, under the network's own keys
    else:
        tensors = without_inserted(tensors_in(_read(path), path, entry), path)
    return Checkpoint(path, file_sha256(path), _as_float32(tensors, path), card)


def _read(path: Path) -> object:
    if is_safetensors(path):
        return _read_safetensors(path)
    return read_augreg(path) if is_npz(path) else load_torch(path)


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
    renames: Mapping[str, str] | None = None,
) -> list[str]:
    """Loads `tensors` into `module`, whose state-dict keys they carry.

    A prefix that all keys share and the module's do not have (`model.`, `net.`) is removed.

    Args:
        module: the network or backbone.
        tensors: by published key.
        path: for messages.
        unused: prefixes of entries that may be there and are not needed.
        optional: prefixes of entries of the module that need not be there.
        complete: whether every other entry of the module must be there.
        renames: key prefixes of the file and the module's.

    Returns:
        The entries of the file that were left out.

    Raises:
        WeightsError: for missing, foreign or misshapen entries, and for numbers of another kind or
            that are not finite; the first ones are named.
    """
    expected = module.state_dict()
    whole = not isinstance(module, Backbone)
    given = fitted(tensors, expected.keys(), path=path, renames=renames, whole=whole)
    ids = {id(tensor): name for name, tensor in given.items() if name in expected}
    left = [name for name, tensor in tensors.items() if id(tensor) not in ids]
    tensors = given
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = [
        name
        for name in expected
        if name not in tensors and name not in counters and not name.startswith(tuple(optional))
    ]
    if complete and missing:
        raise WeightsError(
            f"{path} lacks {_some(missing)}, which {type(module).__name__} needs",
            hint="use a file that holds all of the network, or another backbone (--backbone)",
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
            hint="these weights belong to another network; check --method and --backbone",
        )
    elastic = _elastic(module)
    for name, tensor in tensors.items():
        if name not in expected or (name.endswith(elastic) and tensor.ndim == expected[name].ndim):
            continue
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{path}: '{name}' is {list(tensor.shape)}, "
                f"{type(module).__name__} expects {list(expected[name].shape)}",
                hint="check --method and its options, and --backbone",
            )
    known = {name: tensor for name, tensor in tensors.items() if name in expected}
    _refuse_wrong_numbers(known, expected, path)
    try:
        module.load_state_dict({**expected, **known})
    except RuntimeError as error:  # an elastic entry has a shape that nothing can be made of
        odd = [n for n, t in known.items() if n.endswith(elastic) and t.shape != expected[n].shape]
        raise WeightsError(
            f"{path} does not fit {type(module).__name__}: nothing can be made of {_some(odd)} of "
            f"shape {list(known[odd[0]].shape)}"
            if odd
            else f"{path} does not fit {type(module).__name__}",
            hint="check --method and --backbone",
        ) from error
    return left


def load_backbone(backbone: Backbone, checkpoint: Checkpoint, renames: Mapping[str, str]) -> None:
    """Loads a pretrained file, whose key prefixes `renames` gives, into all of a backbone.

    Raises:
        WeightsError: as `load_into`.
    """
    load_into(
        backbone,
        checkpoint.tensors,
        path=checkpoint.path,
        unused=backbone.unused_keys,
        complete=True,
        renames=renames,
    )


def refuse_bare_backbone(checkpoint: Checkpoint) -> None:
    """Refuses a pretrained backbone where weights of a trained method are meant.

    A method without a head of its own would take it: all of its entries are there.

    Raises:
        WeightsError: if the file holds a classifier of ImageNet.
    """
    for name, tensor in checkpoint.tensors.items():
        if _CLASSIFIER.fullmatch(name) and tensor.ndim > 1 and len(tensor) >= _IMAGENET:
            raise WeightsError(
                f"{checkpoint.path} is a pretrained backbone and no weights of a trained method: "
                f"it holds the classifier '{name}' of {len(tensor):,} classes",
                hint="put it into a weights folder under the name that `cdfss-bench weights list` "
                "shows, and name that with --weights-dir",
            )


def _refuse_wrong_numbers(
    known: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path
) -> None:
    for name, tensor in known.items():
        if name.endswith("num_batches_tracked") or tensor.is_meta:
            continue
        wanted = expected[name]
        if tensor.dtype != wanted.dtype and (
            tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex()
        ):
            raise WeightsError(
                f"{path}: '{name}' holds {_kind(tensor)}, and {_kind(wanted)} are expected",
                hint="use the weights from before they were converted to that type",
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            if not wanted.is_meta and not bool(torch.isfinite(wanted).all()):
                continue  # a constant of the network, such as a mask of -inf
            raise WeightsError(
                f"{path}: '{name}' holds values that are not finite (NaN or infinite)",
                hint="use an earlier checkpoint of that training, or another file",
            )


def _kind(tensor: Tensor) -> str:
    return f"numbers of type {str(tensor.dtype).removeprefix('torch.')}"


def _as_float32(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    return {name: _dense(name, tensor, path) for name, tensor in tensors.items()}


def _dense(name: str, tensor: Tensor, path: Path) -> Tensor:
    what = ""
    if tensor.is_quantized or "float8" in str(tensor.dtype) or "float4" in str(tensor.dtype):
        what = "quantised"
    elif tensor.layout != torch.strided or tensor.is_nested:
        what = "sparse or ragged"
    elif tensor.is_meta:
        what = "without content (a meta tensor)"
    if what:
        raise WeightsError(
            f"{path}: '{name}' is {what}, and only plain dense tensors are read",
            hint="save the network's weights as they were before",
        )
    return tensor.detach().float() if tensor.is_floating_point() else tensor


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
        raise unreadable(path, "safetensors") from error
