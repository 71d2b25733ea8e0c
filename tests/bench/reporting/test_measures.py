"""Every metric in tables and exports, from the integer counts of records of any age."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdfss_bench.bench.comparison.measures import in_metric, measures
from cdfss_bench.bench.comparison.ranking import standings
from cdfss_bench.bench.records.boundary import Boundary
from cdfss_bench.bench.records.cell_folder import CellFolder, EpisodeRow
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.statistics.clusters import clustered

from ...support.records import write_cell
from ...support.shown import board_of, mistake, report


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two methods on a domain of three classes, one of two seeds."""
    write_cell(tmp_path, "ssp", skill=0.6)
    write_cell(tmp_path, "hsnet", skill=0.4)
    write_cell(tmp_path, "hsnet", skill=0.4, seed=1)
    return tmp_path


def with_boundaries(results: Path, method: str) -> None:
    """Adds measures to all episodes of a method, of which the first two have no HD95."""
    for one in run_results(results):
        if one.record.method.label == method:
            folder = CellFolder(one.path.parent)
            found = [Boundary(2.0, None if i < 2 else float(i), 50.0, 25.0) for i in range(60)]
            rows = [
                EpisodeRow(row.index, row.episode, row.counts, boundary)
                for row, boundary in zip(one.rows, found, strict=True)
            ]
            one.record.episodes.rows_sha256 = folder.write_rows(rows)
            one.record.save(folder.record)


def by_hand(rows: tuple[EpisodeRow, ...]) -> dict[str, float]:
    """The metrics as sentences define them."""
    counts = np.array([row.counts for row in rows], float)
    classes = np.array([row.episode.class_id for row in rows])
    inter, union, inter_bg, union_bg = counts.T
    both = inter + union  # pixels of prediction and truth together
    pooled = [(inter[classes == c].sum(), both[classes == c].sum()) for c in np.unique(classes)]
    fore, back = inter.sum() / union.sum(), inter_bg.sum() / union_bg.sum()
    return {
        "dice": 100 * float(np.mean([2 * i / b for i, b in pooled])),
        "macro-dice": 100 * float(np.mean(2 * inter / both)),
        "macro-iou": 100 * float(np.mean(inter / union)),
        "fb-iou": 100 * (fore + back) / 2,
        "miou": 100 * float(np.mean([i / (b - i) for i, b in pooled])),
    }


def test_metrics_follow_from_the_counts_of_every_row(results: Path) -> None:
    found = run_results(results)
    board = board_of(found)
    for (key, _), measured in measures(board, found).items():
        cells = [one for one in found if one.record.method.label == key.label]
        each = [by_hand(one.rows) for one in cells]
        expected = {name: np.mean([one[name] for one in each]) for name in each[0]}
        assert dict(measured.values) == pytest.approx(expected)
        for iou, dice in measured.classes.values():
            assert iou < dice < 100
        assert measured.dice_interval is not None
        assert measured.dice_interval.low < expected["dice"] < measured.dice_interval.high


def test_dice_of_a_class_is_that_of_its_iou(results: Path) -> None:
    (one, *_) = run_results(results)
    iou = clustered([one.rows]).ious()
    assert clustered([one.rows], metric="dice").ious() == pytest.approx(200 * iou / (100 + iou))


@pytest.mark.parametrize("metric", ["dice", "fb-iou", "macro-iou", "macro-dice"])
def test_a_board_of_another_metric_is_ranked_by_it(metric: str, results: Path) -> None:
    found = run_results(results)
    board = in_metric(board_of(found), metric, found)
    where = standings(board, found)
    (column,) = board.columns
    for key, row in board.rows.items():
        cells = [one for one in found if one.record.method.label == key.label]
        values = [by_hand(one.rows)[metric] for one in cells]
        assert row.scores[column].mean == pytest.approx(np.mean(values))
        standing = where[key, column]
        assert standing.rank == (1 if key.label == "ssp" else 2)
        assert (standing.interval is not None) == (metric == "dice")
        if standing.interval is not None:
            assert standing.interval.low < np.mean(values) < standing.interval.high


@pytest.mark.parametrize(
    ("metric", "words"),
    [("dice", "Dice"), ("fb-iou", "FB-IoU"), ("macro-iou", "macro IoU"), ("miou", "mIoU")],
)
def test_tables_say_which_metric_they_show(metric: str, words: str, results: Path) -> None:
    for form in ("table", "md", "latex"):
        assert f"1-shot {words} (" in report(results, "--metric", metric, "-f", form)


