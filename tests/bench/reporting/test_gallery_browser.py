"""The gallery in a real browser, opened from disk: filters, order, pages, pictures."""

import json
from collections.abc import Callable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.bench.comparison.current import by_cell
from cdfss_bench.bench.comparison.gathering import leaderboards
from cdfss_bench.bench.evaluation.runner import Outcome
from cdfss_bench.bench.records.results import run_results
from cdfss_bench.bench.reporting.qualitative.gallery import Gallery
from cdfss_bench.bench.reporting.qualitative.redrawn import Redrawer
from cdfss_bench.bench.statistics.metrics import iou

from .test_browser import CHROMIUM, WATCH, chromium

Run = Callable[..., list[Outcome]]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (or name it: CHROMIUM)"),
]

USE = """
const look=()=>[...document.querySelectorAll('figcaption')].map(f=>f.textContent.split(':')[0]);
const set=(id,value)=>{const i=document.getElementById(id);i.value=value;
  i.dispatchEvent(new Event('input',{bubbles:true}))};
seen.all=document.getElementById('count').textContent;seen.first=look();
document.getElementById('next').click();seen.second=look();
document.getElementById('previous').click();
set('order','worst');seen.worst=look();
set('order','gap');seen.gap=look();
set('order','');set('low','30');seen.from30=document.getElementById('count').textContent;
set('low','0');set('gap','20');seen.apart=document.getElementById('count').textContent;
set('gap','0');set('class',document.getElementById('class').options[1].value);
seen.one=document.getElementById('count').textContent;set('class','');
document.getElementById('m1').click();
seen.tiles=document.querySelectorAll('figure .tiles')[0].children.length;
document.getElementById('m1').click();
seen.named=[...document.querySelectorAll('select,input')].every(i=>i.labels.length===1);
document.querySelectorAll('figure').forEach(f=>f.scrollIntoView());
setTimeout(()=>{
  const images=[...document.querySelectorAll('.frame img')].filter(i=>i.complete);
  seen.broken=images.filter(i=>!i.naturalWidth).length;
  seen.masks=document.querySelectorAll('.frame img[src^=data]').length;
  seen.waiting=document.querySelectorAll('[data-masks]').length;
  seen.fetched=performance.getEntriesByType('resource').map(e=>e.name);
  seen.inner=innerWidth;seen.wide=document.documentElement.scrollWidth;
  const told=document.createElement('pre');told.id='told';
  told.textContent=JSON.stringify(seen);document.body.append(told)},1500);
"""


def test_filters_order_pages_and_pictures_from_disk(run_mini: Run, tmp_path: Path) -> None:
    run_mini(methods=["all-foreground", "centre-ellipse"], domains=["mini-lesion"], episodes=30)
    found = run_results(tmp_path / "results")
    boards = leaderboards(answer.record for answer in found)
    Gallery(tmp_path / "g", boards, by_cell(found), Redrawer(None, None, [])).write()
    (page,) = (p for p in (tmp_path / "g").glob("*.html") if p.name != "index.html")
    seen = opened(page, tmp_path)
    answers = {answer.record.method.label: answer for answer in found}
    values = {
        label: [iou(r.counts.inter, r.counts.union) for r in answer.rows]
        for label, answer in answers.items()
    }
    # The better one comes first: its IoU is what the filters are of.
    first, second = sorted(values, key=lambda label: -(answers[label].record.metrics or 0).miou)  # pyright: ignore
    own, gaps = values[first], [abs(a - b) for a, b in zip(*values.values(), strict=True)]
    assert seen["all"] == "30 of 30 episodes, page 1 of 2"
    assert seen["first"] == [f"episode {i}" for i in range(24)]
    assert seen["second"] == [f"episode {i}" for i in range(24, 30)]
    numbers = [int(text.split()[1]) for text in seen["worst"]]
    assert [own[i] for i in numbers] == sorted(own)[:24]
    numbers = [int(text.split()[1]) for text in seen["gap"]]
    assert [gaps[i] for i in numbers] == pytest.approx(sorted(gaps, reverse=True)[:24], abs=0.02)
    assert seen["from30"].startswith(f"{sum(value >= 30 for value in own)} of 30")
    assert seen["apart"].startswith(f"{sum(gap >= 20 for gap in gaps)} of 30")
    asked = [row.episode.class_id for row in answers[second].rows]
    assert seen["one"].startswith(f"{asked.count(asked[0])} of 30")
    assert seen["tiles"] == 3  # support, query, and the method that is left
    assert seen["named"]
    assert (seen["broken"], seen["waiting"]) == (0, 0)
    assert seen["masks"] == 24 * 2
    assert all(name.startswith(("file:", "data:")) for name in seen["fetched"])
    assert seen["wide"] <= seen["inner"]


def opened(page: Path, folder: Path) -> Mapping[str, Any]:
    """What the script saw; fails if the browser complained of anything."""
    text = page.read_text(encoding="utf-8")
    told = text.replace("<head>", f"<head>{WATCH}", 1)
    file = page.with_name("watched.html")
    file.write_text(told.replace("</body>", f"<script>{{{USE}}}</script></body>"), "utf-8")
    done = chromium(folder, file, "--dump-dom", "--enable-logging=stderr")
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    seen = json.loads(unescape(done.stdout.rpartition('<pre id="told">')[2].partition("</pre>")[0]))
    assert seen["problems"] == []
    return seen
