"""Seconds in which backbones encode one image, as they are and in the form that inference runs.

    python tests/benchmarks/encoders.py --rounds 5 dinov2-s14:392 vit-b16:400

The forms take turns in one process with one thread; seconds are the processor's. Parameters are
drawn. A name is a backbone and the side of the image in pixels.
"""

import argparse
import statistics
import time

import torch

from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.fast.folded import folded
from cdfss_bench.methods.fast.projections import projected

NAMES = ["dinov2-s14:392", "dinov3-s16:400", "vit-b16:400", "convnext-tiny:400", "sam-vit-b:1024"]


def main() -> None:
    """Prints a Markdown table of medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    print("| backbone | pixels | as it is, s | as inference runs it, s | ratio |")
    print("|---|---:|---:|---:|---:|")
    for name in asked.names:
        label, _, side = name.partition(":")
        plain = build_backbone(label).eval().requires_grad_(requires_grad=False)
        plain.resize_to(int(side))
        image = torch.randn(1, 3, int(side), int(side))
        forms = {"plain": plain, "fast": projected(folded(plain))}
        taken: dict[str, list[float]] = {form: [] for form in forms}
        with torch.inference_mode():
            for turn in range(asked.rounds + 1):
                for form, network in forms.items():
                    began = time.process_time()
                    network(image)
                    if turn:
                        taken[form].append(time.process_time() - began)
        slow, fast = taken["plain"], taken["fast"]
        ratio = statistics.median(slow) / statistics.median(fast)
        print(
            f"| {label} | {side} | {_spread(slow)} | {_spread(fast)} | {ratio:.2f}x |", flush=True
        )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
