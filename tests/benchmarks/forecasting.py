"""How well `run --dry-run` predicts: forecast, truth and their ratio, several times over.

    python tests/benchmarks/forecasting.py [--rounds 3]

Each round has an empty results folder: it measures every network with one seed, asks for the time
of two others, and takes it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASKED = ("-m", "loec", "-m", "hsnet", "-m", "ssp", "-k", "1", "-k", "5", "--suite", "mini")


def typed(folder: Path, *words: str) -> tuple[str, float]:
    """What the program says to people, and the seconds that it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).with_name("cdfss-bench"), *words, "--device", "cpu"],
        cwd=folder,
        env={**os.environ, "CDFSS_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr, time.perf_counter() - began


def main() -> None:
    """Prints a line per round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _, first = typed(folder, "run", *ASKED, "--seed", "2")
            asked = ("run", *ASKED, "--seed", "0..1")
            said, _ = typed(folder, *asked, "--dry-run")
            expected = re.search(r"expected time: (\d+) s", said)
            assert expected is not None, said
            assert "unknown" not in said, said
            _, truth = typed(folder, *asked)
            forecast = int(expected[1])
            print(
                f"one seed before: {first:.1f} s; two seeds: expected {forecast} s, "
                f"took {truth:.1f} s, ratio {forecast / truth:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
