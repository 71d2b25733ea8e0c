"""How much faster the evaluator is than the published way, on this machine, episode by episode.

    python tests/benchmarks/against_plain.py --data-root DATA --episodes 100 --plain 10

Both evaluators take turns in one process under the same allocator: the fast one computes every
episode, in its own order, and after some of them the plain one (tests/support/plain_evaluator.py)
computes the same episode. Every mask that both made is compared; a pixel may differ only where the
plain scores are nearer than 1e-5. FLOPs over the measured peak and bytes over the measured
bandwidth tell how far the machine's limit is; both are measured every few episodes, since the speed
of a machine drifts.

    python tests/benchmarks/against_plain.py --data-root DATA --rounds 10 --episodes 20 --plain 2

runs everything ten times and prints medians with the least and the largest; `--processor-time`
counts what one thread was given instead of the clock, where a machine is shared.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.plain_evaluator import (
    Difference,
    Masks,
    difference,
    plain_logits,
    plain_mask,
    plain_steps,
)

from cdfss_bench.bench.cost.profile import flops_of
from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.evaluation.pixel_counts import count as pixels_of
from cdfss_bench.bench.evaluation.prediction import load_method
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.resolve import resolve_weights

Clock = Callable[[], float]
"""Gives seconds from some moment on."""
PEAK_EVERY = 5
"""Episodes between two measurements of the limit: a machine's speed drifts within minutes."""
Example = tuple[Tensor, Tensor, Tensor]
"""A query [3, H, W], supports [K, 3, H, W], masks [K, H, W]."""


def network(name: str, backbone: str, weights: Path | None, example: Example) -> Method:
    """The method with its weights, or with drawn ones whose score is moved to decide both ways."""
    if weights is not None:
        composition = parse(name)
        return load_method(
            composition, resolve_weights(composition, backbone=backbone, folders=[weights])
        )
    built = seeded(build(name, backbone=backbone)).eval()
    last = getattr(getattr(built, "hpn_learner", None), "decoder2", [None])[-1]
    if isinstance(last, nn.Conv2d):
        assert last.bias is not None
        with torch.no_grad():
            scores = plain_logits(built, *example)
            last.bias[0] += (scores[:, :, 1] - scores[:, :, 0]).median()
    return built


def peaks(clock: Clock, times: int = 20) -> tuple[float, float]:
    """FLOP/s of a 3x3 convolution 128 -> 128 at 50 x 50, bytes/s of a copy of 64 MB."""
    maps = torch.randn(4, 128, 50, 50).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3).contiguous(memory_format=torch.channels_last)
    source = torch.randn(16 << 20)
    target = torch.empty_like(source)
    work = {
        2 * maps.numel() * 128 * 9: lambda: F.conv2d(maps, kernel, padding=1),
        2 * source.nbytes: lambda: target.copy_(source),
    }
    found: list[float] = []
    for amount, run in work.items():
        taken: list[float] = []
        for _ in range(times):
            began = clock()
            run()
            taken.append(clock() - began)
        found.append(amount / min(taken))
    return found[0], found[1]


@dataclass
class Compared:
    """Seconds of one episode, images encoded for it, and where the plain one did it too: that.

    `matched` is the share of its supports that the query had not met before; `counts` are those of
    the fast mask and of the plain one; `peak` is what `peaks` gave directly before it, if asked.
    """

    fast: float
    encoded: int
    matched: float
    plain: float | None = None
    difference: Difference | None = None
    counts: tuple[Counts, Counts] | None = None
    peak: tuple[float, float] | None = None


