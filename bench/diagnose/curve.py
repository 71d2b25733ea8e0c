"""`curve`: mIoU on every target over source training, with and without LEM, over seeds.

LoEC reports a peak "even within the 1st epoch" and a sharp drop after it, worst on distant domains.
The peak of a noisy curve lies above its end whether the method declines or not, so the drop is
given twice: from each seed's own peak, which is an oracle and never negative, and from the epoch at
which the other seeds peak, which is zero on average where nothing declines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdfss_bench import plain_json
from cdfss_bench.options import Option

from .causes import Cause
from .drawing import Draw, color_of, marker_of
from .finding import Finding
from .frames import Frame, frame
from .numbers import Numbers
from .plots import banded, legend_below
from .spread import mean_range, range_of
from .subject import Subject
from .trainings import carried_out, positive, trainings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPISODES = 60
MEAN = "mean of the targets"

OPTIONS: Mapping[str, Option] = {
    "epochs": Option(default=1.0, min=0, help="Passes over the source; LoEC shows 20."),
    "every": Option(default=0.25, min=0, help="Part of an epoch between two looks."),
    "freeze": Option(
        default="recipe", help="Stages not trained: none, 1, 1-2, 1-3; or the method's recipe's."
    ),
}


def diagnose(subject: Subject) -> Finding:
    """Trains the method and its variant, looking at the targets on the way.

    Raises:
        UserError: if the method has nothing to train, or something is missing.
    """
    variants = subject.variants(trained=False)
    others = [name for name in variants.values() if name != subject.selection.methods[0]]
    numbers = subject.measured(lambda: _measured(subject, variants), methods=others)
    curve = numbers.tables["curve"]
    summary = summarised(curve)
    figures: dict[str, Draw] = {"curve": lambda figure: _draw(figure, curve, summary)}
    tables = {"curve": curve, "summary": summary}
    captions = {
        "curve": "mIoU of each target over source training: mean and range over seeds; a ring "
        "marks the peak of the mean."
    }
    sentences = _sentences(curve, summary)
    return Finding("curve", subject.label, tables, figures, sentences, captions, causes(summary))


def _measured(subject: Subject, variants: Mapping[str, str]) -> Numbers:
    freeze = str(subject.options["freeze"])
    found = trainings(
        subject,
        list(variants.values()),
        epochs=positive(subject, "epochs"),
        watched_every=positive(subject, "every"),
        freeze=None if freeze == "recipe" else [freeze],
    )
    per_variant = len(found) // len(variants)
    rows: list[dict[str, Any]] = []
    for at, one in enumerate(carried_out(subject, found)):
        variant = list(variants)[at // per_variant]
        text = one.files.curve.path.read_text(encoding="utf-8")
        for line in text.splitlines():
            point = plain_json.loads(line)
            where = {"variant": variant, "seed": one.job.seed, "domain": point["domain"]}
            rows.append({**where, "epochs": point["epochs"], "miou": point["miou"]})
    curve = frame(rows)
    for (variant, seed, epochs), part in curve.groupby(["variant", "seed", "epochs"], sort=False):
        where = {"variant": variant, "seed": seed, "domain": MEAN}
        rows.append({**where, "epochs": epochs, "miou": float(part["miou"].mean())})
    return Numbers({"curve": frame(rows)})


def summarised(curve: Frame) -> Frame:
    """Peak, end and drop of each variant on each domain.

    Args:
        curve: `variant`, `seed`, `domain`, `epochs`, `miou`; all seeds looked at the same epochs.

    Returns:
        `peak_epoch`, `peak` and `last` of the mean curve; `own_drop` from each seed's own peak;
        `drop` from the epoch at which the other seeds' mean peaks, with its interval over seeds;
        `gain`, from epoch 0 to the end, likewise.
    """
    rows: list[dict[str, Any]] = []
    for (variant, domain), part in curve.groupby(["variant", "domain"], sort=False):
        grid = part.pivot(index="seed", columns="epochs", values="miou")
        values, epochs = grid.to_numpy(), grid.columns.to_numpy()
        mean = values.mean(0)
        own = values.max(1) - values[:, -1]
        rows.append(
            {
                "variant": variant,
                "domain": domain,
                "seeds": len(values),
                "first": float(mean[0]),
                "peak_epoch": float(epochs[mean.argmax()]),
                "peak": float(mean.max()),
                "last_epoch": float(epochs[-1]),
                "last": float(mean[-1]),
                "own_drop": float(own.mean()),
                **mean_range(held_out_drops(values)).columns("drop"),
                **mean_range(values[:, -1] - values[:, 0]).columns("gain"),
            }
        )
    return frame(rows)


def held_out_drops(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each seed's fall from the epoch at which the others' mean peaks to the end, [S].

    Args:
        values: [S, E] over seeds and epochs; NaN for a single seed, which has no others.
    """
    if len(values) < 2:
        return np.full(len(values), np.nan)
    drops: list[float] = []
    for seed in range(len(values)):
        at = int(np.delete(values, seed, 0).mean(0).argmax())
        drops.append(float(values[seed, at] - values[seed, -1]))
    return np.array(drops)


