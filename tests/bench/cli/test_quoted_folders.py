"""Commands that a message prints can be pasted, whatever the folders are called."""

import re
import shlex
from pathlib import Path

import pytest

from ...support.program import typed


@pytest.mark.parametrize(
    "words",
    [
        ["new", "method", "mine", "--to", "a folder"],
        ["new", "method", "mine", "--to", "a folder", "--package"],
        ["episodes", "export", "-d", "mini-chest", "-k", "1", "--episodes", "1", "-o", "a folder"],
        ["report", "--results", "a folder/results/no"],
    ],
    ids=" ".join,
)
def test_a_folder_with_a_blank_is_quoted(words: list[str], tmp_path: Path) -> None:
    line = "run -m all-foreground -d mini-chest --episodes 1 --no-cost --results"
    assert typed([*line.split(), "a folder/results"], tmp_path).returncode == 0
    told = typed(words, tmp_path).stderr
    commands = re.findall(r"(?:pip install|cdfss-bench|--results) .*?(?=, then|\n| has)", told)
    named = [word for command in commands for word in shlex.split(command) if "folder" in word]
    assert named
    assert all(word.startswith("a folder") for word in named)
