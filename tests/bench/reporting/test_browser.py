"""The page in a real browser: a script clicks, types, and writes down what it then sees."""

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdfss_bench.bench.comparison.published import read_published
from cdfss_bench.bench.records.results import RunResult, run_results
from cdfss_bench.bench.reporting.html.document import as_html
from cdfss_bench.bench.reporting.qualitative.examples import Layer, Panel, examples
from cdfss_bench.bench.reporting.qualitative.redrawn import overlay

from ...conftest import CHECKOUT
from ...support.records import COST, DOMAINS, write_cell

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (or name it: CHROMIUM)"),
]

CONTROL = "ssp@shuffled-support"
EVIL = "<b>&amp;'\""
MS = {"p50": 912.3, "p90": 1013.4, "p99": 1114.5, "runs": 20}
LEARNT = COST.model_copy(
    update={
        "flops_adapt": 10**12,
        "flops_query": 10**11,
        "flops_support": 10**10,
        "flops_fft": 10**8,
        "flops_published": 10**13,
        "latency_ms": dict.fromkeys(("encode", "match", "adapt", "episode"), MS),
    }
)
"""A cost that has a figure in every column."""
WATCH = """<script>
const seen={problems:[]};
addEventListener('error',e=>seen.problems.push(String(e.message||e.target.tagName)),true);
addEventListener('unhandledrejection',e=>seen.problems.push(String(e.reason)));
addEventListener('securitypolicyviolation',e=>seen.problems.push('blocked '+e.blockedURI));
</script>"""
TELL = """
addEventListener('load',()=>{
  seen.fetched=performance.getEntriesByType('resource').map(e=>e.name);
  const told=document.createElement('pre');told.id='told';
  told.textContent=JSON.stringify(seen);document.body.append(told)});
"""
COPY = """<script>
addEventListener('load',()=>{const told=document.createElement('pre');told.id='told';
  told.textContent=document.querySelector('iframe').contentDocument.getElementById('told')
    .textContent;document.body.append(told)});
</script>"""
LOOK = """
const style=getComputedStyle(document.body),root=document.documentElement;
const color=name=>{const i=document.createElement('i');i.style.color=`var(--${name})`;
  document.body.append(i);const c=getComputedStyle(i).color;i.remove();return c};
seen.background=style.backgroundColor;
seen.colors=Object.fromEntries(['fg','dim','accent','truth','found','good','bad','soft',
  ...Array.from({length:12},(_,i)=>'c'+i)].map(n=>[n,color(n)]));
seen.inner=innerWidth;seen.wide=root.scrollWidth;
seen.charts=[...document.querySelectorAll('.charts svg,.flow svg')]
  .filter(s=>s.getBoundingClientRect().width>100).length;
seen.marks=[...document.querySelectorAll('.charts circle:not(.ring)')]
  .map(c=>getComputedStyle(c).fill);
seen.tiles=[...document.querySelectorAll('details:not(.board-details)[open] .tile use')]
  .map(u=>u.getBBox().width);
seen.cut=[...document.querySelectorAll('.scroll')].map(s=>s.scrollWidth-s.clientWidth);
"""
USE = """
const table=document.getElementById('t0-0'),heads=[...table.tHead.rows[0].cells];
const at=name=>heads.findIndex(h=>h.textContent.trim()===name);
const fold=document.getElementById('ft0-0');
const rows=()=>[...table.tBodies[0].rows].filter(r=>r.checkVisibility());
const column=name=>rows().map(r=>r.classList.contains('section')?'#':
  r.cells[at(name)].textContent.trim().split('[')[0]);
const click=name=>heads[at(name)].querySelector('button').click();
const type=text=>{const i=document.querySelector('[data-table="t0-0"]');i.value=text;
  i.dispatchEvent(new Event('input'))};
seen.folded=column('method');type('shuffled');seen.sought=column('method');type('');
fold.click();
seen.plain=column('method');
click('isic');seen.down=column('isic');seen.order=heads[at('isic')].getAttribute('aria-sort');
click('isic');seen.up=column('isic');seen.then=heads[at('isic')].getAttribute('aria-sort');
click('params');seen.params=column('params');
seen.one=heads.filter(h=>h.hasAttribute('aria-sort')).length;
click('method');seen.names=column('method');
type('resnet50 SSP');seen.filtered=column('method');
type('no such row');seen.none=column('method');
type('');seen.all=column('method');
const box=document.getElementById('box'),close=()=>box.querySelector('button').click();
const tell=()=>{const text=box.innerText,top=box.scrollTop,first=document.activeElement.id;
  const was=box.open,lines=[...box.querySelectorAll('.lines summary')].map(s=>s.textContent);
  box.querySelectorAll('summary').forEach(s=>s.click());
  const unfolded=[...box.querySelectorAll('.lines dl')].map(d=>d.innerText);
  close();return {was,text,top,first,lines,unfolded,after:box.open}};
const open=(method,name)=>{rows().find(r=>r.cells[0].textContent===method).cells[at(name)]
  .querySelector('button').click();return tell()};
seen.dialog=open('loec','isic');seen.mean=open('loec','mean');seen.cost=open('ssp','GFLOP');
const side=[...document.querySelectorAll('#s0 tbody tr')].find(r=>r.cells[0].textContent==='ssp');
seen.over=[...document.querySelectorAll('#s0 .over th')].map(t=>[t.textContent,t.colSpan]);
seen.side=[...side.cells].map(c=>c.textContent.trim());
seen.said=[...document.querySelectorAll('.said p')].map(p=>p.textContent);
"""