def causes(summary: Frame) -> tuple[Cause, ...]:
    """Training beyond the best point, in the mean over the targets."""
    mean = summary[summary["domain"] == MEAN].iloc[0]
    size = range_of(mean, "drop")
    return (Cause("curve", "training goes on past its best point", size, where=MEAN),)


def _sentences(curve: Frame, summary: Frame) -> tuple[str, str, str]:
    variants = list(dict.fromkeys(summary["variant"]))
    mean = summary[(summary["variant"] == variants[0]) & (summary["domain"] == MEAN)].iloc[0]
    seeds = int(mean["seeds"])
    fall = (
        f"from the epoch at which the other seeds peak it falls by "
        f"{range_of(mean, 'drop').text('+.1f')} points ({seeds} trainings; {mean['own_drop']:.1f} "
        "from each one's own peak, an oracle)"
        if seeds > 1
        else f"its fall of {mean['own_drop']:.1f} points from its own peak is an oracle's, and one "
        "training says nothing of its uncertainty"
    )
    first = (
        f"{variants[0][0].upper()}{variants[0][1:]}, the mean over the targets is "
        f"{mean['first']:.1f} mIoU before training, peaks at epoch {mean['peak_epoch']:.3g} "
        f"with {mean['peak']:.1f} "
        f"and is {mean['last']:.1f} after {mean['last_epoch']:.3g} epochs; {fall}."
    )
    targets = summary[summary["domain"] != MEAN]
    key = "drop" if seeds > 1 else "own_drop"
    worst = targets.loc[targets[key].idxmax()]
    sure = sorted({str(d) for d in targets[targets["drop_low"] > 0]["domain"]})
    second = (
        f"The largest fall is {worst[key]:.1f} points on {worst['domain']} {worst['variant']}, "
        f"from {worst['peak']:.1f} at epoch {worst['peak_epoch']:.3g}; a fall after the peak is "
        f"significant on {len(sure)} of {targets['domain'].nunique()} targets"
        + (f" ({', '.join(sure)})." if sure else ".")
    )
    return first, second, _with_lem(curve, variants)


def _with_lem(curve: Frame, variants: Sequence[str]) -> str:
    if len(variants) < 2:
        return f"LEM does not fit this method, so there is only the curve {variants[0]}."
    mean = curve[curve["domain"] == MEAN]
    grids = [
        mean[mean["variant"] == t].pivot(index="seed", columns="epochs", values="miou").to_numpy()
        for t in ("without LEM", "with LEM")
    ]
    last = mean_range(grids[1][:, -1] - grids[0][:, -1])
    drops = mean_range(held_out_drops(grids[1]) - held_out_drops(grids[0]))
    sign = "a gain" if last.low > 0 else "a loss"
    word = sign if last.excludes_zero else "no significant effect"
    return (
        f"With LEM the mean over the targets ends {last.text('+.1f')} points apart from without, "
        f"{word}, and its fall after the peak differs by {drops.text('+.1f')} points (paired by "
        "seed)."
    )


def _draw(figure: Figure, curve: Frame, summary: Frame) -> None:
    domains = list(dict.fromkeys(curve["domain"]))
    variants = list(dict.fromkeys(curve["variant"]))
    columns = min(3, len(domains))
    lines = -(-len(domains) // columns)
    figure.set_size_inches(2.9 * columns + 0.3, 2.3 * lines + 0.5)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for axis, domain in zip(axes.flat, domains, strict=False):
        for at, variant in enumerate(variants):
            part = curve[(curve["domain"] == domain) & (curve["variant"] == variant)]
            grid = part.pivot(index="seed", columns="epochs", values="miou")
            epochs, values = grid.columns.to_numpy(), grid.to_numpy()
            shown = {"miou": values.mean(0), "miou_low": values.min(0), "miou_high": values.max(0)}
            color, marker = color_of(at), marker_of(at)
            banded(axis, epochs, shown, "miou", color=color, marker=marker, label=variant)
            row = summary[(summary["domain"] == domain) & (summary["variant"] == variant)].iloc[0]
            axis.plot(
                row["peak_epoch"],
                row["peak"],
                marker="o",
                markersize=10,
                markerfacecolor="none",
                color=color_of(at),
            )
        axis.set_title(domain)
    for axis in list(axes.flat)[len(domains) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("mIoU (%)")
    for axis in list(axes.flat)[max(0, len(domains) - columns) : len(domains)]:
        axis.set_xlabel("passes over the source")
        axis.tick_params(labelbottom=True)
    legend_below(figure, axes[0][0], 2)
