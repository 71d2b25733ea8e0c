"""The network's entries in whatever a checkpoint wraps around them: containers and key prefixes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cdfss_bench.errors import WeightsError

INSERTED = frozenset(
    ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
)
"""Parts of keys that wrappers put anywhere: DataParallel, `torch.compile`, FSDP, Lightning."""

_BESIDE = re.compile(
    r"(.*_)?(optimi[sz]ers?|optims?|opt|schedulers?|lr_sched|grad_scaler|scaler|amp|rng|criterion|"
    r"loss|losses|metrics?|callbacks|hyper_parameters|hparams|config|cfg|args|loops|history|meters|"
    r"logger|stats)(_states?|_state_dict|_dict|_\d+)?|.*_extra_state",
    re.IGNORECASE,
)
"""Names in a file of what stands beside the network and may hold tensors too."""

_EXTRA = re.compile(
    r"(\w*_)?(criterion|criteria|loss|losses|loss_fn|loss_func|loss_fct|metrics?)(\..*)?"
    r"|(\w+\.)?(n_averaged|num_updates|decay|rng_state|epoch|step|global_step|pixel_mean|pixel_std)"
)
"""Keys beside the network's in one flat state dict."""

_BACKBONE_PARTS = ("backbone", "encoder")
_DEEPEST = 4
_TOP = "."


def tensors_in(loaded: object, path: Path, entry: str = "") -> dict[str, Tensor]:
    """The one state dict in what a file holds.

    Args:
        loaded: as it was read.
        path: for messages.
        entry: which one, where there are several: its name as the refusal gives it, or the prefix
            that its keys share.

    Raises:
        WeightsError: if there is none, or several of which none is named.
    """
    found = dict(_state_dicts(loaded, "", everything=False))
    if not found:
        found = dict(_state_dicts(loaded, "", everything=True))
    if entry:
        return _named(found, entry, path)
    if not found:
        if _holds_optimizer(loaded):
            raise WeightsError(
                f"{path} holds the state of an optimiser and no weights",
                hint="name the file in which the network was saved",
            )
        raise WeightsError(
            f"{path} holds no named tensors, so it is not a checkpoint",
            hint="name a file with the network's state dict, as torch.save writes it",
        )
    first, *others = found.values()
    if any(not _same(first, other) for other in others):
        raise WeightsError(
            f"{path} holds several sets of weights: {_quoted(list(found))}",
            hint=_which(path, next(iter(found))),
        )
    return first


