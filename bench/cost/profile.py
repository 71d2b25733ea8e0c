"""What a method costs: parameters, operations, milliseconds, memory, on a fixed probe."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cdfss_bench.methods.core.contract import SupportState
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.published_work import published_work
from cdfss_bench.methods.fast.forms import FastForm

from ..records.schema import BatchPart, CostPart
from ..runtime.accelerator import accelerator
from .flops import Operations, operations_of, summed
from .latency import (
    Latency,
    OwnTime,
    added,
    at_most,
    best_batch,
    episodes_per_second,
    fitting,
    latency,
    single,
)

PROBE = "seeded noise, centred disc as mask"
_COUNTED_FOR = "cuda"
"""The device of whose form the operations are counted, on whatever device there is."""


def probe(
    shots: int, size: int, device: str, *, episodes: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """A query [B, 3, S, S], supports [B, K, 3, S, S] and masks [B, K, S, S], always the same.

    The work of some methods depends on the data (how many pixels SSP finds confident); a fixed
    probe makes the figures comparable and the gate exact.
    """
    rng = torch.Generator().manual_seed(0)
    query = torch.randn((1, 3, size, size), generator=rng)
    supports = torch.randn((1, shots, 3, size, size), generator=rng)
    axis = (torch.arange(size) + 0.5) / size - 0.5
    disc = (axis[:, None] ** 2 + axis[None] ** 2 <= 0.09).to(torch.uint8)
    masks = disc.expand(1, shots, size, size).contiguous()
    query, supports, masks = (
        tensor.repeat_interleave(episodes, 0).to(device) for tensor in (query, supports, masks)
    )
    return query, supports, masks


def flops_of(work: Callable[[], object]) -> tuple[int, frozenset[str]]:
    """FLOPs of `work` without its Fourier transforms, and the operations not counted."""
    found = operations_of(work)
    return found.flops, found.uncounted


def cost_of(method: Method, *, shots: int, size: int, device: str) -> CostPart:
    """Parameters, FLOPs (2 per multiply-add), latencies and memory of `method`.

    Args:
        method: is brought to the device. Its operations are counted on the CPU, so that they are
            the same wherever the times are taken, in the form for accelerators, whose number does
            not depend on the masks; time is taken of the form that runs on the device
            (`Method.optimized_for`).
        shots: supports per episode.
        size: side of the images in pixels.
        device: where the latencies are taken. On a CPU episodes are taken one by one, as `run`
            does; on an accelerator the batch with the most episodes per second is found too.
    """
    method = method.cpu().eval()
    with torch.no_grad():
        counts = _counted(_counted_form(method), probe(shots, size, "cpu"))
        method = method.to(device)
        with OwnTime() as own:
            timed = _timed(method, shots, size, device)
    encodings = (1 + shots) * (2 if method.adapts_encoder else 1)
    whole = summed([(encodings, counts.encode), (1, counts.match), (1, counts.adapt)])
    per_support = counts.encode_support.flops // shots
    module = accelerator(device)
    return CostPart(
        params=sum(parameter.numel() for parameter in method.parameters()),
        flops_encode=counts.encode.flops,
        flops_match=counts.match.flops,
        flops_adapt=counts.adapt.flops,
        flops_episode=whole.flops,
        flops_query=counts.encode.flops + counts.match.flops - shots * per_support,
        flops_support=counts.encode.flops + per_support,
        flops_fft=whole.fft,
        flops_published=counts.published,
        uncounted=sorted(whole.uncounted),
        probe=f"{PROBE}, {size}x{size}, {shots}-shot",
        latency_ms=timed.latency_ms,
        best_batch=timed.best_batch,
        device="cpu" if module is None else module.get_device_name(device),
        threads=torch.get_num_threads() if module is None else 0,
        cpu_share=own.share if module is None else None,
        peak_memory_mb=timed.peak_memory_mb,
    )


class _Work:
    """Episodes in parts, each from features that are already there."""

    def __init__(self, method: Method, asked: tuple[Tensor, Tensor, Tensor]):
        self._method, self._asked = method, asked
        query, supports, self.masks = asked
        self.query, self.support = method.encode(query), method.encode(supports.flatten(0, 1))

    def encode(self) -> object:
        return self._method.encode(self._asked[0])

    def encode_support(self) -> Sequence[SupportState]:
        return self._method.encode_support(self.support, self.masks.flatten(0, 1))

    def score(self, states: Sequence[SupportState]) -> object:
        logits = self._method.match_states(self.query, states, shots=self.masks.shape[1])
        return self._method.decide(logits, self.query.size)

    def match(self) -> object:
        return self.score(self.encode_support())

    def episode(self) -> object:
        return self._method.predict(*self._asked)

    def adapt(self) -> object:
        shown = self.query if self._method.adaptation == "transductive" else None
        rng = torch.Generator().manual_seed(0)
        return self._method.adapt_encoded(self.support, self.masks[0], rng=rng, query=shown)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of one episode; `encode_support` of all its supports, and part of `match`."""

    encode: Operations
    encode_support: Operations
    match: Operations
    adapt: Operations
    published: int | None