CLICK = """
const box=document.getElementById('box');seen.clicked={};
document.querySelectorAll('details:not([open])').forEach(d=>{d.open=true});
for(const input of document.querySelectorAll('input[type=checkbox]'))input.click();
for(const one of document.querySelectorAll('a,summary,label,.scroll,input,button')){
  const what=one.localName+(one.dataset.cells?'.number':'');
  seen.clicked[what]=(seen.clicked[what]||0)+1;
  // A narrow screen leaves some columns of text out.
  if(innerWidth<600&&one.closest('th')&&!one.checkVisibility())continue;
  if(!one.checkVisibility()&&!box.contains(one))throw Error('hidden '+one.outerHTML);
  if(one.localName==='a'&&!document.querySelector(one.getAttribute('href')))
    throw Error('leads nowhere: '+one.outerHTML);
  if(one.localName==='summary'){one.click();one.click()}
  if(what==='button'){one.click()}
  if(what==='button.number'){
    one.focus();one.click();
    if(!box.open||document.activeElement.id!=='box-title')throw Error('closed '+one.outerHTML);
    if(!document.querySelector('#origins dd'))throw Error('nothing behind '+one.outerHTML);
    box.querySelector('button').click();
    if(box.open||document.activeElement!==one)throw Error('focus lost '+one.outerHTML)}
  const named=one.getAttribute('aria-label')||one.textContent.trim()||one.labels?.length;
  if(!named)throw Error('without a name: '+one.outerHTML)}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of four domains: sections, blanks, a control, two sizes of networks, evil names."""
    folder = tmp_path_factory.mktemp("browser")
    for number, domain in enumerate(DOMAINS):
        small = COST.model_copy(update={"params": 412_000, "flops_episode": 10**9})
        write_cell(folder, "loec", domain, skill=0.6, cost=COST, weights__selection="source-val")
        write_cell(folder, "ssp", domain, skill=0.5 + 0.01 * number, cost=small)
        write_cell(folder, "all-foreground", domain, skill=0.3, method__backbone="")
        write_cell(folder, "apm-m", domain, skill=0.4, method__adaptation="episode", cost=LEARNT)
        if domain != "chestxray":
            write_cell(folder, CONTROL, domain, skill=0.3, episodes__sha256="other")
    for seed in range(3):
        for method in ("loec", "ssp"):
            write_cell(folder, method, "isic", seed=seed, episodes__shots=5)
    write_cell(folder, EVIL, "isic", skill=0.2, domain__classes={0: "</script>"})
    return folder


