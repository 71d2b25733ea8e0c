"""The tables of `docs/ablations.md`, computed from the records and from what papers report.

`python -m tests.support.ablations` writes them into the page anew.
"""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from cdfss_bench.bench.comparison.compare import chosen, compare
from cdfss_bench.bench.comparison.difference import MEAN, Difference
from cdfss_bench.bench.diagnose.freeze import compared
from cdfss_bench.bench.diagnose.spread import Range, range_of
from cdfss_bench.bench.records.results import RunResult, run_results
from cdfss_bench.errors import RecordError
from cdfss_bench.files import write_atomically

RESULTS = Path(__file__).parents[2] / "results"
PAGE = RESULTS.parent / "docs" / "ablations.md"
MODELS = {
    "mini-objects": "fss1000",
    "mini-landcover": "deepglobe",
    "mini-lesion": "isic",
    "mini-chest": "chestxray",
    MEAN: MEAN,
}
"""The domains of the mini suite and what each is drawn after."""

VERDICTS = {
    "sign and size": "Sign and size are seen here",
    "sign": "The sign alone is seen",
    "not shown": "Not shown here (0 lies inside the interval)",
    "the contrary": "The contrary is seen here",
}
"""What is said of a difference that a paper reports, and how a sentence on it begins."""


class Line(NamedTuple):
    """A difference: the methods here, and the names of the same in `published.csv` (or empty)."""

    a: str
    b: str
    paper_a: str = ""
    paper_b: str = ""


class Change(NamedTuple):
    """A minus B on a domain: both mIoU, the difference with its interval, and of how many runs."""

    a: float
    b: float
    points: Range
    runs: int


def _against(base: tuple[str, str], *others: tuple[str, str]) -> list[Line]:
    return [Line(name, base[0], paper, base[1]) for name, paper in others]


LEM, LCM = "LoEC (LEM only)", "LoEC (LCM only)"
RESNET = _against(
    ("ssp", "SSP"),
    ("ssp+lem", LEM),
    ("ssp+lcm", LCM),
    ("loec", "LoEC"),
    ("ssp+lcm-shift", ""),
)
TRANSFORMER = _against(
    ("ssp-vit", "LoEC baseline"),
    ("ssp-vit+lem", LEM),
    ("ssp-vit+lcm", LCM),
    ("ssp-vit+lem+lcm", "LoEC"),
    ("loec-vit", "LoEC"),
)
FREEZING = _against(
    ("--freeze none", "SSP (all stages trained)"),
    ("--freeze 1", "SSP (stage 1 frozen)"),
    ("--freeze 1-2", "SSP"),
    ("--freeze 1-3", ""),
)
APM = [
    *_against(
        ("hsnet", "HSNet (APM re-training)"),
        ("apm-init", ""),
        ("hsnet+acpa", ""),
        ("hsnet+apm-s", "APM-S without ACPA"),
        ("hsnet+apm-m", "APM-M without ACPA"),
        ("apm-s", "APM-S"),
        ("apm-m", "APM-M"),
        ("finetune", "HSNet fine-tuned"),
    ),
    Line("apm-s", "hsnet+apm-s", "APM-S", "APM-S without ACPA"),
    Line("apm-m", "hsnet+apm-m", "APM-M", "APM-M without ACPA"),
    Line("apm-m", "apm-s", "APM-M", "APM-S"),
]


def tables() -> dict[str, str]:
    """Every table of the page by its name, as Markdown."""
    records = run_results(RESULTS / "mini")
    of_records = {"ResNet-50": {"resnet": RESNET, "apm": APM}, "ViT-B": {"vit": TRANSFORMER}}
    found = {
        name: _table(
            "seeds",
            backbone,
            [(k, line, _in_records(records, line, k)) for k in (1, 5) for line in lines],
        )
        for backbone, groups in of_records.items()
        for name, lines in groups.items()
    }
    runs = cast("Any", pd.read_csv(RESULTS / "freeze.csv", dtype={"frozen": str}))
    changes = compared(runs)
    lines = [(1, line, _in_trainings(changes, line)) for line in FREEZING]
    return {**found, "freeze": _table("trainings", "ResNet-50", lines)}


