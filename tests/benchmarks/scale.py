"""How commands fare with many records and many files.

    python tests/benchmarks/scale.py --records 20000 --images 10000

A results folder of copies of the committed records (under the names of as many methods as it
takes, ten seeds of each, by the installed code, each with some pixels of its own, so that no two
have the same rows), and a folder of as many noise pictures of 64 px with their masks. Prints a
Markdown table of seconds and memory, and the size of the page: each command with empty caches, and
again with what it kept. `--keep DIR` keeps the folder for further runs.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from cdfss_bench.bench.planning.cell import method_part
from cdfss_bench.bench.planning.hashes import evaluator_code, named_reader_code
from cdfss_bench.bench.records.cell_folder import CellFolder, EpisodeRow, parse_row
from cdfss_bench.bench.records.schema import RunRecord, read_record, record_paths
from cdfss_bench.bench.statistics.summary import metrics_of
from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Manifest
from cdfss_bench.methods.registry.name_grammar import parse

COMMITTED = Path(__file__).resolve().parents[2] / "results" / "committed"
SEEDS = 10
SIDE = 64

PARTS = {"ssp": "hsnet+finetune", "prototype": "hsnet+apm-s", "all-foreground": "hsnet+apm-m"}
"""What the copies of each committed method are called, by numbers of steps."""

_PROGRAM = "from cdfss_bench.bench.cli import main; main()"


@dataclass(frozen=True)
class Measured:
    """One command: seconds of all processors, seconds on the wall, the most MiB of memory."""

    processor: float
    seconds: float
    memory: float


def copies(source: Path, results: Path) -> Iterator[None]:
    """Writes a finished record under another name and seed into `results` at each step."""
    taken = [path for path in record_paths(source) if read_record(path).status == "done"]
    for number in count(1):
        for path in taken:
            part = PARTS[read_record(path).method.label]
            for seed in range(SEEDS):
                _copy(CellFolder(path.parent), results, f"{part}[steps={number}]", seed)
                yield


def _copy(source: CellFolder, results: Path, label: str, seed: int) -> None:
    record: RunRecord = read_record(source.record)
    method = method_part(parse(label), record.method.backbone)
    record.method = method.model_copy(update={"label": label, "composition": label})
    record.evaluator.code, record.domain.reader = (
        evaluator_code(),
        named_reader_code(record.domain.name),
    )
    manifest = replace(Manifest.load(source.manifest), seed=seed)
    record.episodes.seed, record.episodes.sha256 = seed, manifest.sha256
    record.cell = digest([record.cell, label, seed])
    folder = CellFolder.of(
        results,
        domain=record.domain.title,
        shots=record.episodes.shots,
        label=label,
        cell=record.cell,
    )
    folder.path.mkdir(parents=True)
    manifest.save(folder.manifest)
    rows = _own_rows(source, record.cell)
    record.episodes.rows_sha256 = folder.write_rows(rows)
    record.metrics = metrics_of(rows)
    record.save(folder.record)


def _own_rows(source: CellFolder, cell: str) -> list[EpisodeRow]:
    """The rows with up to a fiftieth of the pixels that were found counted as missed."""
    rng = np.random.default_rng(int(cell[:16], 16))
    found: list[EpisodeRow] = []
    for row in filter(None, map(parse_row, source.rows.read_text(encoding="utf-8").splitlines())):
        missed = int(rng.integers(row.counts.inter // 50 + 1))
        counts = row.counts._replace(
            inter=row.counts.inter - missed, union_bg=row.counts.union_bg + missed
        )
        found.append(replace(row, counts=counts))
    return found


def pictures(root: Path, images: int) -> None:
    """A domain of `images` noise pictures and their masks, as a user's own folder has them."""
    rng = np.random.default_rng(0)
    for name in ("images/thing", "masks/thing"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "images" / "thing" / f"{number:06}.png")
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[: 8 + number % 40, :32] = 255
        Image.fromarray(mask).save(root / "masks" / "thing" / f"{number:06}.png")


def measured(cache: str, *command: str | Path) -> Measured:
    """One run of `cdfss-bench` with its caches in the folder `cache`."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, command)],
        env=os.environ | {"CDFSS_CACHE": cache},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(processor, seconds, after.ru_maxrss / 1024)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.keep or Path(folder)
        results, root = home / "results", home / "pictures"
        if not results.exists():
            for _ in islice(copies(COMMITTED, results), asked.records):
                pass
        if not root.exists():
            pictures(root, asked.images)
        page = home / "page.html"
        print("| command | processor, s | clock, s | MiB at most so far |")
        print("| --- | ---: | ---: | ---: |")
        for name, command in {
            "report": ("report", "--results", results),
            "report --wide": ("report", "--results", results, "--wide"),
            "report --format html": ("report", "--results", results, "-f", "html", "-o", page),
            "verify": ("verify", "--results", results),
            "data check": ("data", "check", "folder", "--data-root", root),
            "data check --full": ("data", "check", "--full", "folder", "--data-root", root),
        }.items():
            with tempfile.TemporaryDirectory() as cache:
                for again in ("", ", again"):
                    one = measured(cache, *command)
                    figures = f"{one.processor:.1f} | {one.seconds:.1f} | {one.memory:.0f}"
                    print(f"| `{name}`{again} | {figures} |", flush=True)
        print(f"\nThe page has {page.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
