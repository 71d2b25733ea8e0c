"""An interrupted training on disk: one safetensors file, whole or not at all, never unpickled.

It holds parameters and buffers, the optimiser's tensors, the parameters' moving average, what a
method remembers besides, and the best weights so far where weights are selected; its header holds
the step and the training's card as JSON. Generators and rates need no place: every step's are
derived from the step's number.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cdfss_bench import plain_json
from cdfss_bench.canonical import canonical_json
from cdfss_bench.cards import validated
from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.files import write_atomically
from cdfss_bench.methods.weights.card import WeightsCard

_KEY = "cdfss-bench-training"
_FOLLOWS = ("episodes", "score", "curve", "deviations", "command", "versions", "origin")
"""What a card says of the result or of the machine: no part of which training it is."""


@runtime_checkable
class Remembering(Protocol):
    """A method that keeps more than parameters and buffers from step to step."""

    def training_state(self) -> dict[str, Tensor]:
        """All of it, by name."""
        ...

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `training_state` gave."""
        ...


@dataclass(slots=True)
class Best:
    """The weights that a selection rule prefers so far.

    Attributes:
        score: mIoU in percent.
        step: after which they were reached.
        tensors: the learned entries; empty before the first validation.
    """

    score: float = float("-inf")
    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=lambda: {})


def save_state(
    path: Path,
    card: WeightsCard,
    *,
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
    best: Best,
) -> None:
    """Writes the state after `step` steps.

    Raises:
        UserError: if the disk is full or the folder may not be written; the older state survives.
    """
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    if average is not None:
        tensors |= {f"average.{k}": tensor for k, tensor in average.state_dict().items()}
    if isinstance(network, Remembering):
        tensors |= {f"memory.{k}": tensor for k, tensor in network.training_state().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.tensors.items()}
    header = {
        "step": step,
        "card": card.model_dump(exclude_defaults=True),
        "best": [best.score, best.step] if best.tensors else None,
    }
    # Entries that share memory are stored each by itself.
    plain = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    write_atomically(path, save(plain, {_KEY: canonical_json(header)}))


def load_state(
    path: Path,
    card: WeightsCard,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> tuple[int, Best]:
    """Puts a stored state into what is trained; the steps done, and the best so far.

    Raises:
        WeightsError: if the file is damaged.
        UserError: if it belongs to another training; what differs is shown.
    """
    header, tensors = _read(path)
    stored = validated(WeightsCard, header.get("card", {}), path)
    refuse_changed(stored, card, path, "was begun")
    network.load_state_dict(dict(_under(tensors, "network")))
    _load_optimizer(optimizer, dict(_under(tensors, "optimizer")))
    if average is not None:
        average.load_state_dict(dict(_under(tensors, "average")))
    if isinstance(network, Remembering):
        network.load_training_state(dict(_under(tensors, "memory")))
    score, at = header.get("best") or (float("-inf"), 0)
    return int(header["step"]), Best(score, at, dict(_under(tensors, "best")))


def stored_seed(path: Path) -> int | None:
    """The seed of the training whose state lies at `path`; None where there is none."""
    if not path.is_file():
        return None
    header, _ = _read(path, with_tensors=False)
    return validated(WeightsCard, header.get("card", {}), path).seed


def refuse_changed(stored: WeightsCard, wanted: WeightsCard, path: Path, verb: str) -> None:
    """Compares two trainings in all that decides the weights.

    Raises:
        UserError: with every difference.
    """
    changed = differences(_identity(stored), _identity(wanted))
    if changed:
        raise UserError(
            f"{path} {verb} with another recipe: {'; '.join(changed)}",
            hint="type what it was begun with, name another folder (-o), or discard it (--fresh)",
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`recipe.lr was 0.001, is 0.01`, for every entry that differs."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            inner = (cast("dict[str, Any]", before), cast("dict[str, Any]", now))
            found += differences(*inner, f"{prefix}{key}.")
        elif before != now:
            found.append(f"{prefix}{key} was {_short(before)}, is {_short(now)}")
    return found


def _identity(card: WeightsCard) -> dict[str, Any]:
    values = json.loads(canonical_json(card.model_dump()))
    kept = {key: value for key, value in values.items() if key not in _FOLLOWS}
    kept["source"] = {k: v for k, v in card.source.items() if k != "episodes_sha256"}
    return kept


def _short(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}..."


def _under(tensors: Mapping[str, Tensor], part: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if name.startswith(f"{part}."):
            yield name.removeprefix(f"{part}."), tensor


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _read(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata = cast("dict[str, str]", file.metadata() or {})
            names = list(file.keys()) if with_tensors else []
            tensors = {name: file.get_tensor(name) for name in names}
        header: object = plain_json.loads(metadata[_KEY])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} is not the state of a training ({error})",
            hint="remove it, or begin anew with --fresh",
        ) from error
    if not isinstance(header, dict) or "step" not in header:
        raise WeightsError(f"{path} does not say how far the training was")
    return cast("dict[str, Any]", header), tensors
