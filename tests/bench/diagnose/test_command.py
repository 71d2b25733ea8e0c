"""`cdfss-bench diagnose` as it is typed."""

import json
from pathlib import Path

from ...support.program import typed


def test_a_diagnosis_says_three_sentences_and_is_not_measured_twice(tmp_path: Path) -> None:
    command = "diagnose features -m ssp -d mini-chest --set images=3 --device cpu -o found"
    first, second = typed(command, tmp_path), typed(command, tmp_path)
    assert first.returncode == second.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 3
    assert first.stdout == second.stdout
    assert "features: measured" in first.stderr
    assert "redrawn from numbers measured before" in second.stderr
    record = json.loads((tmp_path / "found" / "features.json").read_text())
    origin = record["provenance"]
    assert origin["options"]["images"] == 3
    assert origin["seeds"] == [0, 1, 2]
    assert len(origin["methods"]["ssp"]["weights"][1]["sha256"]) == 64
    assert set(origin["domains"]) == {"mini-source", "mini-chest"}
    assert len(origin["id"]) == 64


def test_mistakes_are_a_sentence_each(tmp_path: Path) -> None:
    for command, said in (
        ("diagnose featurse -m ssp -o found", "did you mean features?"),
        ("diagnose features -m ssp -o found -k 1 -k 5", "one number of shots"),
        ("diagnose features -m ssp -o found --set images=none", "a whole number"),
    ):
        done = typed(command, tmp_path)
        assert done.returncode == 2, command
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "found").exists()