def painted(answer: RunResult) -> list[Panel]:
    """Panels of real pictures, three supports each."""
    file = io.BytesIO()
    shade = len(answer.record.method.label) * 9
    Image.new("RGB", (72, 72), (shade, 90, 200 - shade)).save(file, "JPEG")
    mask = np.zeros((72, 72), np.uint8)
    mask[20:50, 10:40] = 1
    layer = Layer("<picture>", file.getvalue(), overlay(mask, (32, 160, 255), 72))
    found = overlay(mask.T.copy(), (255, 64, 32), 72)
    return [
        Panel(example, "class", (layer,) * 3, layer, found, 50.0)
        for example in examples(answer.rows)
    ]


@pytest.fixture(scope="module")
def page(place: Path) -> str:
    reports = read_published(CHECKOUT / "results" / "published.csv")
    return as_html(run_results(place), reports, painted)


def shown(page: str, script: str, folder: Path, width: int, *flags: str) -> Mapping[str, Any]:
    """What a script saw on the page; fails if the browser complained of anything."""
    told = page.replace("<head>", f"<head>{WATCH}", 1)
    told = told.replace("</body>", f"<script>{{{script}}}{TELL}</script></body>")
    file = folder / "page.html"
    # A window has a least width, a frame has none.
    frame = f'<iframe srcdoc="{escape(told)}" style="border:0;width:{width}px;height:900px">'
    file.write_text(f'<!doctype html><meta charset="utf-8">{frame}</iframe>{COPY}', "utf-8")
    done = chromium(folder, file, "--dump-dom", "--enable-logging=stderr", *flags)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    seen = json.loads(unescape(done.stdout.rpartition('<pre id="told">')[2].partition("</pre>")[0]))
    assert seen["problems"] == []
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    return seen


