"""Weights in files: read without executing anything, checked against the network, described."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cdfss_bench.canonical import canonical_json, file_sha256
from cdfss_bench.cards import Card, validated
from cdfss_bench.errors import WeightsError
from cdfss_bench.files import write_atomically

Selection = Literal["last", "source-val", "target-oracle", "unknown"]

_METADATA_KEY = "cdfss-bench"


class WeightsCard(Card):
    """What a checkpoint says of itself; it stands in the file's header.

    Attributes:
        trained_as: the composition that was trained, score plug-ins left out.
        backbone: name of the backbone.
        selection: how this checkpoint was chosen among all of its training.
        base: sha256 of the pretrained backbone file under it; entries that training did not
            touch are not stored again.
        source: domain, fingerprint and episodes' sha256 of the source data.
        recipe: the training recipe, resolved.
        seed: of the training.
        episodes: seen in training.
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
    seed: int | None = None
    episodes: int | None = None
    code: str = ""
    command: str = ""
    origin: str = ""
    versions: dict[str, str] = Field(default_factory=dict)


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


def read_card(path: Path) -> WeightsCard | None:
    """The card in the header of a safetensors file, without reading its tensors.

    Raises:
        WeightsError: if the file is damaged.
        UserError: if the header's card does not fit the schema.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata = cast("dict[str, str]", file.metadata() or {})  # pyright: ignore[reportUnknownMemberType]
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error})") from error
    if _METADATA_KEY not in metadata:
        return None
    try:
        values = json.loads(metadata[_METADATA_KEY])
    except ValueError as error:
        raise WeightsError(f"{path}: the card in its header is not JSON") from error
    return validated(WeightsCard, values, path)


def read_checkpoint(path: Path) -> Checkpoint:
    """A `.safetensors` file, or a published `.pt`/`.pth` read with `weights_only`.

    `module.` prefixes of DataParallel are removed; a dictionary that holds the state dict under
    `state_dict` or `model` is opened.

    Raises:
        WeightsError: if the file is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_published(path)
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
    header = {_METADATA_KEY: canonical_json(card.model_dump(exclude_defaults=True))}
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
    free = set(_names_of_free_size(module))
    for name, tensor in tensors.items():
        if name not in expected:
            continue
        given, wanted = tensor.shape, expected[name].shape
        if given != wanted and not (
            name in free and len(given) == len(wanted) and given[:2] == wanted[:2]
        ):
            raise WeightsError(
                f"{path}: '{name}' is {list(given)}, {type(module).__name__} expects {list(wanted)}"
            )
    known = {name: tensor for name, tensor in tensors.items() if name in expected}
    module.load_state_dict({**expected, **known})


def _names_of_free_size(module: nn.Module) -> Iterator[str]:
    """Maps [N, C, h, w] whose module takes over the h and w that it is given (`free_size`)."""
    for prefix, part in module.named_modules():
        for name in getattr(part, "free_size", ()):
            yield f"{prefix}.{name}" if prefix else name


def renamed(tensors: Mapping[str, Tensor], renames: Mapping[str, str]) -> dict[str, Tensor]:
    """`tensors` with key prefixes replaced."""

    def changed(name: str) -> str:
        for old, new in renames.items():
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    return {changed(name): tensor for name, tensor in tensors.items()}


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
