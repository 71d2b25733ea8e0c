"""`lcm`: whether low-level similarity can correct a score map, and what it does where it cannot.

Per domain: the similarities that LCM sums, for patches of the true foreground and for others; how
often its K most confident patches, the anchors, lie in the true foreground; mIoU over K, w and
beta; and the failure that the method invites: where the coarse mask is wrong its anchors are wrong,
and what is similar to them is added to the mask.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdfss_bench.errors import UserError
from cdfss_bench.methods.plugins.lcm import LCM
from cdfss_bench.methods.registry.name_grammar import parse
from cdfss_bench.options import Option, Value

from ..statistics.metrics import iou
from . import lcm_figures
from .calibration import BINS, HOST, Calibrated, calibrated
from .causes import Cause, at_once
from .drawing import Draw
from .finding import Finding, NotApplicable
from .frames import largest, names_in, percent_in, range_in, rows_where
from .numbers import Numbers
from .resampling import paired, share_range
from .spread import Range, mean_range, range_of
from .subject import Subject

OPTIONS: Mapping[str, Option] = {
    "k": Option(default="1,3,5,9", help="Values of K, the others as in the method."),
    "w": Option(default="0.15,0.3,0.6,1.2", help="Values of w."),
    "beta": Option(default="0.5,0.6,0.7,0.8,0.9,mean", help="Values of beta."),
}


def diagnose(subject: Subject) -> Finding:
    """Similarities, anchors, settings, and the worst episodes.

    Raises:
        NotApplicable: for a method that offers LCM no score map, or adapts.
        UserError: for a list of values that is none.
    """
    _ = subject.backbone
    host, carrier, options = _names(subject)
    swept = {name: _values(subject, name) for name in OPTIONS}
    numbers = subject.measured(
        lambda: _measured(subject, carrier, options, swept), methods=[host, carrier]
    )
    tables, stated = numbers.tables, {name: options[name] for name in OPTIONS}
    figures: dict[str, Draw] = {
        "similarity": lambda figure: lcm_figures.similarities(
            figure, tables["similarity"], stated["beta"]
        ),
        "anchors": lambda figure: lcm_figures.anchors(figure, tables["anchors"], tables["failure"]),
        "settings": lambda figure: lcm_figures.settings(figure, tables["settings"], stated),
        "worst": lambda figure: lcm_figures.worst(
            figure, numbers.arrays, names_in(tables["failure"], "domain")
        ),
    }
    sentences = _sentences(tables, int(options["k"]))
    carried = any(part.card.name == "lcm" for part in subject.composition.parts)
    found = causes(tables["settings"], carried=carried)
    return Finding("lcm", subject.label, tables, figures, sentences, causes=found)


def _names(subject: Subject) -> tuple[str, str, dict[str, Any]]:
    """The method without LCM, with one whose stage counts, and LCM's options."""
    composition = subject.composition
    parts = [part for part in composition.parts if part.card.name != "lcm"]
    own = [part for part in composition.parts if part.card.name == "lcm"]
    if "score" not in parts[0].card.offers:
        raise NotApplicable(f"{parts[0].card.title} offers no score map for LCM to correct")
    if any(part.adaptation != "none" for part in parts):
        raise NotApplicable(
            f"{subject.label} adapts to each episode", hint="diagnose the host alone"
        )
    host = "+".join(str(part) for part in parts)
    options = dict(own[0].options) if own else dict(parse(f"{host}+lcm").plugins[-1].options)
    if "auto" in options:
        options["auto"] = False  # what is chosen per episode is swept here
    return host, f"{host}+lcm[stage={options['stage']}]", options


def _values(subject: Subject, name: str) -> list[Value]:
    text = str(subject.options[name])
    declared = parse("ssp+lcm").plugins[-1].card.options[name]
    try:
        return [declared.parse(part, name) for part in text.split(",")]
    except UserError as error:
        raise UserError(f"{name}={text}: {error.problem}", hint=error.hint) from error