def shown() -> dict[str, str]:
    """The tables that stand in the page, by name."""
    return dict(re.findall(r"<!-- table (\w+) -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.S))


def _in_records(records: Sequence[RunResult], line: Line, shots: int) -> dict[str, Change]:
    """The changes by domain; none where a record is missing."""
    of_shots = [one for one in records if one.record.episodes.shots == shots]
    try:
        (found,) = compare(*(chosen(of_shots, name, RESULTS / "mini") for name in line[:2]))
    except RecordError:
        return {}
    return {one.domain: _change(one) for one in found.differences}


def _change(one: Difference) -> Change:
    ends = (one.interval.low, one.interval.high) if one.interval else (math.nan, math.nan)
    return Change(one.a, one.b, Range(one.a - one.b, *ends), len(one.seeds))


def _in_trainings(changes: Any, line: Line) -> dict[str, Change]:
    of = {
        option: changes[changes["frozen"] == option.removeprefix("--freeze ")].set_index("domain")
        for option in line[:2]
    }
    return {
        str(domain): Change(
            row["miou"], of[line.b].loc[domain, "miou"], range_of(row, "change"), int(row["seeds"])
        )
        for domain, row in of[line.a].iterrows()
        if line.a != line.b
    }


@cache
def _published() -> list[dict[str, str]]:
    with (RESULTS / "published.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _figure(method: str, backbone: str, shots: int, domain: str) -> float | None:
    """The first that the file has; figures of other metrics are none."""
    for one in _published():
        same = (one["method"], one["backbone"], one["shots"]) == (method, backbone, str(shots))
        if same and one[domain] and "other metric" not in one["comparability"]:
            return float(one[domain])
    return None


def _table(
    runs: str, backbone: str, lines: Sequence[tuple[int, Line, Mapping[str, Change]]]
) -> str:
    *domains, mean = MODELS
    heads = ["shots", runs, "A minus B", "paper", "here", "reproduces", *domains]
    rows = [heads, ["---"] * len(heads)]
    told: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for shots, line, ours in lines:
        # Without one of the domains there is no mean to compare.
        if ours.keys() == MODELS.keys():
            two = {
                domain: [_figure(name, backbone, shots, model) for name in line[2:]]
                for domain, model in MODELS.items()
            }
            paper = {domain: _difference(*figures) for domain, figures in two.items()}
            here = ours[mean]
            verdict = verdict_of(paper[mean], here.points)
            told.get(verdict, []).append(f"`{line.a}` minus `{line.b}` ({shots}-shot)")
            rows.append(
                [
                    str(shots),
                    str(here.runs),
                    f"`{line.a}` minus `{line.b}`",
                    "{:.2f} - {:.2f} = ".format(*two[mean]) + f"{paper[mean]:+.2f}"
                    if paper[mean] is not None
                    else "–",
                    f"{here.a:.2f} - {here.b:.2f} = {_bold(here.points, '+.2f')} ({_ends(here)})",
                    verdict,
                    *(
                        f"{_text(paper[domain])} / {_bold(ours[domain].points, '+.1f')}"
                        for domain in domains
                    ),
                ]
            )
    table = [f"| {' | '.join(row)} |" for row in rows]
    sentences = [f"{VERDICTS[name]}: {', '.join(which)}." for name, which in told.items() if which]
    return "\n".join([*table, "", *sentences]).rstrip()


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _ends(change: Change) -> str:
    return f"{change.points.low:+.2f} to {change.points.high:+.2f}"


def _text(points: float | None) -> str:
    return "–" if points is None else f"{points:+.1f}"


def _bold(points: Range, form: str) -> str:
    text = f"{points.estimate:{form}}"
    return f"**{text}**" if points.excludes_zero else text


def verdict_of(paper: float | None, ours: Range) -> str:
    """What of a paper's difference is seen in ours."""
    if paper is None:
        return "–"
    if not ours.excludes_zero:
        return "not shown"
    if (paper > 0) != (ours.estimate > 0):
        return "the contrary"
    return "sign and size" if ours.low <= paper <= ours.high else "sign"


def write() -> None:
    """Puts the tables into the page."""
    page, computed = PAGE.read_text(), tables()
    for name, table in shown().items():
        page = page.replace(_placed(name, table), _placed(name, computed[name]))
    write_atomically(PAGE, page)


def _placed(name: str, table: str) -> str:
    return f"<!-- table {name} -->\n{table}\n<!-- end -->"


if __name__ == "__main__":
    write()