def _counted_form(method: Method) -> Method:
    form = method.optimized_for(_COUNTED_FOR)
    return method if isinstance(form, FastForm) and not form.counted else form


def _counted(method: Method, asked: tuple[Tensor, Tensor, Tensor]) -> _Counts:
    work = _Work(method, asked)
    encode, encode_support = operations_of(work.encode), operations_of(work.encode_support)
    states = work.encode_support()
    match = summed([(1, encode_support), (1, operations_of(lambda: work.score(states)))])
    learns = method.adaptation != "none"
    adapt = operations_of(work.adapt) if learns else Operations(0, 0, frozenset())
    return _Counts(encode, encode_support, match, adapt, _published(method, work, encode, match))


def _published(method: Method, work: _Work, encode: Operations, match: Operations) -> int | None:
    """FLOPs of the episode as the published code does it; None where that is not known."""
    masks = work.masks[0]
    found = published_work(method, work.query, work.support, masks)
    if found is None:
        return None
    times, shots = (len(masks), 1) if found.shot_by_shot else (1, len(masks))
    matched = match.flops
    if times > 1:
        matched = flops_of(lambda: method.match(work.query, work.support[:1], masks[None, :1]))[0]
    ours = flops_of(found.replaced)[0] if found.replaced else 0
    return times * ((1 + shots) * encode.flops + matched - ours + found.operations)


@dataclass(frozen=True, slots=True)
class _Timed:
    latency_ms: dict[str, Latency]
    best_batch: BatchPart | None
    peak_memory_mb: float


def _timed(method: Method, shots: int, size: int, device: str) -> _Timed:
    before = _held(device)
    work = _Work(method.optimized_for(device), probe(shots, size, device))
    parts = _parts(work, device)
    if method.adaptation == "none":
        peak = _peak_memory(method, device, before)
        del work
        return _Timed(parts, _best(method, shots, size, device), peak)
    # Tens of steps of forward and backward: counting them was the warm-up, one run is timed.
    parts["adapt"] = single(work.adapt, device)
    again = [parts["encode"]] * (1 + shots) if method.adapts_encoder else []
    parts["episode"] = added(parts["episode"], parts["adapt"], *again)
    return _Timed(parts, None, _peak_memory(method, device, before))


def _parts(work: _Work, device: str) -> dict[str, Latency]:
    named = {"encode": work.encode, "match": work.match, "episode": work.episode}
    return {name: latency(part, device) for name, part in named.items()}


def _best(method: Method, shots: int, size: int, device: str) -> BatchPart | None:
    """The batch with the most episodes per second; None on a CPU, which takes one by one."""
    if accelerator(device) is None:
        return None
    optimized = method.optimized_for(device)

    def rate(episodes: int) -> float | None:
        asked = fitting(lambda: probe(shots, size, device, episodes=episodes))
        if asked is None:
            return None
        return episodes_per_second(lambda: optimized.predict(*asked), episodes, device)

    def part(episodes: int) -> BatchPart:
        before = _held(device)
        parts = _parts(_Work(optimized, probe(shots, size, device, episodes=episodes)), device)
        return BatchPart(
            episodes=episodes,
            latency_ms=parts,
            episodes_per_second=round(1000 * episodes / parts["episode"]["p50"], 3),
            peak_memory_mb=_peak_memory(method, device, before),
        )

    # By its parts an episode needs more memory than as a whole: features are kept between them.
    return at_most(best_batch(rate), part)


def _held(device: str) -> int:
    """Bytes that are allocated on an accelerator; its peak is counted anew from here."""
    if (module := accelerator(device)) is None:
        return 0
    module.reset_peak_memory_stats(device)
    return module.memory_allocated(device)


def _peak_memory(method: Method, device: str, before: int) -> float:
    """MiB: on an accelerator of the method and the work since `_held`, on a CPU of the process.

    0 where the system does not tell the latter.
    """
    if (module := accelerator(device)) is not None:
        own = sum(t.nbytes for t in (*method.parameters(), *method.buffers()))
        return (module.max_memory_allocated(device) - before + own) / 2**20
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
