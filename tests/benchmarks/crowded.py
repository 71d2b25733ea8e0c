"""How much a command suffers from other work on the machine: alone, beside one and two neighbours.

    python tests/benchmarks/crowded.py --rounds 3

Each neighbour is a process whose torch spins with as many threads as there are processors. The
forms take turns: as the command chooses wait policy and threads, and as torch does by itself. The
fair share is what the time would be if all threads got the same part of the processors.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from cdfss_bench.bench.runtime.threads import available_cpus

COMMAND = "run -m apm-s -d mini-lesion -k 1 --episodes 2 --no-cost"

_PROGRAM = "from cdfss_bench.bench.cli import main; main()"

NEIGHBOUR = """
import torch
torch.set_num_threads({threads})
images, conv = torch.randn(8, 64, 64, 64), torch.nn.Conv2d(64, 64, 3, padding=1)
with torch.no_grad():
    while True:
        conv(images).relu().mean()
"""


def forms(cpus: int) -> dict[str, dict[str, str]]:
    """Environment variables of each form."""
    # What libgomp does where nothing is said: 300,000 turns before a thread sleeps.
    spinning = {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": str(cpus)}
    return {"chosen by the command": {}, "torch's own choice": spinning}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of one run in a fresh results folder."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "MKL_"))}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, *command, "--results", folder],
            env=own | environment,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - began


def main() -> None:
    """Prints a Markdown table of medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neighbours", type=int, default=2, help="the most of them")
    parser.add_argument("--command", default=COMMAND, help="words of cdfss-bench")
    asked = parser.parse_args()
    cpus, command = available_cpus(), asked.command.split()
    print(f"`cdfss-bench {asked.command}`, {cpus} processors, {asked.rounds} rounds\n")
    print("| neighbours | form | seconds, median (range) | against alone |")
    print("| ---: | --- | ---: | ---: |")
    alone: dict[str, float] = {}
    for count in range(asked.neighbours + 1):
        code = NEIGHBOUR.format(threads=cpus)
        neighbours = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
        try:
            time.sleep(3 if count else 0)
            times: dict[str, list[float]] = {name: [] for name in forms(cpus)}
            for _ in range(asked.rounds):
                for name, variables in forms(cpus).items():
                    times[name].append(seconds(command, variables))
        finally:
            for neighbour in neighbours:
                neighbour.kill()
                neighbour.wait()
        for name, spent in times.items():
            median = statistics.median(spent)
            alone.setdefault(name, median)
            span = f"{median:.1f} ({min(spent):.1f} to {max(spent):.1f})"
            print(f"| {count} | {name} | {span} | {median / alone[name]:.1f} x |", flush=True)


if __name__ == "__main__":
    main()
