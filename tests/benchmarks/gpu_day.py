"""All that a day with a GPU shall show, within a number of minutes, most valuable first.

    python tests/benchmarks/gpu_day.py --minutes 12 -o DIR

Stages, each in a process of its own with a slice of the time (what one leaves goes to the next):
the tests marked `gpu`; slices of the whole protocol, row by row, beside the plain evaluator
(tests/support/plain_evaluator.py); cost of every row on its published backbone at 400 px; a
training step of every recipe; what batches, layouts, TF32, bfloat16, CUDA graphs and torch.compile
would give.

DIR/gpu_day.json and DIR/gpu_day.md are written anew after every stage, and hold what was measured
and nothing that was reckoned from it. A stage that fails or runs out of time is reported, with what
it had measured by then. Parameters are drawn: no trained weights are needed, and none are used.

On a CPU (`--device cpu --minutes 1`) the same runs in miniature.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STAGES = {"tests": 4, "protocol": 11, "rows": 4, "training": 2.5, "choices": 2.5}
"""Their shares of the time, in the order in which they run."""
_SAID = (
    "Parameters are drawn, pictures are the mini suite's, enlarged to 400 px; fp32 is without "
    "TF32. Everything below was measured; nothing is reckoned from it."
)
_ENDING = 8.0
"""Seconds between beginning nothing new in a stage and stopping it."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the stages; 1 if one of them failed."""
    given = _arguments(words)
    if given.stage:
        return _one_stage(given)
    given.output.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * given.minutes
    typed = " ".join(sys.argv[1:] if words is None else words)
    report: dict[str, Any] = {
        "command": f"python tests/benchmarks/gpu_day.py {typed}",
        "date": datetime.now(UTC).date().isoformat(),
        "environment": {},
        "stages": {},
    }
    waiting = [name for name in STAGES if name in given.stages]
    for number, name in enumerate(waiting):
        shares = sum(STAGES[later] for later in waiting[number:])
        seconds = max(0.0, ends - time.monotonic()) * STAGES[name] / shares
        report["stages"][name] = _staged(name, seconds, given)
        environment = next(
            (row["environment"] for row in report["stages"][name]["rows"] if "environment" in row),
            None,
        )
        report["environment"] = report["environment"] or environment or {}
        written(report, given.output)
        print(f"{name}: {report['stages'][name]['ended']}", flush=True)
    return int(any(stage["ended"] == "failed" for stage in report["stages"].values()))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a day with a GPU")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--methods", nargs="+", default=[], help="only these rows")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _staged(name: str, seconds: float, given: argparse.Namespace) -> dict[str, Any]:
    """One stage in a process of its own; its rows come as lines while it works."""
    lines = given.output / f".{name}.jsonl"
    lines.unlink(missing_ok=True)
    began = time.monotonic()
    command = [
        sys.executable, __file__, "--stage", name, "--seconds", f"{max(1.0, seconds - _ENDING)}",
        "--device", given.device, "-o", str(given.output),
        *(["--methods", *given.methods] if given.methods else []),
    ]  # fmt: skip
    why = ""
    try:
        done = subprocess.run(
            command, timeout=seconds + 1, stderr=subprocess.PIPE, text=True, check=False
        )
        ended = "done" if done.returncode == 0 else "failed"
        why = done.stderr[-2000:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        ended = "stopped: its time was over"
    rows: list[dict[str, Any]] = []
    if lines.is_file():
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        lines.unlink()
    if ended == "done" and any("left_out" in row for row in rows):
        ended = "done as far as its time went"
    spent = round(time.monotonic() - began, 1)
    return {"ended": ended, "seconds": spent, **({"error": why} if why else {}), "rows": rows}


def _one_stage(given: argparse.Namespace) -> int:
    """The child's side: the stage's rows, each on disk as soon as it is known."""
    began = time.monotonic()
    lines = given.output / f".{given.stage}.jsonl"
    if given.stage == "tests":
        return _tests(lines, given)
    sys.path.insert(0, str(HERE))
    import gpu_stages  # here and not above: the parent shall cost nothing

    stage = gpu_stages.Stage(
        lines, began + given.seconds, device=given.device, methods=tuple(given.methods)
    )
    stage.note({"environment": gpu_stages.environment(given.device)})
    getattr(gpu_stages, given.stage)(stage)
    return 0


def _tests(lines: Path, given: argparse.Namespace) -> int:
    """The tests marked `gpu`: each one's outcome and what it measured."""
    small = ["-k", "batch and (ssp or hsnet) and not lcm"] if given.device == "cpu" else []
    shared = ["-n", "4"] if find_spec("xdist") and not small else []  # they wait for the CPU most
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--gpu-device", given.device,
        "--gpu-report", str(lines.resolve()), *small, *shared, "tests/gpu",
        "tests/bench/cost/test_latency.py",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=HERE.parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=given.seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        with lines.open("a") as file:
            file.write(f"{json.dumps({'left_out': 'the other tests'})}\n")
        return 0
    if done.returncode:
        print(done.stdout[-2000:], file=sys.stderr)
    return done.returncode


# -- what is written -------------------------------------------------------------------------------


def written(report: dict[str, Any], folder: Path) -> None:
    """The report as JSON and as Markdown."""
    (folder / "gpu_day.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (folder / "gpu_day.md").write_text(markdown(report))


def markdown(report: dict[str, Any]) -> str:
    """What a reader wants of it: where it ran, how each stage ended, a table of its rows."""
    where = report["environment"]
    device = where.get("device", platform.machine())
    lines = [
        f"# {device}, {report['date']}",
        "",
        f"`{report['command']}`",
        "",
        "; ".join(f"{key} {value}" for key, value in where.items() if isinstance(value, str | int)),
        "",
        _SAID,
    ]
    for name, stage in report["stages"].items():
        lines += ["", f"## {name}", "", f"{stage['ended']}, {stage['seconds']} s.", ""]
        if "error" in stage:
            lines += ["```text", stage["error"].strip()[-1000:], "```", ""]
        rows = [row for row in stage["rows"] if "environment" not in row]
        if name == "tests":
            told = [row for row in rows if "test" in row]
            outcomes = Counter(row["outcome"] for row in told)
            lines.append(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
            lines += [f"* failed: `{row['test']}`" for row in told if row["outcome"] == "failed"]
            continue
        left = [row["left_out"] for row in rows if "left_out" in row]
        kinds = list(dict.fromkeys(row["what"] for row in rows if "what" in row))
        for kind in kinds:
            lines += [*_table(kind, [row for row in rows if row.get("what") == kind]), ""]
        if left:
            lines.append(f"Not begun, for want of time: {'; '.join(left)}.")
    return "\n".join(lines).rstrip() + "\n"


def _table(kind: str, rows: list[dict[str, Any]]) -> list[str]:
    columns = [key for key in dict.fromkeys(k for row in rows for k in row) if key != "what"]
    flat = [key for key in columns if not any(isinstance(r.get(key), dict | list) for r in rows)]
    head = f"| {' | '.join(flat)} |"
    rule = f"|{'|'.join('---' if i == 0 else '---:' for i in range(len(flat)))}|"
    body = [f"| {' | '.join(_cell(row.get(key)) for key in flat)} |" for row in rows]
    return [f"### {kind}", "", head, rule, *body]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
