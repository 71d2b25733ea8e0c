"""The installed command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("cdfss-bench")


def typed(
    words: str | Sequence[str | Path], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What a command gives that is typed in `folder`, with further environment variables."""
    return subprocess.run(
        [PROGRAM, *(words.split() if isinstance(words, str) else words)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
