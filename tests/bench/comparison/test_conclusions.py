"""What is concluded from a leaderboard: only what the paired tests allow."""

import re
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison.conclusions import Conclusions, conclusions
from cdfss_bench.bench.comparison.current import by_cell
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.comparison.leaderboard import BY_MEAN, Arrangement
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.comparison.row_tests import MEAN
from cdfss_bench.bench.records.results import run_results

from ...support.records import DOMAINS, write_cell


def concluded(results: Path, arrangement: Arrangement = BY_MEAN) -> Conclusions:
    found = run_results(results)
    (board,) = leaderboards((answer.record for answer in found), arrangement)
    return conclusions(board, by_cell(found), standings(board, found))


def said(results: Path, arrangement: Arrangement = BY_MEAN) -> str:
    return "\n".join(concluded(results, arrangement).sentences)


def test_a_clear_difference_is_claimed_with_its_size_and_p(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.6)
        write_cell(tmp_path, "ssp", domain, skill=0.5 if domain == "isic" else 0.6)
    text = said(tmp_path)
    assert text.startswith("loec has the best mean")
    assert re.search(r"loec is better than ssp in the mean \(\+2.*\) and on isic \(\+\d", text)
    assert re.search(r"on isic \(\+\d+\.\d, p (< 0\.001|= 0\.00\d+)\)\.", text)
    assert "The test cannot tell loec from ssp on chestxray, deepglobe and fss1000." in text


def test_the_order_of_the_table_and_hidden_controls_change_nothing(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.6)
        write_cell(tmp_path, "abcdfss", domain, skill=0.5)
        write_cell(tmp_path, "all-foreground", domain, skill=0.3)
    text = said(tmp_path)
    assert said(tmp_path, Arrangement("method")) == text
    # A section that is alone has no title.
    alone = said(tmp_path, Arrangement("method", with_controls=False))
    assert text == f"Of the rows “no adaptation”: {alone}"


def test_where_the_best_mean_is_worse_is_said(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write_cell(tmp_path, "loec", domain, skill=0.4 if domain == "isic" else 0.7)
        write_cell(tmp_path, "ssp", domain, skill=0.5)
    assert "loec is worse than ssp on isic (-" in said(tmp_path)


def test_a_significant_difference_below_the_minimum_is_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdfss_bench.bench.comparison.row_tests.MINIMUM", 50)
    write_cell(tmp_path, "loec", skill=0.6)
    write_cell(tmp_path, "ssp", skill=0.4)
    text = said(tmp_path)
    assert re.search(r"differs by less than [\d.]+ points from ssp on isic", text)
    assert "better" not in text


def test_methods_are_held_against_the_best_control_of_each_domain(tmp_path: Path) -> None:
    for method, skill in (("loec", 0.6), ("ssp", 0.5), ("all-foreground", 0.3)):
        write_cell(tmp_path, method, "isic", skill=skill)
    write_cell(tmp_path, "centre-ellipse", "isic", skill=0.5)
    assert "On isic ssp is not shown to be better than the control centre-ellipse." in said(
        tmp_path
    )
    write_cell(tmp_path, "prototype", "isic", skill=0.8)
    assert "On isic no method is shown to be better than the control prototype." in said(tmp_path)


def test_methods_above_all_controls_and_above_wrong_supports_are_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", skill=0.6)
    write_cell(tmp_path, "ssp@shuffled-support", skill=0.3, episodes__sha256="other")
    write_cell(tmp_path, "all-foreground", skill=0.2)
    text = said(tmp_path)
    assert "Every method is better than the best control of each domain (all-foreground)." in text
    assert "ssp needs its support: better than with supports of a wrong class." in text


def test_other_episodes_and_a_single_row_conclude_nothing(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    assert said(tmp_path) == "Nothing can be concluded: no two rows answered the same episodes."
    write_cell(tmp_path, "loec", episodes__sha256="others")
    assert said(tmp_path) == "Nothing can be concluded: no two rows answered the same episodes."


def test_many_rows_are_compared_one_by_one(tmp_path: Path) -> None:
    for number in range(6):
        for domain in DOMAINS:
            write_cell(tmp_path, f"method-{number}", domain, skill=0.2 + 0.1 * number)
    found = concluded(tmp_path)
    assert found.sentences == []
    (section,) = found.compared
    assert (section.title, section.name, section.rows) == ("", "method-5", 6)
    assert section.others == tuple(f"method-{number}" for number in (4, 3, 2, 1, 0))
    assert section.mean == pytest.approx(70, abs=3)
    assert {(test.other, test.where) for test in section.tests} == {
        (other, where) for other in section.others for where in (*DOMAINS, MEAN)
    }
    assert {test.verdict for test in section.tests} == {"better"}
    sizes = [test.points for test in section.tests if test.where == MEAN]
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx(10, abs=2)


def test_rows_beyond_the_best_dozen_are_said_to_be_left_out(tmp_path: Path) -> None:
    for number in range(14):
        write_cell(tmp_path, f"method-{number:02}", skill=0.2 + 0.05 * number)
    write_cell(tmp_path, "all-foreground", skill=0.1)
    (section,) = concluded(tmp_path).compared
    assert (len(section.others), section.rows) == (11, 14)
    text = said(tmp_path)
    assert text.endswith("Only the 12 best methods of a section are compared.")
    # Nothing is claimed of those that were not tested.
    assert "Every compared method is better than the best control" in text


def test_rows_of_one_method_are_told_apart_by_their_backbones(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp", skill=0.7, method__backbone="resnet50")
    write_cell(tmp_path, "ssp", skill=0.4, method__backbone="vit-b16")
    write_cell(tmp_path, "prototype", skill=0.2, method__backbone="resnet50")
    write_cell(tmp_path, "prototype", skill=0.55, method__backbone="vit-b16")
    text = said(tmp_path)
    assert "ssp · resnet50 is better than ssp · vit-b16 on isic (+" in text
    # Of two methods, one above and one below, the lines name who is not shown to be better.
    assert "On isic ssp · vit-b16 is not shown to be better than the control" in text
    assert "control prototype · vit-b16." in text


def test_of_the_methods_above_and_below_a_control_the_fewer_are_named(tmp_path: Path) -> None:
    for name, skill in (("loec", 0.8), ("ssp", 0.4), ("patnet", 0.4), ("dra", 0.4)):
        write_cell(tmp_path, name, skill=skill)
    write_cell(tmp_path, "all-foreground", skill=0.5)
    assert said(tmp_path).endswith(
        "\nOn isic loec is shown to be better than the control all-foreground, 3 other methods "
        "are not."
    )


def test_too_many_tests_for_the_permutations_are_said_to_show_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdfss_bench.bench.comparison.conclusions.PERMUTATIONS", 19)
    write_cell(tmp_path, "loec", skill=0.5)
    write_cell(tmp_path, "all-foreground", skill=0.5)
    assert "too many" not in said(tmp_path)
    write_cell(tmp_path, "ssp", skill=0.5)
    assert "2 tests against controls are too many for 19 permutations" in said(tmp_path)
