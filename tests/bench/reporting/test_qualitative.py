"""Single episodes on the page: which, that they are the record's, and how many fit."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.records.results import RunResult, run_results
from cdfss_bench.bench.reporting.html import document
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.bench.reporting.qualitative.examples import Example, Layer, Panel, examples
from cdfss_bench.bench.reporting.qualitative.redrawn import Redrawer, overlay
from cdfss_bench.datasets import Episode

from ...support.records import write_cell
from ...support.shown import report
from .test_html import Tags

Run = Callable[..., list[Outcome]]


def rows_of(*counted: tuple[int, int]) -> list[EpisodeRow]:
    return [
        EpisodeRow(i, Episode(f"q{i}", ("s",), 0), Counts(inter, union, 1, 2))
        for i, (inter, union) in enumerate(counted)
    ]


def chosen(*counted: tuple[int, int]) -> dict[str, int]:
    return {example.role: example.row.index for example in examples(rows_of(*counted))}


def test_best_median_and_worst_are_chosen_by_whole_numbers() -> None:
    assert chosen((1, 4), (3, 4), (2, 4)) == {"best": 1, "median": 2, "worst": 0}
    # 1/3 and 2/6 are the same: the lower number decides, at both ends.
    assert chosen((2, 6), (1, 3), (9, 10), (18, 20)) == {"best": 2, "median": 1, "worst": 0}
    big = 10**17  # as floats, these two are equal
    assert chosen((big, big + 2), (big + 1, big + 3)) == {"best": 1, "median": 0}
    assert chosen((0, 0)) == {"best": 0}
    assert chosen() == {}
    rows = rows_of((5, 9), (1, 9), (7, 9), (3, 9))
    assert examples(rows[::-1]) == examples(rows)


def test_a_panel_shows_the_very_masks_that_were_counted(
    run_mini: Run, seeded_weights: Path, tmp_path: Path
) -> None:
    methods = ["prototype", "hsnet", "hsnet+finetune[steps=3]", "prototype@shuffled-support"]
    run_mini(methods=methods, domains=["mini-lesion"], shots=[2])
    redraw = Redrawer(None, None, [seeded_weights])
    for answer in run_results(tmp_path / "results"):
        panels = redraw.panels(answer)
        assert [panel.example for panel in panels] == examples(answer.rows)
        assert answer.record.method.adaptation != "none" or any(p.recorded > 0 for p in panels)
        for panel in panels:
            assert panel.found == panel.recorded
            assert len(panel.supports) == 2
            with Image.open(io.BytesIO(panel.prediction)) as mask:
                shown = np.asarray(mask.convert("RGBA"))
            assert set(np.unique(shown[..., 3])) <= {0, 70, 255}


def test_an_overlay_is_clear_outside_veiled_inside_and_solid_at_the_border() -> None:
    mask = np.zeros((72, 72), np.uint8)
    mask[20:40, 10:30] = 1
    with Image.open(io.BytesIO(overlay(mask, (1, 2, 3), 72))) as image:
        shown = np.asarray(image.convert("RGBA"))
    assert tuple(shown[30, 20]) == (1, 2, 3, 70)
    assert tuple(shown[20, 15]) == (1, 2, 3, 255)
    assert shown[50, 50, 3] == 0
    assert ((shown[..., 3] > 0) == mask.astype(bool)).all()


def test_the_page_shows_them_when_asked(
    run_mini: Run, seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDFSS_WEIGHTS", str(seeded_weights))
    run_mini(methods=["prototype"], domains=["mini-lesion", "mini-chest"])
    results = tmp_path / "results"
    assert "Single episodes" not in report(results, "-f", "html")
    page = report(results, "-f", "html", "--panels")
    assert page.count('<figure class="panel">') == 6
    assert ", here " not in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    used = re.findall(r'<use href="#([^"]+)"', page)
    kept = re.findall(r'<image id="([^"]+)"', page)
    assert set(used) == set(kept)
    assert len(kept) == len(set(kept)) < len(used)  # a photograph is stored once
    for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", page):
        Image.open(io.BytesIO(base64.b64decode(data))).verify()
    assert report(results, "-f", "html", "--panels") == page
    report(results, "--panels", "--site", tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == page


def test_what_is_not_here_is_a_sentence_on_the_page(
    run_mini: Run, seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(seeded_weights / "hsnet-resnet-mini.safetensors", mine)
    methods = ["hsnet", "prototype", "all-foreground"]
    run_mini(methods=methods, domains=["mini-lesion"], weights={"hsnet": mine})
    # The packaged backbone has other bytes than the seeded one of the records.
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "nowhere"))
    page = report(tmp_path / "results", "-f", "html", "--panels")
    assert page.count('<figure class="panel">') == 3  # of the control, which needs no weights
    said = re.findall("no pictures of [^<]*", page)
    assert said == [
        "no pictures of hsnet on mini-lesion: mine.safetensors is in none of the weights folders",
        "no pictures of prototype on mini-lesion: the weights here are not those of the record",
    ]
    write_cell(tmp_path / "real", "ssp", "isic")
    monkeypatch.delenv("CDFSS_DATA_ROOT", raising=False)
    page = report(tmp_path / "real", "-f", "html", "--panels")
    assert re.search("no pictures of ssp on isic: ISIC[^<]* needs a data root", page)


def heavy(answer: RunResult) -> list[Panel]:
    """A panel of 40 kB with a picture that no other record has."""
    noise = np.random.RandomState(len(answer.record.method.label)).bytes(30_000)
    layer = Layer("<query>", answer.record.cell.encode() + noise, b"mask")
    example = Example("best", answer.rows[0])
    return [Panel(example, "<class>", (layer,), layer, b"mask", 1.0)]


def test_rows_that_do_not_fit_are_left_out_by_name_and_better_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        for domain in ("isic", "deepglobe"):
            write_cell(tmp_path, f"method-{number}", domain, skill=0.3 + 0.1 * number)
    found = run_results(tmp_path)
    plain = len(as_html(found).encode())
    monkeypatch.setattr(document, "PAGE_LIMIT", plain + 300_000)
    page = as_html(found, source=heavy)
    assert plain + 150_000 < len(page.encode()) <= plain + 300_000
    shown = re.findall(r"<h4>(.*?)</h4>", page)
    assert shown == [*[f"method-{n}" for n in (5, 4, 3)] * 2]
    (said,) = re.findall(r"left out, for the page to stay below 2 MB[^<]*", page)
    assert said.endswith("method-2, method-1, method-0")
    assert "&lt;class&gt;" in page
    assert "<class>" not in page
    assert "support: &lt;query&gt;" in page
    monkeypatch.undo()
    whole = as_html(found, source=heavy).encode()
    assert len(re.findall(rb"<h4>", whole)) == 12
    assert len(whole) < 2_000_000
