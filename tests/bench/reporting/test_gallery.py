"""The gallery of every episode: its masks are the counted ones, it resumes, it needs no network."""

import base64
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.bench.comparison.current import by_cell
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.results import RunResult, run_results
from cdfss_bench.bench.reporting.qualitative import gallery as module
from cdfss_bench.bench.reporting.qualitative.gallery import Gallery
from cdfss_bench.bench.reporting.qualitative.redrawn import Redrawer
from cdfss_bench.bench.reporting.qualitative.saved_masks import SavedMasks
from cdfss_bench.bench.statistics.metrics import iou
from cdfss_bench.errors import DataError

from ...support.records import write_cell
from ...support.shown import mistake
from ...support.shown import typed as in_process

Run = Callable[..., list[Outcome]]
METHODS = ["all-foreground", "centre-ellipse", "prototype", "prototype@shuffled-support"]


def typed(line: str) -> str:
    done = in_process(*shlex.split(line))
    assert done.exit_code == 0, done.output
    return done.stderr


def of(
    results: Path, folder: Path, saved: SavedMasks | None = None, weights: Path | None = None
) -> Gallery:
    found = run_results(results)
    boards = leaderboards(answer.record for answer in found)
    redrawer = Redrawer(None, None, [weights] if weights else [])
    return Gallery(folder, boards, by_cell(found), redrawer, saved)


def values_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.partition('id="values">')[2].partition("</script>")[0])


def drawn(file: Path) -> list[bytes]:
    """The masks of one file, PNG."""
    call = file.read_text().splitlines()[1]
    found = re.fullmatch(r'masks\("[0-9a-f]{16}",\d+,(\[.*\])\);', call)
    assert found is not None
    return [base64.b64decode(text) for text in json.loads(found[1])]


@pytest.fixture
def results(run_mini: Run, tmp_path: Path) -> Path:
    run_mini(
        methods=METHODS,
        domains=["mini-lesion"],
        episodes=5,
    )
    return tmp_path / "results"


def test_a_page_shows_every_method_on_every_episode(
    results: Path, tmp_path: Path, seeded_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    gallery = of(results, tmp_path / "g", weights=seeded_weights)
    assert gallery.forecast().startswith("gallery: 20 episodes of 4 records to draw, 0 kept, ")
    assert gallery.write() == tmp_path / "g" / "index.html"
    assert gallery.reasons() == []
    (page,) = (p for p in (tmp_path / "g").glob("*.html") if p.name != "index.html")
    assert f'href="{page.name}"' in (tmp_path / "g" / "index.html").read_text()
    values = values_of(page)
    assert {method["label"] for method in values["methods"]} == set(METHODS)
    for answer in run_results(results):
        cell = answer.record.cell[:16]
        (shown,) = (m for m in values["methods"] if m["cell"] == cell)
        exact = [iou(row.counts.inter, row.counts.union) for row in answer.rows]
        assert shown["iou"] == [pytest.approx(value, abs=0.005) for value in exact]
        files = [tmp_path / "g" / "masks" / f"{cell}-{number}.js" for number in range(3)]
        masks = [mask for file in files for mask in drawn(file)]
        assert [len(drawn(file)) for file in files] == [2, 2, 1]
        for mask, row in zip(masks, answer.rows, strict=True):
            with Image.open(io.BytesIO(mask)) as image:
                found = np.asarray(image.convert("RGBA"))[..., 3] > 0
            pixels = row.counts.union + row.counts.inter_bg
            share = (row.counts.inter + row.counts.union - _truth(answer, row)) / pixels
            assert found.mean() == pytest.approx(share, abs=0.01)
    for class_id, _, query, supports in values["episodes"]:
        assert str(class_id) in values["classes"]
        for picture in (query, *supports):
            for suffix in ("jpg", "png"):
                Image.open(tmp_path / "g" / "pictures" / f"{picture}.{suffix}").verify()


def _truth(answer: RunResult, row: EpisodeRow) -> int:
    """Pixels of the true mask: those that `all-foreground` hits."""
    (whole,) = (
        one
        for one in run_results(answer.path.parents[4])
        if one.record.method.label == "all-foreground"
    )
    return whole.rows[row.index].counts.inter


def test_pictures_that_are_there_are_kept_and_others_drawn_again(
    results: Path, tmp_path: Path, seeded_weights: Path
) -> None:
    of(results, tmp_path / "g", weights=seeded_weights).write()
    files = sorted((tmp_path / "g" / "masks").iterdir())
    first, second, *others = files
    untouched = {file: file.stat().st_mtime_ns for file in others}
    first.unlink()
    second.write_text(second.read_text().replace("/*1 ", "/*0 ", 1))
    again = of(results, tmp_path / "g", weights=seeded_weights)
    assert "10 episodes of 4 records to draw, 10 kept" in again.forecast()
    again.write()
    assert sorted((tmp_path / "g" / "masks").iterdir()) == files
    assert {file: file.stat().st_mtime_ns for file in others} == untouched
    assert (
        "0 episodes of 4 records to draw, 20 kept"
        in of(results, tmp_path / "g", weights=seeded_weights).forecast()
    )


def test_saved_masks_are_taken_where_their_counts_are_the_records(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(
        f"run -m prototype -m centre-ellipse -d mini-lesion -k 1 --episodes 5 --no-cost "
        f"--results {tmp_path / 'r'} --save-masks {tmp_path / 'm'}"
    )
    of(tmp_path / "r", tmp_path / "computed").write()

    def refuse(*_: Any) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(module, "predicted", refuse)
    of(tmp_path / "r", tmp_path / "taken", SavedMasks(tmp_path / "m")).write()
    names = sorted(file.name for file in (tmp_path / "computed" / "masks").iterdir())
    assert len(names) == 2
    for name in names:
        computed, taken = (tmp_path / side / "masks" / name for side in ("computed", "taken"))
        assert computed.read_text() == taken.read_text()
    with pytest.raises(DataError, match="holds no saved masks"):
        SavedMasks(tmp_path / "computed")


def test_a_folder_without_masks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_cell(tmp_path / "r", "ssp")
    (tmp_path / "empty").mkdir()
    words = ["report", "--results", tmp_path / "r", "-f", "html", "-o", tmp_path / "p.html"]
    words += ["--episodes", "--masks", tmp_path / "empty"]
    assert "holds no saved masks" in str(mistake(*words))
    assert not list(tmp_path.glob("p*"))


def test_without_data_the_numbers_are_there_and_the_reason(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    write_cell(tmp_path, "loec")
    gallery = of(tmp_path, tmp_path / "g")
    gallery.write()
    (line,) = gallery.reasons()
    assert line.startswith("no pictures of loec on isic, ssp on isic: ISIC")
    values = values_of(tmp_path / "g" / "isic-1shot-seed0-patnet.html")
    assert len(values["episodes"]) == 60
    assert all("data root" in method["reason"] for method in values["methods"])


def test_it_stands_beside_the_page_and_in_a_site(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "p" / "board.html"
    said = typed(f"report -f html --episodes -o {page} --results {results}")
    assert said.index("gallery: 20 episodes of 4 records to draw") < said.index("index.html")
    assert 'href="board-episodes/index.html"' in page.read_text()
    assert 'href="../board.html"' in (page.parent / "board-episodes" / "index.html").read_text()
    typed(f"report --episodes --site {tmp_path / 's'} --results {results}")
    assert 'href="episodes/index.html"' in (tmp_path / "s" / "index.html").read_text()
    assert (tmp_path / "s" / "episodes" / "index.html").is_file()