def chromium(folder: Path, file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    quiet = ("background-networking", "component-update", "sync", "gpu", "extensions")
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars",
            "--window-size=1500,1000", "--virtual-time-budget=2000",
            f"--user-data-dir={folder / 'profile'}",
            *(f"--disable-{what}" for what in quiet), *flags, file.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip


def test_sorting_filtering_and_provenance(page: str, place: Path, tmp_path: Path) -> None:
    seen = shown(page, USE, tmp_path, 1400)
    methods, controls = ["#", "loec", "ssp", EVIL, "#", "apm-m"], ["all-foreground", CONTROL]
    assert seen["folded"] == methods
    assert seen["sought"] == ["#", "#", "#", CONTROL]
    assert seen["plain"] == [*methods, "#", *controls]
    down, up = ([x.lstrip("≈") for x in seen[key]] for key in ("down", "up"))
    assert down[1:4] == sorted(down[1:4], key=float, reverse=True)
    assert up[1:4] == down[1:4][::-1]
    assert up[-2:] == down[-2:][::-1]
    assert (seen["order"], seen["then"], seen["one"]) == ("descending", "ascending", 1)
    # 8.67 M is more than 412 k (a control costs what its host costs), no figure comes last.
    assert seen["params"] == ["#", "8.67 M", "412 k", "–", "#", "8.67 M", "#", "412 k", "–"]
    assert seen["names"] == ["#", "ssp", "loec", EVIL, "#", "apm-m", "#", *controls[::-1]]
    assert seen["filtered"] == ["#", "ssp", "#", "#", CONTROL]
    assert seen["none"] == ["#", "#", "#"]
    assert sorted(seen["all"]) == sorted(seen["plain"])


def test_the_dialog_has_a_summary_and_one_line_per_record(
    page: str, place: Path, tmp_path: Path
) -> None:
    seen = shown(page, USE, tmp_path, 1400)
    (record,) = (
        a.record
        for a in run_results(place)
        if (a.record.method.label, a.record.domain.title) == ("loec", "isic")
        and a.record.episodes.shots == 1
    )
    assert record.metrics is not None
    dialog, mean = seen["dialog"], seen["mean"]
    assert (dialog["was"], dialog["after"], dialog["lines"]) == (True, False, [])
    assert (dialog["top"], dialog["first"]) == (0, "box-title")
    assert dialog["text"].startswith("Close\nloec: isic")
    for said in (
        record.domain.fingerprint, record.episodes.sha256, record.episodes.rows_sha256,
        "1-shot, protocol patnet", "source-val", f"{record.metrics.miou:.4f}",
    ):  # fmt: skip
        assert said in dialog["text"]
    assert [line.partition(":")[0] for line in mean["lines"]] == [
        f"{domain}, seed 0" for domain in DOMAINS
    ]
    assert "domains\nchestxray, deepglobe, fss1000, isic\n" in mean["text"]
    assert mean["text"].count(record.domain.fingerprint) == 1
    assert record.episodes.rows_sha256 in mean["unfolded"][3]
    assert "1,000,000,000 operations" in seen["cost"]["text"]


def test_one_and_five_shots_stand_side_by_side_below_what_they_show(
    page: str, tmp_path: Path
) -> None:
    seen = shown(page, USE, tmp_path, 1400)
    assert seen["over"] == [["1-shot", 5], ["5-shot", 2]]
    side = [text.partition("[")[0].lstrip("≈") for text in seen["side"]]
    assert side[:2] == ["ssp", "resnet50"]
    assert all(re.fullmatch(r"\d\d\.\d\d( ±\d\.\d\d)?", text) for text in side[2:8])
    assert side[8:] == ["–"]  # a single domain has no mean
    assert any("loec is better than ssp in the mean (+" in text for text in seen["said"])


@pytest.mark.parametrize("width", [1400, 420])
def test_everything_that_can_be_clicked_does_something(
    width: int, page: str, tmp_path: Path
) -> None:
    clicked = shown(page, CLICK, tmp_path, width)["clicked"]
    assert clicked["button.number"] > 90
    assert min(clicked[what] for what in ("a", "summary", "label", "input", "button")) >= 2


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 420])
def test_it_can_be_read_light_and_dark_wide_and_narrow(
    theme: str, width: int, page: str, tmp_path: Path
) -> None:
    scheme = f"--blink-settings=preferredColorScheme={int(theme == 'light')}"
    seen = shown(page, LOOK, tmp_path, width, scheme)
    assert (luminance(seen["background"]) > 0.5) == (theme == "light")
    behind = {name: seen["colors"].pop(name) for name in ("good", "bad", "soft")}
    assert min(against(seen["colors"]["fg"], color) for color in behind.values()) >= 4.5
    assert against(seen["colors"]["dim"], behind["soft"]) >= 4.5
    contrast = {n: against(seen["background"], c) for n, c in seen["colors"].items()}
    texts = ("fg", "dim", "accent", "truth", "found")
    assert {n: c for n, c in contrast.items() if c < (4.5 if n in texts else 3)} == {}
    # Tables scroll in their own boxes, the page never does.
    assert seen["inner"] == width
    assert seen["wide"] <= width
    assert seen["charts"] == 12
    assert len(set(seen["marks"])) == 6
    assert all(tile == 1 for tile in seen["tiles"])
    # Rows that saw a chest with one shot or skin with five, their episodes, six pictures.
    assert len(seen["tiles"]) == (4 + 2) * 3 * 6
    if width == 1400:
        # Of the leaderboards and of the costs nothing is hidden.
        assert max(seen["cut"][:3]) <= 0


def test_it_prints(page: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    chromium(tmp_path, file, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    paper = (tmp_path / "page.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    # Closed blocks are printed too, three panels side by side: one below the other it is 65.
    assert 15 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 30


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def against(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2) of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
