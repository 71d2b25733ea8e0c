"""Methods from elsewhere: an answer that depends on what was asked before is no result."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.methods.registry.name_grammar import METHODS

Run = Callable[..., list[Outcome]]

CARD = """
title: Drifting
kind: control
class: net:Drifting
summary: answers as it was told to
options:
  how: {default: steady, help: in which way}
"""

NET = """
from cdfss_bench.methods.controls.constant import Constant


class Drifting(Constant):
    def __init__(self, backbone=None, plugins=(), *, how="steady"):
        super().__init__(backbone, plugins)
        self.how, self.asked = how, 0

    def score(self, query, states, *, shots):
        self.asked += 1
        if self.how == "exits" and self.asked == 3:
            raise SystemExit(0)
        scores = super().score(query, states, shots=shots)
        scores[:, :, 1] = self.asked % 2 if self.how == "counts" else 1
        scores[:, :, 0] = 0.5
        return scores
"""


@pytest.fixture
def drifting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "drifting.yaml").write_text(CARD)
    (folder / "net.py").write_text(NET)
    with monkeypatch.context() as patch:
        patch.setattr(METHODS, "_folders", [])
        METHODS.add_folder(folder)
        yield
    METHODS._origins = None  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("drifting")
def test_a_method_that_counts_its_questions_fails_and_keeps_no_row(
    run_mini: Run, tmp_path: Path
) -> None:
    for _ in range(2):  # the rows of the first attempt must not complete the second
        (outcome,) = run_mini(methods=["drifting[how=counts]"], domains=["mini-lesion"])
        assert outcome.how == "failed"
        assert "asked again, answers the query" in outcome.detail
        assert "cdfss-bench check method 'drifting[how=counts]'" in outcome.detail
        (rows,) = (tmp_path / "results").rglob("episodes.jsonl")
        assert rows.read_text() == ""


@pytest.mark.usefixtures("drifting")
def test_a_run_that_was_ended_before_its_answers_were_compared_is_not_done(
    run_mini: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    asked = {"methods": ["drifting[how=counts]"], "domains": ["mini-lesion"], "episodes": 5}
    with monkeypatch.context() as patch:
        patch.setattr("cdfss_bench.bench.evaluation.runner.Runner._ask_again", ended)
        with pytest.raises(KeyboardInterrupt):
            run_mini(**asked)
    (outcome,) = run_mini(**asked)
    assert outcome.how == "failed"


@pytest.mark.usefixtures("drifting")
def test_a_method_that_ends_the_program_fails_and_the_rest_goes_on(run_mini: Run) -> None:
    names = ["drifting[how=exits]", "all-foreground"]
    outcomes = run_mini(methods=names, domains=["mini-lesion"])
    assert [outcome.how for outcome in outcomes] == ["failed", "computed"]
    assert "its code ended the program (exit code 0)" in outcomes[0].detail


@pytest.mark.usefixtures("drifting")
def test_a_method_that_always_gives_one_answer_is_recorded(run_mini: Run) -> None:
    for how in ("computed", "known"):
        (outcome,) = run_mini(methods=["drifting"], domains=["mini-lesion"])
        assert outcome.how == how


def test_what_comes_with_the_package_is_asked_once(
    run_mini: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("cdfss_bench.bench.evaluation.runner.Runner._ask_again")
    (outcome,) = run_mini(methods=["ssp+lcm"], domains=["mini-lesion"])
    assert outcome.how == "computed"