def _measured(
    subject: Subject, carrier: str, options: dict[str, Any], swept: Mapping[str, list[Value]]
) -> Numbers:
    network = subject.network(carrier)

    def made(**changes: Value) -> LCM:
        plugin = LCM(**cast("dict[str, Any]", {**options, **changes}))
        plugin.fit(network.backbone)
        return plugin.to(subject.device).eval()

    stated = setting_name(options["k"], options["w"], options["beta"])
    settings = {stated: made()}
    for name, values in swept.items():
        for value in values:
            chosen = {**options, name: value}
            key = setting_name(chosen["k"], chosen["w"], chosen["beta"])
            settings.setdefault(key, made(**{name: value}))
    deepest = made(k=max(int(plugin.k) for plugin in settings.values()))
    told = subject.counter(len(subject.targets) * subject.episode_count)
    tables: dict[str, list[dict[str, Any]]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for domain in subject.targets:
        found = calibrated(
            network,
            domain,
            subject.episodes(domain),
            settings,
            stated=stated,
            deepest=deepest,
            device=subject.device,
            told=told,
        )
        for name, rows in (
            ("similarity", _similarity(found)),
            ("separation", [_separation(found)]),
            ("anchors", _anchors(found)),
            ("settings", _settings(found, settings, stated)),
            ("failure", _failure(found, int(options["k"]), stated)),
            ("episodes", _episodes(found, int(options["k"]), stated)),
        ):
            tables.setdefault(name, []).extend({"domain": domain.title, **r} for r in rows)
        arrays |= {f"{domain.title}/{name}": array for name, array in found.worst.items()}
    return Numbers({name: pd.DataFrame(rows) for name, rows in tables.items()}, arrays)


def setting_name(k: Value, w: Value, beta: Value) -> str:
    """`K=3 w=0.6 beta=0.7`."""
    return f"K={k} w={w} beta={beta}"


def _similarity(found: Calibrated) -> list[dict[str, Any]]:
    width = 2 / BINS
    fore, back = (h / max(float(h.sum()), 1) for h in (found.fore, found.back))
    return [
        {"from": -1 + width * i, "to": -1 + width * (i + 1), "foreground": f, "background": b}
        for i, (f, b) in enumerate(zip(fore.tolist(), back.tolist(), strict=True))
    ]


def _separation(found: Calibrated) -> dict[str, Any]:
    fore, back = zip(*found.above, strict=True)
    row = mean_range(found.separation).columns("separation")
    row |= mean_range(fore).columns("fore_above")
    return row | mean_range(back).columns("back_above")


def _anchors(found: Calibrated) -> list[dict[str, Any]]:
    hits = np.stack(found.hits)
    chance = mean_range(found.chance).columns("chance")
    return [
        {"rank": rank + 1, "episodes": len(hits), **share_range(column).columns("hit"), **chance}
        for rank, column in enumerate(hits.T)
    ]


def _settings(found: Calibrated, settings: Mapping[str, LCM], stated: str) -> list[dict[str, Any]]:
    """A row per setting with its paired gain over the host, for itself and for all at once."""
    resamples = paired(found.rows)
    at_once = resamples.gains_at_once(list(settings), HOST)
    rows: list[dict[str, Any]] = []
    for (name, plugin), sure in zip(settings.items(), at_once, strict=True):
        row = {"k": plugin.k, "w": plugin.w, "beta": str(plugin.beta), "stated": name == stated}
        rows.append({**row, **resamples.columns(name, HOST, sure)})
    return rows


def _gains(found: Calibrated, k: int, stated: str) -> tuple[Any, Any, Any]:
    """Of each episode: coarse IoU, what LCM adds to it, and whether most anchors are wrong."""
    coarse = np.array([iou(row.counts.inter, row.counts.union) for row in found.rows[HOST]])
    after = np.array([iou(row.counts.inter, row.counts.union) for row in found.rows[stated]])
    wrong = np.array([hits[:k].mean() < 0.5 for hits in found.hits])
    return coarse, after - coarse, wrong


def _failure(found: Calibrated, k: int, stated: str) -> list[dict[str, Any]]:
    coarse, gain, wrong = _gains(found, k, stated)
    rows: list[dict[str, Any]] = []
    for word, chosen in (("right", ~wrong), ("wrong", wrong)):
        row: dict[str, Any] = {"anchors": word, "episodes": int(chosen.sum())}
        row["share"] = 100 * float(chosen.mean())
        row |= mean_range(coarse[chosen]).columns("coarse")
        row |= mean_range(gain[chosen]).columns("gain")
        row["worse"] = 100 * float((gain[chosen] < 0).mean()) if chosen.any() else np.nan
        rows.append(row)
    return rows


def _episodes(found: Calibrated, k: int, stated: str) -> list[dict[str, Any]]:
    coarse, gain, wrong = _gains(found, k, stated)
    return [
        {
            "query": row.episode.query,
            "class": row.episode.class_id,
            "anchors in foreground": int(hits[:k].sum()),
            "anchors wrong": bool(bad),
            "coarse IoU": c,
            "gain": g,
        }
        for row, hits, bad, c, g in zip(
            found.rows[HOST], found.hits, wrong, coarse, gain, strict=True
        )
    ]


def _sentences(tables: Mapping[str, pd.DataFrame], k: int) -> tuple[str, str, str]:
    parts = tables["separation"]
    best, least = largest(parts, parts["separation"]), largest(parts, -parts["separation"])
    other = (
        f"and in {percent_in(best, 'separation')} on {best['domain']} " if len(parts) > 1 else ""
    )
    first = (
        "Ranked by low-level similarity to the anchors, a patch of the true foreground stands "
        f"before one outside in {percent_in(least, 'separation')} of the pairs on "
        f"{least['domain']} {other}(50 % is chance); at or above beta are "
        f"{percent_in(least, 'fore_above')} of the foreground and "
        f"{percent_in(least, 'back_above')} of the background on {least['domain']}."
    )
    return first, _failure_sentence(tables, k), _settings_sentence(tables["settings"])


def causes(settings: pd.DataFrame, *, carried: bool) -> tuple[Cause, ...]:
    """What LCM as set gains over the host where it gains most, or costs a carrier of it."""
    stated = settings.loc[settings["stated"].to_numpy(bool)]
    sign = -1 if carried else 1
    worst = largest(stated, sign * stated["gain"])
    gain = range_of(worst, "gain")
    ends = sorted((sign * gain.low, sign * gain.high))
    size = at_once(Range(sign * gain.estimate, *ends), len(stated))
    name = "LCM corrects wrongly" if carried else "low-level evidence is not used"
    return (Cause("lcm", name, size, where=str(worst["domain"])),)


def _failure_sentence(tables: Mapping[str, pd.DataFrame], k: int) -> str:
    ranked = tables["anchors"]
    top = ranked.loc[ranked["rank"] == 1]
    best, least = largest(top, top["hit"]), largest(top, -top["hit"])
    text = (
        f"The first anchor lies in the true foreground in {percent_in(least, 'hit')} of the "
        f"episodes on {least['domain']} (by chance {100 * least['chance']:.0f} %)"
    )
    if len(top) > 1:
        chance = f"({100 * best['chance']:.0f} %)"
        text += f" and in {percent_in(best, 'hit')} on {best['domain']} {chance}"
    failure = tables["failure"]
    wrong = rows_where(failure, anchors="wrong")
    number = int(wrong["episodes"].to_numpy(int).sum())
    asked = int(failure["episodes"].to_numpy(int).sum())
    episodes = tables["episodes"]
    if not number:
        return f"{text}; most of the {k} anchors are wrong in none of {asked} episodes."
    bad = episodes["anchors wrong"].to_numpy(bool)
    gain = episodes["gain"].to_numpy(float)
    fine = gain[~bad]
    rest = "; nowhere are they right"
    if len(fine):
        rest = f", against {mean_range(fine)} points and {_worse(fine)} where they are right"
    return (
        f"{text}; most of the {k} anchors are wrong in {number} of {asked} episodes, where coarse "
        f"IoU is {episodes['coarse IoU'].to_numpy(float)[bad].mean():.1f} % and LCM changes it by "
        f"{mean_range(gain[bad])} points, for the worse in {_worse(gain[bad])} of them{rest}."
    )


def _worse(gain: NDArray[np.float64]) -> str:
    return percent_in(share_range(gain < 0).columns("worse"), "worse")


def _settings_sentence(table: pd.DataFrame) -> str:
    stated = rows_where(table, stated=True)
    each = "; ".join(
        f"{row['domain']} {range_in(row, 'gain')}" for row in stated.to_dict("records")
    )
    best = largest(table, table["gain"])
    helped = names_in(table.loc[table["sure_low"] > 0], "domain")
    harmed = names_in(stated.loc[stated["gain_high"] < 0], "domain")
    harm = f", a significant loss on {', '.join(harmed)}" if harmed else ""
    domains = names_in(table, "domain")
    return (
        f"Over the host, LCM as set gains {each} points{harm}; of {len(table) // len(domains)} "
        f"settings some significantly helps on {len(helped)} of {len(domains)} targets (95 % for "
        f"all at once), most K={best['k']}, w={best['w']:g}, beta={best['beta']} on "
        f"{best['domain']}: {Range(best['gain'], best['sure_low'], best['sure_high'])}."
    )
