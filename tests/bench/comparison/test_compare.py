"""`compare`: paired on the same questions, or refused with a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.difference import verdict_on
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.comparison_table import comparison_table
from cdfss_bench.errors import RecordError

from ...support.records import write_cell
from ...support.shown import compared, mistake, printed


def test_the_better_method_is_called_better_on_either_side(tmp_path: Path) -> None:
    write_cell(tmp_path, "loec", skill=0.6)
    write_cell(tmp_path, "ssp", skill=0.5)
    (there,) = compared(tmp_path, "loec", "ssp").differences
    (back,) = compared(tmp_path, "ssp", "loec").differences
    assert (there.verdict, back.verdict) == ("A is better", "B is better")
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.estimate == pytest.approx(there.a - there.b)
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.wins + there.ties + there.losses == there.episodes == 60
    assert there.detectable == pytest.approx(2.8016 * there.interval.error, rel=1e-3)


def test_a_method_ties_with_its_copy(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    (one,) = compared(tmp_path, "ssp", "ssp").differences
    assert (one.p, one.verdict, one.ties) == (1, "no significant difference", 60)


def test_a_claim_needs_significance_and_the_minimum(tmp_path: Path) -> None:
    assert verdict_on(3, 0.06, 0.5) == "no significant difference"
    assert verdict_on(0.3, 0.001, 0.5) == "different, by less than 0.5 points"
    assert verdict_on(-0.7, 0.05, 0.5) == "B is better"
    write_cell(tmp_path, "loec", skill=0.6)
    write_cell(tmp_path, "ssp", skill=0.5)
    (one,) = compared(tmp_path, "loec", "ssp", minimum=50).differences
    assert one.verdict == "different, by less than 50 points"


def test_domains_are_adjusted_and_averaged(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe", "fss1000"):
        write_cell(tmp_path, "loec", domain, skill=0.55)
        write_cell(tmp_path, "ssp", domain, skill=0.5)
    *each, mean = compared(tmp_path, "loec", "ssp").differences
    assert [d.domain for d in each] == ["deepglobe", "fss1000", "isic"]
    assert all(d.p_holm >= d.p for d in each)
    assert mean.domain == "mean"
    assert mean.a - mean.b == pytest.approx(sum(d.a - d.b for d in each) / 3)
    assert mean.interval is not None
    widths = [d.interval.high - d.interval.low for d in each if d.interval]
    assert mean.interval.high - mean.interval.low < min(widths)


def test_seeds_in_common_are_paired_and_their_spread_is_shown(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_cell(tmp_path, "loec", seed=seed)
    for seed in (1, 2, 3):
        write_cell(tmp_path, "ssp", seed=seed)
    (one,) = compared(tmp_path, "loec", "ssp").differences
    assert one.seeds == (1, 2)
    assert one.spread is not None
    assert one.wins + one.ties + one.losses == 120


def test_a_control_is_paired_by_its_queries(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    write_cell(tmp_path, "ssp@shuffled-support", skill=0.3, episodes__sha256="0" * 64)
    (one,) = compared(tmp_path, "ssp", "ssp@shuffled-support").differences
    assert one.verdict == "A is better"


def both(results: Path, domain: str, *, limited: bool = True, **changes: Any) -> None:
    for method in ("loec", "ssp"):
        write_cell(results, method, domain, episodes__limited=limited, **changes)


def test_a_domain_counts_once_with_the_longest_run_that_both_have(tmp_path: Path) -> None:
    for episodes in (15, 30, 45):
        both(tmp_path, "isic", episodes=episodes)
    write_cell(tmp_path, "loec", "isic", episodes=48, episodes__limited=True)
    both(tmp_path, "deepglobe", episodes=60, limited=False)
    both(tmp_path, "deepglobe", episodes=90)
    comparison = compared(tmp_path, "loec", "ssp")
    told = [(d.domain, d.length) for d in comparison.differences]
    assert told == [("deepglobe", "60"), ("isic", "first 45"), ("mean", "105")]
    # Holm's rule sees two domains, not five runs.
    two = [d.p for d in comparison.differences[:-1]]
    largest = max(d.p_holm for d in comparison.differences[:-1])
    assert largest == pytest.approx(max(2 * min(two), max(two)))
    first, second = comparison.remarks
    assert first.startswith("deepglobe: all 60 episodes, the longest that both answered; ")
    assert "isic: the first 45 episodes" in second
    assert "both also answered with 15 and 30: not compared" in second
    table = comparison_table(comparison)
    at = list(table.headers).index("episodes")
    assert [cells[at] for cells in table.rows] == ["60", "first 45", "105"]
    assert set(comparison.remarks) < set(table.notes)
    assert [cells[0] for cells in table.rows] == ["deepglobe", "isic*", "mean*"]
    assert "* isic: the first 45 episodes" in table.notes
    assert "* mean: a mean over these" in table.notes


def test_partial_data_are_marked_at_every_width(tmp_path: Path) -> None:
    profile = "partial: 47 of 566 images"
    for method, skill in (("loec", 0.6), ("ssp", 0.5)):
        write_cell(tmp_path, method, "chestxray", skill=skill, domain__profile=profile)
        write_cell(tmp_path, method, "isic", skill=skill)
    comparison = compared(tmp_path, "loec", "ssp")
    assert [d.short_of for d in comparison.differences] == [profile, "", "a mean over these"]
    text = printed("compare", "loec", "ssp", "--results", tmp_path)
    assert "chestxray*" in text
    assert f"* chestxray: {profile}" in text
    assert "isic*" not in text


def test_a_longer_run_without_a_common_seed_is_not_taken(tmp_path: Path) -> None:
    both(tmp_path, "isic", episodes=30)
    write_cell(tmp_path, "loec", "isic", episodes=60, seed=0)
    write_cell(tmp_path, "ssp", "isic", episodes=60, seed=1)
    (one,) = compared(tmp_path, "loec", "ssp").differences
    assert one.length == "first 30"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"episodes__sha256": "0" * 64}, "asked different episodes"),
        ({"domain__fingerprint": "a" * 64}, "saw different data"),
        ({"evaluator__version": 2}, "no domain, shots, protocol and seed in common"),
        ({"episodes__protocol": "strict"}, "in common"),
        ({"episodes__seed": 4}, "in common"),
    ],
)
def test_what_was_measured_otherwise_is_refused(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    write_cell(tmp_path, "loec")
    write_cell(tmp_path, "ssp", **change)
    with pytest.raises(RecordError, match=sentence):
        compared(tmp_path, "loec", "ssp")


def test_a_name_with_two_rows_must_be_narrowed(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    write_cell(tmp_path, "ssp", method__backbone="vgg16")
    with pytest.raises(RecordError, match="stands for 2 rows") as caught:
        compared(tmp_path, "ssp", "ssp")
    assert "--backbone" in str(caught.value)
    first, second = (str(a.path.parent) for a in run_results(tmp_path))
    assert "vgg16" in compared(tmp_path, first, second).a + compared(tmp_path, first, second).b


def test_missing_rows_are_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    (rows,) = tmp_path.rglob("episodes.jsonl")
    rows.write_text(rows.read_text()[:-40])
    with pytest.raises(RecordError, match="does not hold the 60 episodes"):
        compared(tmp_path, "ssp", "ssp")


def test_from_the_command_line(tmp_path: Path) -> None:
    for domain in ("isic", "deepglobe"):
        write_cell(tmp_path, "loec", domain, skill=0.6)
        write_cell(tmp_path, "ssp", domain)

    where = ("--results", tmp_path)
    shown = printed("compare", "loec", "ssp", *where)
    assert "A is better" in shown
    assert "mean" in shown
    (one,) = json.loads(printed("compare", "loec", "ssp", "-d", "isic", "--json", *where))
    assert [d["domain"] for d in one["differences"]] == ["isic"]
    assert "did you mean loec" in str(mistake("compare", "loek", "ssp", *where).hint)