def test_every_export_carries_every_metric(results: Path) -> None:
    with_boundaries(results, "ssp")
    objects = json.loads(report(results, "-f", "json"))
    lines = list(csv.DictReader(io.StringIO(report(results, "-f", "csv"))))
    hand = {one.record.method.label: by_hand(one.rows) for one in run_results(results)}
    for line, one in zip(lines, objects, strict=True):
        assert json.loads(line["per_class"]) == one["per_class"]
        assert set(one["per_class"]) == {"class 0", "class 1", "class 2"}
        means = [np.mean([v[name] for v in one["per_class"].values()]) for name in ("iou", "dice")]
        assert means == pytest.approx([one["miou"], one["dice"]])
        for name in ("dice", "fb_iou", "macro_iou", "macro_dice"):
            assert float(line[name]) == one[name]
            if one["label"] == "ssp":
                assert one[name] == pytest.approx(hand["ssp"][name.replace("_", "-")])
        assert one["dice_low"] < one["dice"] < one["dice_high"]
    ssp, hsnet = sorted(objects, key=lambda one: one["label"] != "ssp")
    told = {name: ssp[name] for name in ssp if name.startswith(("hd95", "nsd", "boundary"))}
    assert told == {
        "hd95_mean": 30.5, "hd95_median": 30.5, "hd95_undefined": 2, "nsd_tolerance": 2.0,
        "nsd_mean": 50.0, "nsd_median": 50.0, "boundary_iou_mean": 25.0,
        "boundary_iou_median": 25.0, "nsd_undefined": 0,
    }  # fmt: skip
    assert {hsnet[name] for name in told} == {None}


def test_classes_are_tables_and_lines(results: Path) -> None:
    objects = json.loads(report(results, "--per-class", "-f", "json"))
    lines = list(csv.DictReader(io.StringIO(report(results, "--per-class", "-f", "csv"))))
    assert len(lines) == len(objects) == 6
    assert [float(line["dice"]) for line in lines] == [one["dice"] for one in objects]
    whole = {one["label"]: one["per_class"] for one in json.loads(report(results, "-f", "json"))}
    for one in objects:
        assert whole[one["label"]][one["class"]] == {"iou": one["iou"], "dice": one["dice"]}
    text = report(results, "--per-class")
    for one in objects:
        assert f"{one['iou']:.2f} / {one['dice']:.2f}" in text
    assert "class 2" in report(results, "--per-class", "-f", "md")


def test_few_classes_stand_beside_each_other(tmp_path: Path) -> None:
    for method in ("ssp", "hsnet"):
        write_cell(tmp_path, method, classes=1)
    assert "| method | class 0 | mean |" in report(tmp_path, "--per-class", "-f", "md")


def test_boundaries_are_means_and_medians_with_what_is_undefined(results: Path) -> None:
    with_boundaries(results, "ssp")
    lines = report(results, "--boundary", "-f", "md").splitlines()
    assert "| ssp | 30.50 / 30.50 | 50.00 / 50.00 | 25.00 / 25.00 | 2 / 0 of 60 |" in lines
    assert "| hsnet | – | – | – | – |" in lines


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--boundary", "no record here has boundary measures"),
        ("--metric mdice", "unknown metric 'mdice'"),
        ("--metric dice -f html", "the page's ranks stand beside mIoU alone"),
        ("--per-class --against published", "stand beside mIoU alone"),
        ("--sort meen", "unknown order of rows 'meen'"),
        ("--columns isik", "unknown column 'isik'; there are: method,"),
        ("-f csv --columns mIoU", "unknown column 'mIoU'"),
        ("--style paper", "--style paper is LaTeX"),
        ("-f latex --style papers", "unknown style 'papers'"),
        ("--cost -f html", "leave --cost out, or ask for it alone: report --cost -f csv"),
        ("--panels", "add -f html -o FILE, or --site DIR"),
        ("--episodes", "add -f html -o FILE, or --site DIR"),
        ("--episodes -f html", "add -f html -o FILE, or --site DIR"),
        ("--masks m -f html", "add --episodes"),
        ("--site s -f csv", "leave one of them out"),
    ],
)
def test_what_cannot_be_shown_is_refused(line: str, said: str, results: Path) -> None:
    error = mistake("report", "--results", results, *line.split())
    assert said in error.problem or said == error.hint


def test_rows_of_one_method_are_told_apart(tmp_path: Path) -> None:
    def cell(**changes: Any) -> None:
        write_cell(tmp_path, "ssp", classes=1, **changes)

    cell()
    cell(method__backbone="vgg16")
    text = report(tmp_path, "--per-class", "-f", "md")
    assert "| ssp · resnet50 |" in text
    assert "| ssp · vgg16 |" in text
