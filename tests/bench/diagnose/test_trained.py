"""`curve` and `freeze`: planted declines and gains must be found, noise must not be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cdfss_bench.bench.diagnose import curve, freeze
from cdfss_bench.bench.diagnose.finding import Finding
from cdfss_bench.bench.diagnose.frames import Frame, frame
from cdfss_bench.bench.diagnose.numbers import Numbers
from cdfss_bench.bench.diagnose.subject import Subject
from cdfss_bench.errors import UserError

from .test_finding import mini

TARGETS = ("mini-chest", "mini-lesion")


def curve_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decline: float) -> Finding:
    """Three seeds' curves; one domain peaks early by `decline` points."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for seed in range(3):
        for at, shape in enumerate((0.0, 1.0, 0.5, 0.0)):
            chest, lesion = rng.normal(40, 0.3, 2)
            scores = {"mini-chest": chest, "mini-lesion": lesion + decline * shape}
            scores[curve.MEAN] = sum(scores.values()) / 2
            where = {"variant": "without LEM", "seed": seed, "epochs": at / 4}
            rows += [{**where, "domain": d, "miou": v} for d, v in scores.items()]
    planted = Numbers({"curve": frame(rows)})
    monkeypatch.setattr(Subject, "measured", lambda _self, _compute, **_: planted)
    return curve.diagnose(Subject(mini(), tmp_path))


def test_an_early_peak_is_found_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = curve_of(tmp_path, monkeypatch, decline=8)
    summary = finding.tables["summary"].set_index("domain")
    assert summary.loc["mini-lesion", "peak_epoch"] == 0.25
    assert summary.loc["mini-lesion", "drop_low"] > 5
    assert "on mini-lesion without LEM" in finding.sentences[1]
    assert "significant on 1 of 2 targets (mini-lesion)" in finding.sentences[1]


def test_noise_alone_is_no_decline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = curve_of(tmp_path, monkeypatch, decline=0)
    assert "significant on 0 of 2 targets" in finding.sentences[1]


def test_the_held_out_drop_is_unbiased_where_each_seeds_own_is_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2_000, 3, 9))
    held_out = np.mean([curve.held_out_drops(values) for values in noise])
    assert abs(held_out) < 0.05
    assert (noise.max(2) - noise[..., -1]).mean() > 1
    assert np.isnan(curve.held_out_drops(noise[0, :1])).all()


def test_a_curve_of_real_trainings_and_its_second_call(tmp_path: Path) -> None:
    def once() -> tuple[Subject, Finding]:
        options = {"epochs": 16 / 1687, "every": 8 / 1687, "freeze": "none"}
        selection = mini(domains=("mini-chest",), seeds=(0,), episodes=2)
        subject = Subject(selection, tmp_path, options=options)
        return subject, curve.diagnose(subject)

    subject, finding = once()
    table = finding.tables["curve"]
    assert sorted(table["epochs"].round(5).unique()) == [0.0, 0.00474, 0.00948]
    assert set(table["variant"]) == {"without LEM", "with LEM"}
    assert not subject.reused
    again, same = once()
    assert again.reused
    assert same.sentences == finding.sentences
    # The same trainings serve other questions of the same numbers, if the folder is kept.
    for file in (tmp_path / "cache").glob("*.npz"):
        file.unlink()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "trained").rglob("*.safetensors")}
    assert once()[1].sentences == finding.sentences
    assert {p: p.stat().st_mtime_ns for p in before} == before


def runs(gain: float, spread: float) -> Frame:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for seed in range(3):
        level: NDArray[np.float64] = rng.normal(50, 3, 2)
        for frozen in ("none", "1", "1-2"):
            values = level + (gain if frozen == "1" else 0) + rng.normal(0, spread, 2)
            scores = {**dict(zip(TARGETS, values, strict=True)), freeze.MEAN: values.mean()}
            rows += [
                {"frozen": frozen, "seed": seed, "domain": d, "miou": v} for d, v in scores.items()
            ]
    return frame(rows)


@pytest.mark.parametrize(("gain", "gains"), [(4.0, 1), (0.0, 0)])
def test_a_gain_by_freezing_is_found_only_where_there_is_one(
    gain: float, gains: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Numbers({"runs": runs(gain, 0.5)})
    monkeypatch.setattr(Subject, "measured", lambda _self, _compute: planted)
    options = {"epochs": 0.5, "stages": "plan"}
    finding = freeze.diagnose(Subject(mini(), tmp_path, options=options))
    assert f"{gains} of 2 are significant gains, 0 significant losses" in finding.sentences[2]
    if gain:
        assert "best with stage 1 frozen: +3.7" in finding.sentences[0]
    table = finding.tables["table"]
    assert table["frozen"].tolist() == ["none", "1", "1-2"]
    assert list(table.columns) == ["frozen", *TARGETS, "mean"]


def test_freezing_trains_and_asks(tmp_path: Path) -> None:
    selection = mini(domains=("mini-chest",), seeds=(0,), episodes=2)
    options = {"epochs": 8 / 1687, "stages": "none/1-3"}
    finding = freeze.diagnose(Subject(selection, tmp_path, options=options))
    assert finding.tables["runs"]["frozen"].unique().tolist() == ["none", "1-3"]
    assert "no interval" in finding.sentences[0]


def test_no_training_is_shorter_than_nothing(tmp_path: Path) -> None:
    options = {"epochs": 0.0, "stages": "plan"}
    with pytest.raises(UserError, match="above 0"):
        freeze.diagnose(Subject(mini(seeds=(0,)), tmp_path, options=options))
