"""Findings on disk, numbers kept, intervals: what every kind of diagnosis relies on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdfss_bench.bench.diagnose import finding as finding_module
from cdfss_bench.bench.diagnose import kinds, running
from cdfss_bench.bench.diagnose.finding import Finding, write
from cdfss_bench.bench.diagnose.frames import frame
from cdfss_bench.bench.diagnose.numbers import Numbers
from cdfss_bench.bench.diagnose.page import as_html
from cdfss_bench.bench.diagnose.running import Outcome, carried_out, parsed_settings
from cdfss_bench.bench.diagnose.spread import Range, mean_range, miou_range, ratio_range, student
from cdfss_bench.bench.diagnose.subject import Subject, in_turn
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.datasets import Episode
from cdfss_bench.errors import CompositionError, UserError


def a_finding(**changes: Any) -> Finding:
    def draw(figure: Any) -> None:
        axis = figure.subplots()
        axis.plot([0, 1], [1, 2], label="<line>")
        axis.legend()

    table = frame([{"domain": "a, <b>", "value": 0.1}, {"domain": "c", "value": float("nan")}])
    parts: dict[str, Any] = {
        "kind": "features",
        "method": "ssp",
        "tables": {"numbers": table},
        "figures": {"line": draw},
        "sentences": ("One <i>.", "Two.", "Three."),
        "captions": {"line": "A <line>."},
    }
    return Finding(**{**parts, **changes})


def mini(*methods: str, **words: Any) -> Selection:
    return Selection.model_validate(
        {"methods": methods or ("ssp",), "suite": "mini", "seeds": (0, 1), **words}
    )


def test_a_finding_is_written_as_numbers_sentences_and_figures(tmp_path: Path) -> None:
    written = write(a_finding(), tmp_path, {"id": "x"})
    record = json.loads(written.record.read_text())
    assert record["tables"]["numbers"] == [
        {"domain": "a, <b>", "value": 0.1},
        {"domain": "c", "value": None},
    ]
    assert record["sentences"] == ["One <i>.", "Two.", "Three."]
    assert record["provenance"] == {"id": "x"}
    csv = (tmp_path / "features-numbers.csv").read_text()
    assert csv == 'domain,value\n"a, <b>",0.1\nc,\n'
    assert (tmp_path / "features-line.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_finding_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(a_finding(), tmp_path / name) for name in "ab")
    for one, other in zip(first.figures["line"], second.figures["line"], strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_without_matplotlib_numbers_and_sentences_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding_module, "can_draw", lambda: False)
    written = write(a_finding(), tmp_path)
    assert written.figures == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "features-numbers.csv",
        "features.json",
    ]
    html = as_html("ssp", mini(), [Outcome("features", written)])
    assert "pip install" in html


def test_numbers_keep_every_bit_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    table = frame([{"name": "Ä/b", "x": 0.1 + 0.2, "n": 3, "yes": True}])
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "kept.npz"
    Numbers({"t": table}, {"a/b": picture}).save(path)
    known = Numbers.load(path)
    assert known is not None
    assert known.tables["t"].to_dict("records") == table.to_dict("records")
    assert (known.arrays["a/b"] == picture).all()
    path.write_bytes(path.read_bytes()[:-40])
    assert Numbers.load(path) is None
    assert Numbers.load(tmp_path / "absent.npz") is None


def test_numbers_are_measured_once_for_all_that_decides_them(tmp_path: Path) -> None:
    calls: list[int] = []

    def measured(**words: Any) -> Subject:
        subject = Subject(mini(domains=("mini-lesion",), **words), tmp_path)

        def compute() -> Numbers:
            calls.append(1)
            return Numbers({"t": frame([{"x": len(calls)}])})

        assert int(subject.measured(compute).tables["t"]["x"][0]) >= 1
        return subject

    assert not measured(episodes=3).reused
    assert measured(episodes=3).reused
    assert not measured(episodes=4).reused
    assert not measured(episodes=3, seeds=(5,)).reused
    assert len(calls) == 3


def test_few_episodes_ask_every_class() -> None:
    episodes = [Episode(f"q{i}", ("s",), i // 10) for i in range(40)]
    assert [e.class_id for e in in_turn(episodes, 6)] == [0, 1, 2, 3, 0, 1]
    assert len(in_turn(episodes, 1000)) == 40


def test_variants_have_lem_or_not(tmp_path: Path) -> None:
    assert Subject(mini("ssp"), tmp_path).variants() == {
        "without LEM": "ssp",
        "with LEM": "ssp+lem",
    }
    assert Subject(mini("loec"), tmp_path).variants() == {
        "without LEM": "ssp+lcm",
        "with LEM": "loec",
    }
    assert Subject(mini("hsnet"), tmp_path).variants() == {"without LEM": "hsnet"}


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_is_a_function_with_options_that_say_what_they_do(kind: str) -> None:
    assert callable(kinds.module_of(kind).diagnose)
    assert all(option.help.endswith(".") for option in kinds.options_of(kind).values())


def test_settings_belong_to_a_kind() -> None:
    assert parsed_settings(["images=7"], ["features"])["features"]["images"] == 7
    both = parsed_settings(["features.images=7"], ["features", "sharpness"])
    assert both["features"]["images"] == 7
    assert both["sharpness"]["grid"] == 9
    with pytest.raises(UserError, match="say whose option"):
        parsed_settings(["images=7"], ["features", "sharpness"])
    with pytest.raises(UserError, match="not KEY=VALUE"):
        parsed_settings(["images"], ["features"])
    with pytest.raises(CompositionError, match="unknown option"):
        parsed_settings(["imagse=7"], ["features"])


def test_what_does_not_apply_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no backbone"):
        carried_out("features", mini("centre-ellipse"), tmp_path)
    with pytest.raises(UserError, match="nothing to train"):
        carried_out("curve", mini("prototype"), tmp_path)
    with pytest.raises(UserError, match="no stage is left to freeze"):
        carried_out("freeze", mini("hsnet"), tmp_path)
    with pytest.raises(UserError, match="diagnose the method"):
        carried_out("features", mini("ssp@shuffled-support"), tmp_path)
    with pytest.raises(UserError, match="unknown diagnosis"):
        kinds.module_of("sharpnes")


def test_all_goes_on_after_a_kind_that_does_not_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(kind: str, *_: Any, **__: Any) -> Outcome:
        if kind == "freeze":
            raise UserError("there is <nothing> to freeze", hint="train & see")
        return Outcome(kind, write(a_finding(kind=kind), tmp_path))

    monkeypatch.setattr(running, "carried_out", one)
    outcomes = [running.attempted(kind, mini(), tmp_path) for kind in kinds.KINDS]
    assert {o.kind for o in outcomes if o.written is None} == {"freeze"}
    html = as_html("ssp<x>", mini(), outcomes)
    for escaped in (
        "ssp&lt;x&gt;",
        "One &lt;i&gt;.",
        "there is &lt;nothing&gt;",
        "A &lt;line&gt;.",
    ):
        assert escaped in html
    assert "<i>" not in html
    assert "a, &lt;b&gt;" in html
    assert 'src="data:image/svg+xml;base64,' in html
    assert "http" not in html.replace("http-equiv", "")


def test_students_quantiles() -> None:
    # Published tables, three digits.
    for freedom, known in ((2, 4.303), (9, 2.262), (10, 2.228), (30, 2.042), (100, 1.984)):
        assert student(freedom) == pytest.approx(known, abs=5e-4)


def test_ranges_of_means_and_ratios() -> None:
    found = mean_range([1.0, 2.0, 3.0])
    assert found.estimate == 2
    assert found.high - 2 == pytest.approx(4.302653 / np.sqrt(3))
    assert np.isnan(mean_range([1.0]).low)
    assert str(Range(1, 0.5, 1.5)) == "+1.00 [+0.50, +1.50]"
    rng = np.random.default_rng(0)
    ratio = ratio_range(rng.normal(2, 0.1, 50), rng.normal(4, 0.1, 50))
    assert ratio.low < 0.5 < ratio.high < 0.52


def rows(inters: list[int], union: int = 100) -> list[EpisodeRow]:
    return [
        EpisodeRow(i, Episode(f"q{i:02d}", ("s",), 0), Counts(n, union, 0, 1))
        for i, n in enumerate(inters)
    ]


def test_the_jackknife_of_equal_unions_is_students_interval_of_the_mean() -> None:
    inters = [30, 50, 70, 40, 60]
    found = miou_range([rows(inters)])
    plain = mean_range(inters)
    assert found.estimate == pytest.approx(50)
    assert found.low == pytest.approx(plain.low)
    paired = miou_range([rows([i + 5 for i in inters])], [rows(inters)])
    assert (paired.estimate, paired.low, paired.high) == pytest.approx((5, 5, 5))
    assert np.isnan(miou_range([rows([1])]).low)