def without_inserted(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """`tensors` without the parts of keys that wrappers insert.

    Raises:
        WeightsError: if two keys become the same.
    """
    origin: dict[str, str] = {}
    for name in tensors:
        plain = _plain(name)
        if plain in origin:
            raise WeightsError(
                f"{path} holds both '{origin[plain]}' and '{name}', which mean the same entry",
                hint="save the network once, with or without its wrapper",
            )
        origin[plain] = name
    return {plain: tensors[name] for plain, name in origin.items()}


def fitted(
    tensors: Mapping[str, Tensor],
    expected: Collection[str],
    *,
    path: Path,
    renames: Mapping[str, str] | None = None,
    whole: bool = True,
) -> dict[str, Tensor]:
    """`tensors` under the keys of a network, where a prefix that all of them share hides these.

    What stands beside a network in a state dict (a loss with weights, a counter) is left out. What
    fits in no way is given back as it is.

    Args:
        tensors: of the file.
        expected: keys of the network.
        path: for messages.
        renames: key prefixes of the file and the network's.
        whole: whether the network is more than a backbone, so that a prefix `backbone.` is part of
            a key and no wrapper.

    Raises:
        WeightsError: if the network's keys stand under one of several prefixes.
    """
    own = {_plain(name): name for name in expected}

    def known(names: Mapping[str, Tensor]) -> dict[str, Tensor]:
        changed = renamed(names, renames or {})
        return {n if n in expected else own.get(n, n): t for n, t in changed.items()}

    def fits(names: Mapping[str, Tensor]) -> int:
        return sum(name in expected for name in known(names))

    kept = {n: t for n, t in tensors.items() if n in expected or not _EXTRA.fullmatch(n)}
    best, score = kept, fits(kept)
    for prefix in _shared(list(kept)):
        if whole and prefix.split(".")[-2] in _BACKBONE_PARTS:
            break
        inner = _under(kept, prefix)
        if fits(inner) > score:
            best, score = inner, fits(inner)
    if 2 * score < len(expected):
        _refuse_several(
            {
                prefix: fits(_under(kept, prefix))
                for prefix in _roots(kept)
                if not (whole and prefix[:-1] in _BACKBONE_PARTS)
            },
            len(expected),
            path,
        )
    return known(best)


def renamed(tensors: Mapping[str, Tensor], renames: Mapping[str, str]) -> dict[str, Tensor]:
    """`tensors` with key prefixes replaced."""

    def changed(name: str) -> str:
        for old, new in renames.items():
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    return {changed(name): tensor for name, tensor in tensors.items()}


def _state_dicts(
    value: object, name: str, *, everything: bool, depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping with named tensors in `value`, by its name, outermost first."""
    if depth > _DEEPEST or _is_optimizer(value):
        return
    if isinstance(value, list | tuple):
        items = [(str(i), one) for i, one in enumerate(cast("Sequence[object]", value))]
        direct: dict[str, Tensor] = {}
    elif isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        items = [(key, one) for key, one in mapping.items() if isinstance(key, str)]
        direct = {key: one for key, one in items if isinstance(one, Tensor)}
    else:
        return
    inner = [
        found
        for key, one in items
        if everything or not _BESIDE.fullmatch(key)
        for found in _state_dicts(
            one, f"{name}.{key}" if name else key, everything=everything, depth=depth + 1
        )
    ]
    # Beside state dicts stand single tensors: an epoch, a best score, a generator's state.
    dotted = {key: t for key, t in direct.items() if "." in key}
    if direct and (dotted or not inner):
        yield name or _TOP, direct
    yield from inner


def _named(found: Mapping[str, dict[str, Tensor]], entry: str, path: Path) -> dict[str, Tensor]:
    if entry in found:
        return found[entry]
    prefix = entry.removesuffix(".") + "."
    below = [_under(t, prefix) for t in found.values() if any(n.startswith(prefix) for n in t)]
    if len(below) == 1:
        return below[0]
    roots = [prefix[:-1] for tensors in found.values() for prefix in _roots(tensors)]
    raise WeightsError(
        f"{path} holds no weights called '{entry}'"
        if not below
        else f"{path} holds '{entry}' more than once",
        hint=f"it holds {_quoted([*found, *roots])}",
    )


def _refuse_several(scores: Mapping[str, int], wanted: int, path: Path) -> None:
    """Says where the network's keys stand, if under one prefix of several."""
    fitting = [prefix[:-1] for prefix, score in scores.items() if 2 * score >= wanted]
    others = [prefix[:-1] for prefix in scores if prefix[:-1] not in fitting]
    if not fitting:
        return
    what = (
        f"the network under {_quoted(fitting)}"
        if len(fitting) > 1
        else f"the network under '{fitting[0]}' and more under {_quoted(others)}"
    )
    raise WeightsError(f"{path} holds {what}", hint=_which(path, fitting[0]))


def _shared(names: Sequence[str]) -> Iterator[str]:
    """Prefixes that all keys share, `model.`, `model.net.`, ..., shortest first."""
    if not names:
        return
    parts = [name.split(".") for name in names]
    for length in range(1, min(map(len, parts))):
        prefix = parts[0][:length]
        if any(part[:length] != prefix for part in parts):
            return
        yield ".".join(prefix) + "."


def _roots(names: Collection[str]) -> list[str]:
    """First parts of keys, each with its dot."""
    return list(dict.fromkeys(name.partition(".")[0] + "." for name in names if "." in name))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in INSERTED) or name


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    if one.keys() != other.keys():
        return False
    pairs = [(one[name], other[name]) for name in one]
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def _is_optimizer(value: object) -> bool:
    return isinstance(value, Mapping) and {"state", "param_groups"} <= set(cast("Any", value))


def _holds_optimizer(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    inner = cast("Mapping[object, object]", value).values()
    return _is_optimizer(value) or any(_is_optimizer(one) for one in inner)


def _which(path: Path, name: str) -> str:
    return (
        f"say which: cdfss-bench weights convert {path} -m METHOD --backbone BACKBONE "
        f"--entry {name}, then run with the file that it writes"
    )


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
