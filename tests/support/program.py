"""The installed command, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("cdfss-bench"))


def program(
    *words: object, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """What the command gives; `options` are those of `subprocess.run`."""
    line = [PROGRAM, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=check, **options)


def typed(
    words: str | Sequence[str | Path], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What a command gives that is typed in `folder`, with further environment variables."""
    line = words.split() if isinstance(words, str) else words
    return program(*line, cwd=folder, env={**os.environ, **environment})


def side_by_side(code: str, *words: object, number: int = 2) -> list[str]:
    """What processes print that run `code` at once; each says "ready" first and reads a line."""
    line = [sys.executable, "-c", code, *map(str, words)]
    workers = [
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    printed = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * number
    return printed
