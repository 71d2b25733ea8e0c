"""The code hash changes with the code and with nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cdfss_bench.bench import identity
from cdfss_bench.bench.identity import code_hash, file_code_hash


def written(folder: Path, text: str) -> str:
    path = folder / "net.py"
    path.write_text(text)
    identity._analysed.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return file_code_hash(path)


PLAIN = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\ndef f(x):\n    return x + 1\n",
        'def f(x):\n    """What it does."""\n    return x + 1\n',
        '"""A module."""\n\n\ndef f(x):\n\n    return (x + 1)\n',
    ],
)
def test_comments_docstrings_and_layout_do_not_count(same: str, tmp_path: Path) -> None:
    assert ast.dump(ast.parse(same)) is not None
    assert written(tmp_path, PLAIN) == written(tmp_path, same)


@pytest.mark.parametrize("other", [PLAIN.replace("1", "2"), PLAIN.replace("+", "-"), PLAIN * 2])
def test_code_counts(other: str, tmp_path: Path) -> None:
    assert written(tmp_path, PLAIN) != written(tmp_path, other)


def test_what_a_file_imports_from_the_project_counts(tmp_path: Path) -> None:
    alone = written(tmp_path, "import torch\n")
    with_ssp = written(tmp_path, "import torch\nfrom cdfss_bench.methods.ssp import SSP\n")
    assert alone != with_ssp


def test_methods_hash_their_own_dependencies() -> None:
    ssp, hsnet = (code_hash(f"cdfss_bench.methods.{name}") for name in ("ssp", "hsnet"))
    assert ssp != hsnet
    assert ssp == code_hash("cdfss_bench.methods.ssp")


def test_relative_imports_are_followed() -> None:
    _, imported = identity._analysed(  # pyright: ignore[reportPrivateUsage]
        Path(identity.__file__).parent.parent / "methods" / "ssp.py", "cdfss_bench.methods.ssp"
    )
    assert "cdfss_bench.methods.blocks.self_support" in imported
    assert "cdfss_bench.methods.prototype" in imported
