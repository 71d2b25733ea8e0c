"""Tests of folders that are written: what is named as a file, or is one, is refused first."""

from pathlib import Path

import pytest

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