def compared(
    method: Method,
    domain: Domain,
    count: int,
    shots: int,
    plain: int,
    budget: int,
    clock: Clock,
) -> Iterator[Compared]:
    """Episode by episode, in the evaluator's order; the limit is measured between them."""
    episodes = domain.episodes(shots, 0, "patnet", count).episodes
    masks = Masks(method)
    stores = FeatureStores(budget)
    fast = evaluate(method, domain, episodes, settings=Settings(budget=budget), stores=stores)
    every = max(1, len(episodes) // max(1, plain))
    for number in range(len(episodes)):
        peak = peaks(clock, 3) if number % PEAK_EVERY == 0 else None
        hits = stores.maps.hits
        began = clock()
        (row,), timing = next(fast)
        ended = clock()
        met = (stores.maps.hits - hits) / shots
        found = Compared(ended - began, timing.encoded, 1 - met, peak=peak)
        if number % every == every - 1:
            loaded = domain.load(row.episode)
            asked = (loaded.query_image, loaded.support_images, loaded.support_masks)
            began = clock()
            logits = plain_logits(method, *asked)
            mask = plain_mask(logits)
            found.plain = clock() - began
            found.difference = difference(masks.taken(), logits)
            truth = loaded.query_mask[None]
            found.counts = pixels_of(masks.taken(), truth)[0], pixels_of(mask, truth)[0]
        yield found


def main() -> None:
    """Prints a line per method."""
    parser = argparse.ArgumentParser(description="the evaluator against the plain one")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--domain", default="chestxray")
    parser.add_argument("--methods", nargs="+", default=["ssp", "loec", "patnet", "hsnet"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", type=Path, help="folder; without it parameters are drawn")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument(
        "--plain", type=int, default=10, help="episodes that the plain one does too"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--budget", type=float, default=4, help="GiB of features kept")
    parser.add_argument("--rounds", type=int, default=1, help="times that all is run")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of the processor instead of the clock's, of one thread: for a shared machine",
    )
    given = parser.parse_args()
    clock: Clock = time.perf_counter
    if given.processor_time:
        torch.set_num_threads(1)
        clock = time.process_time
    print(
        f"allocator {keep_memory()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    domain = open_domain(given.domain, given.data_root)
    first = domain.load(domain.episodes(given.shots, 0, "patnet", 1).episodes[0])
    example = (first.query_image, first.support_images, first.support_masks)
    for name in given.methods:
        if parse(name).adaptation != "none":
            learned(name, given.backbone, example, max(1, given.plain // 2))
            continue
        method = network(name, given.backbone, given.weights, example)
        method.precision = given.precision
        rounds = [
            list(
                compared(
                    method,
                    domain,
                    given.episodes,
                    given.shots,
                    given.plain,
                    int(given.budget * 2**30),
                    clock,
                )
            )
            for _ in range(given.rounds)
        ]
        print(f"{name:8} {report(method, example, rounds)}", flush=True)


def report(method: Method, example: Example, rounds: Sequence[Sequence[Compared]]) -> str:
    """A method's times, each a median over the rounds with its least and its largest."""
    rows = rounds[0]  # what is encoded and matched is the same in all
    encoded = float(np.mean([row.encoded for row in rows]))
    matched = float(np.mean([row.matched for row in rows]))
    flops, moves = work_of(method, example, encoded, matched)
    peak = [np.median([row.peak for row in run if row.peak], axis=0) for run in rounds]
    fast = np.array([np.mean([row.fast for row in run]) for run in rounds])
    slow = np.array([np.mean([row.plain for row in run if row.plain]) for run in rounds])
    limit = np.array([flops / compute for compute, _ in peak])
    moving = np.array([moves / copy for _, copy in peak])
    everything = [row for run in rounds for row in run]
    apart = np.array([row.difference for row in everything if row.difference]).sum(0)
    both = zip(*(row.counts for row in everything if row.counts), strict=True)
    fore = [100 * sum(c.inter for c in own) / max(1, sum(c.union for c in own)) for own in both]
    return (
        f"plain {spread(slow, 3)} s, fast {spread(fast, 3)} s an episode "
        f"({encoded:.2f} images encoded, {matched:.0%} of supports matched): "
        f"{spread(slow / fast, 1)}x; "
        f"{flops / 1e9:.0f} GFLOP take {spread(limit, 3)} s at the peak of "
        f"{spread(np.array([each[0] for each in peak]) / 1e9, 0)} GFLOP/s "
        f"({spread(fast / limit, 2)}x of it), "
        f"{moves / 1e9:.1f} GB {spread(moving, 3)} s at the copy's speed; "
        f"{apart[0]} pixels compared, {apart[1]} differ, {apart[2]} not by rounding; "
        f"foreground IoU of those {fore[0]:.3f}, plain {fore[1]:.3f}"
    )


def spread(values: NDArray[np.floating[Any]], digits: int) -> str:
    """Median, and least and largest of several."""
    middle = f"{np.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def learned(name: str, backbone: str, example: Example, steps: int) -> None:
    """A line on one 1-shot adaptation: all its steps, against a slice of the plain one's."""
    method = seeded(build(name, backbone=backbone)).eval()
    total = max(plugin.steps for plugin in method.learning_plugins)
    _, supports, masks = example
    one, mask = supports[:1], masks[:1]
    optimized = method.optimized_for("cpu")
    fast: list[float] = []
    slow: list[float] = []
    for turn in range(6):
        began = time.perf_counter()
        optimized.adapt(one, mask, rng=torch.Generator().manual_seed(0))
        between = time.perf_counter()
        plain_steps(method, one, mask, steps)
        ended = time.perf_counter()
        if turn:
            fast.append(between - began)
            slow.append((ended - between) * total / steps)
    print(
        f"{name:8} {total} steps: plain {np.mean(slow):.2f} s (timed on {steps} of them), "
        f"fast {np.mean(fast):.2f} s: {np.mean(slow) / np.mean(fast):.1f}x",
        flush=True,
    )


class Moved(TorchDispatchMode):
    """Adds up the bytes that operations read and write, were each to go to memory."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Lets the operation through."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, result))
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return result


def work_of(
    method: Method, example: Example, encoded: float, matched: float
) -> tuple[float, float]:
    """FLOPs and bytes of an episode in the form that runs, with so much encoded and matched.

    Counted with one thread: what counts does not see the threads of several supports.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimized = method.optimized_for("cpu")
    query, supports, masks = example
    with torch.no_grad():
        rows = optimized.encode(query[None])
        states = optimized.encode_support(optimized.encode(supports), masks)
        parts: list[tuple[int, int]] = []
        for work in (
            lambda: optimized.encode(query[None]),
            lambda: optimized.match_states(rows, states, shots=len(supports)),
        ):
            flops, _ = flops_of(work)
            with Moved() as moved:
                work()
            parts.append((flops, moved.bytes))
    torch.set_num_threads(threads)
    (flops, moves), (more_flops, more_moves) = parts
    return flops * encoded + more_flops * matched, moves * encoded + more_moves * matched


if __name__ == "__main__":
    main()
