"""How much faster ABCDFSS's adapters are fitted together than one by one, on this machine.

    python tests/benchmarks/shear_fit.py --domain isic --data-root DATA --weights WEIGHTS \
        --backbone resnet50-caffe

Both forms take turns in one process under one allocator, on the first episode of a domain (the mini
suite's without a data root). A whole fit is told from one without steps, which encodes the sheared
images, and one of `--steps`. Seconds by the clock and, for a busy machine, of the processor.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.datasets import open_domain
from cdfss_bench.datasets.core.domain import EpisodeTensors
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.blocks.shear import drawn_shears
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.adaptation import copy_of
from cdfss_bench.methods.hosts.abcdfss import ABCDFSS, COPIES, MOST_DEGREES
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights

Pair = tuple[float, float]
WHOLE = 25
"""Published steps."""


def network(backbone: str, weights: Path | None) -> ABCDFSS:
    """With its backbone's weights, or with drawn ones."""
    net = build("abcdfss", backbone=backbone)
    if weights is None:
        seeded(net)
    else:
        load_weights(net, resolve_weights(parse("abcdfss"), backbone=backbone, folders=[weights]))
    assert isinstance(net, ABCDFSS)
    return net.eval()


def main() -> None:
    """Prints a line per number of shots and threads."""
    parser = argparse.ArgumentParser(description="ABCDFSS's fits together and one by one")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--domain", default="mini-lesion")
    parser.add_argument("--backbone", default="resnet-mini")
    parser.add_argument("--weights", type=Path, help="folder; without it parameters are drawn")
    parser.add_argument("--shots", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=3, help="of a slice")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"allocator {keep_memory()}, torch {torch.__version__}")
    net = network(given.backbone, given.weights)
    fast = net.optimized_for("cpu")
    assert isinstance(fast, ABCDFSS)
    domain = open_domain(given.domain, given.data_root)
    for shots in given.shots:
        shown = domain.load(domain.episodes(shots, 0, "patnet", 1).episodes[0])
        for threads in given.threads:
            torch.set_num_threads(threads)
            clock, processor, apart = compared(net, fast, shown, given.steps, given.rounds)
            print(
                f"{given.backbone}, {len(net.taps)} taps, {shots}-shot, {threads} threads: "
                + "; ".join(
                    f"{name}: plain {plain:.2f} s, together {own:.2f} s, {plain / own:.2f}x"
                    for name, (plain, own) in (("clock", clock), ("processor", processor))
                )
                + f"; score maps differ by {apart:.1e}",
                flush=True,
            )


def compared(
    net: ABCDFSS, fast: ABCDFSS, shown: EpisodeTensors, steps: int, rounds: int
) -> tuple[Pair, Pair, float]:
    """Seconds of a whole fit by the clock and of the processor, (plain, together); difference."""
    seconds: dict[tuple[int, int], list[tuple[float, float]]] = {}
    maps: dict[int, torch.Tensor] = {}
    shears = drawn_shears(COPIES, MOST_DEGREES, torch.Generator().manual_seed(0))
    images, masks = shown.support_images, shown.support_masks
    with torch.no_grad():
        given = [(m.encode(shown.query_image[None]), m.encode(images)) for m in (net, fast)]
        for _ in range(rounds):
            for number in (0, steps):
                for which, method in enumerate((net, fast)):
                    ready = copy_of(method)
                    ready.steps = number
                    query, support = given[which]
                    began = time.perf_counter(), time.process_time()
                    ready.fit(support, masks, query, shears)
                    ended = time.perf_counter(), time.process_time()
                    spent = (ended[0] - began[0], ended[1] - began[1])
                    seconds.setdefault((which, number), []).append(spent)
                    maps[which] = ready.match(query, support, masks[None])
    found = {key: np.median(np.array(value), 0) for key, value in seconds.items()}
    whole = [
        found[which, 0] + (found[which, steps] - found[which, 0]) * WHOLE / steps
        for which in (0, 1)
    ]
    apart = float((maps[0] - maps[1]).abs().max())
    return (whole[0][0], whole[1][0]), (whole[0][1], whole[1][1]), apart


if __name__ == "__main__":
    main()
