"""What to say where a folder shows no records: another one near it may have them."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdfss_bench.errors import UserError


def results_near(folder: Path) -> Path | None:
    """The results folder with records that a folder lies in, or that lies in it; None without."""
    from ..records.schema import record_paths

    for each in (*folder.parents, folder / "results"):
        with suppress(OSError):  # no name that a file can have
            if record_paths(each):
                return each
    return None


def no_records(results: Path) -> UserError:
    """Says that there are no records under a results folder, and where there are some."""
    from cdfss_bench.errors import UserError

    near = results_near(results)
    hint = (
        "cdfss-bench run -m loec -k 5"
        if near is None
        else f"--results {shlex.quote(str(near))} has some"
    )
    return UserError(f"there are no records under {results / 'runs'}", hint=hint)
