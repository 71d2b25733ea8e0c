"""Tests of folders that are written: what is named as a file, or is one, is refused first."""

import os
from pathlib import Path

import pytest

from cdfss_bench.bench.cli.folders import refuse_unwritable
from cdfss_bench.errors import UserError

from ...support.shown import mistake


@pytest.mark.parametrize(
    "command",
    [
        "diagnose features -m ssp -d mini-lesion -o",
        "train -m ssp --source mini -o",
        "episodes export -d mini-lesion -o",
        "run -m ssp -d mini-lesion --save-masks",
        "report --site",
        "weights fetch resnet50-deep --to",
    ],
)
def test_a_folder_is_not_named_as_a_file(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = mistake(*command.split(), "out.html")
    assert "out.html is named as a file, and a folder is written" in error.problem
    assert (error.hint or "").endswith("out")
    (tmp_path / "there").write_text("a file")
    assert "there is a file, and a folder" in mistake(*command.split(), "there").problem
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_link_counts_as_what_it_names_and_an_added_file_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, file = tmp_path / "closed", tmp_path / "file.md"
    closed.mkdir()
    file.touch()
    (closed / "link.md").symlink_to(file)
    (closed / "log.md").touch()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p != closed and allowed(p, mode))
    refuse_unwritable("-o", closed / "link.md")
    refuse_unwritable("-o", closed / "log.md", appended=True)
    refuse_unwritable("-o", Path(os.devnull))
    with pytest.raises(UserError, match=r"-o .*: nothing may be written in .*closed"):
        refuse_unwritable("-o", closed / "log.md")


WRITING = [
    "diagnose features -m ssp -d mini-lesion -o {}",
    "train -m ssp --source mini -o {}",
    "episodes export -d mini-lesion -o {}",
    "run -m ssp -d mini-lesion --save-masks {}",
    "report --site {}",
    "weights fetch resnet50-deep --to {}",
    "report -f html -o {}.html",
    "predict -m ssp -d mini-lesion -o {}",
    "predict -m ssp --query a.png --support a.png --mask a.png -o {}.png",
    "check --baseline {}.json --update -m ssp",
    "check --summary {}.md",
]


@pytest.mark.parametrize("command", WRITING)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    named = command.format("file/in/it").split()
    assert mistake(*named).problem.endswith(f": {tmp_path / 'file'} is a file")
    closed = tmp_path / "closed"
    closed.mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p != closed and allowed(p, mode))
    error = mistake(*command.format(closed / "new").split())
    assert error.problem.endswith(f": nothing may be written in {closed}")
    assert not list(closed.iterdir())
