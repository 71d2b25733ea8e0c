"""What a method costs: parameters, operations, milliseconds, on a fixed probe."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from cdfss_bench.methods.base import Method

from .records import CostPart

PROBE = "seeded noise, centred disc as mask"

_MIN_RUNS, _MAX_RUNS, _LATENCY_MS = 3, 30, 300.0

# Operations that move or compare data, or cost one operation per element: the field counts none.
_FREE = (
    "view", "reshape", "permute", "transpose", "expand", "slice", "select", "cat", "stack",
    "clone", "copy", "detach", "alias", "unsqueeze", "squeeze", "index", "gather", "scatter",
    "split", "to_copy", "empty", "zeros", "ones", "full", "arange", "fill", "lift", "as_strided",
    "add", "sub", "mul", "div", "relu", "clamp", "maximum", "minimum", "gt", "ge", "lt", "le",
    "eq", "ne", "logical", "bitwise", "where", "any", "all", "sum", "mean", "amax", "amin", "exp",
    "sqrt", "rsqrt", "neg", "abs", "sigmoid", "log", "pow", "item", "local_scalar", "hardtanh",
    "unbind", "repeat", "t.default", "unsafe", "pixel", "roll", "flip", "new_", "scalar_tensor",
)  # fmt: skip


def _attention(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_rest: Any, **_more: Any
) -> int:
    """FLOPs of scaled dot-product attention from the shapes [N, heads, tokens, width]."""
    batch, heads, tokens, width = query
    return 2 * batch * heads * tokens * key[2] * (width + value[3])


# torch counts the attention kernels of accelerators, and not the one of CPUs.
_OURS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


class _Uncounted(TorchDispatchMode):
    """Names the operations that cost something and that the counter has no formula for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Lets the operation through."""
        name = str(func).removeprefix("aten.")
        packet = getattr(func, "_overloadpacket", None)
        is_counted = packet in flop_registry or packet in _OURS
        if not is_counted and not name.lstrip("_").startswith(_FREE):
            self.names.add(name.partition(".")[0])
        return func(*args, **(kwargs or {}))


def probe(shots: int, size: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """A query [1, 3, S, S], supports [1, K, 3, S, S] and masks [1, K, S, S], always the same.

    The work of some methods depends on the data (how many pixels SSP finds confident); a fixed
    probe makes the figures comparable and the gate exact.
    """
    rng = torch.Generator().manual_seed(0)
    query = torch.randn((1, 3, size, size), generator=rng)
    supports = torch.randn((1, shots, 3, size, size), generator=rng)
    axis = (torch.arange(size) + 0.5) / size - 0.5
    disc = (axis[:, None] ** 2 + axis[None] ** 2 <= 0.09).to(torch.uint8)
    masks = disc.expand(1, shots, size, size).contiguous()
    return query.to(device), supports.to(device), masks.to(device)


def cost_of(method: Method, *, shots: int, size: int, device: str) -> CostPart:
    """Parameters, FLOPs (2 per multiply-add) and latencies of `method`, batch 1.

    Args:
        method: in eval mode. Its operations are counted in the plain form, whose number does not
            depend on the masks; time is taken of the form that runs (`Method.swift`).
        shots: supports per episode.
        size: side of the images in pixels.
        device: where the latencies are taken.
    """
    # Not inference mode: there operations are seen before they are taken apart and counted.
    with torch.no_grad():
        plain = _Work(method, probe(shots, size, device))
        flops_encode, missed_encode = flops_of(plain.encode)
        flops_match, missed_match = flops_of(plain.match)
        swift = _Work(method.swift(device), probe(shots, size, device))
        latency = {
            name: _latency(work, device)
            for name, work in {
                "encode": swift.encode,
                "match": swift.match,
                "episode": swift.episode,
            }.items()
        }
    encodings = (1 + shots) * (2 if method.adapts_encoder else 1)
    flops_adapt, missed_adapt = 0, set[str]()
    if method.adaptation != "none":
        # Tens of steps of forward and backward: the counted run warms up, one more is timed.
        flops_adapt, missed_adapt = flops_of(plain.adapt)
        spent = round(_once(swift.adapt, device), 3)
        latency["adapt"] = dict.fromkeys(("p50", "p90", "p99"), spent)
        latency["episode"] = {q: round(ms + spent, 3) for q, ms in latency["episode"].items()}
    return CostPart(
        params=sum(parameter.numel() for parameter in method.parameters()),
        flops_encode=flops_encode,
        flops_match=flops_match,
        flops_adapt=flops_adapt,
        flops_episode=flops_encode * encodings + flops_adapt + flops_match,
        uncounted=sorted(missed_encode | missed_match | missed_adapt),
        probe=f"{PROBE}, {size}x{size}, {shots}-shot",
        latency_ms=latency,
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        peak_memory_mb=_peak_memory(device),
    )


class _Work:
    """An episode in parts, each from features that are already there."""

    def __init__(self, method: Method, asked: tuple[Tensor, Tensor, Tensor]):
        self._method, self._asked = method, asked
        query, supports, _ = asked
        self._query, self._support = method.encode(query), method.encode(supports[0])

    def encode(self) -> object:
        return self._method.encode(self._asked[0])

    def match(self) -> object:
        logits = self._method.match(self._query, self._support, self._asked[2])
        return self._method.decide(logits, self._query.size)

    def episode(self) -> object:
        return self._method.predict(*self._asked)

    def adapt(self) -> object:
        shown = self._query if self._method.adaptation == "transductive" else None
        rng = torch.Generator().manual_seed(0)
        return self._method.adapt_encoded(self._support, self._asked[2][0], rng=rng, query=shown)


def flops_of(work: Callable[[], object]) -> tuple[int, set[str]]:
    """FLOPs of `work`, attention included on every device, and the operations not counted."""
    counter, uncounted = FlopCounterMode(display=False, custom_mapping=_OURS), _Uncounted()
    with counter, uncounted:
        work()
    return int(counter.get_total_flops()), uncounted.names


def _latency(work: Callable[[], object], device: str) -> dict[str, float]:
    """Percentiles of at least 3 runs after a warm-up, more where they are short."""
    _once(work, device)
    times: list[float] = []
    while len(times) < _MIN_RUNS or (sum(times) < _LATENCY_MS and len(times) < _MAX_RUNS):
        times.append(_once(work, device))
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    return {"p50": round(float(p50), 3), "p90": round(float(p90), 3), "p99": round(float(p99), 3)}


def _once(work: Callable[[], object], device: str) -> float:
    """Milliseconds of one run."""
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - began)


def _peak_memory(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
