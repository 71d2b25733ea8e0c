"""The figures of `lcm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdfss_bench.options import Value

from .drawing import SEQUENTIAL, color_of, marker_of
from .frames import names_in, rows_where
from .plots import banded, legend_below, without_scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEARNT, _TRUE = "#d55e00", "#0072b2"


def similarities(figure: Figure, table: pd.DataFrame, beta: Value) -> None:
    """Per domain the distribution of similarity to the anchors, true foreground and the rest."""
    domains = names_in(table, "domain")
    figure.set_size_inches(max(4.5, 2.6 * len(domains) + 0.4), 3.2)
    line = figure.subplots(1, len(domains), squeeze=False)[0]
    used = table.loc[(table["foreground"] > 0) | (table["background"] > 0)]
    low = min(float(used["from"].min()), 0.9) if len(used) else -1.0
    for axes, domain in zip(line, domains, strict=True):
        rows = rows_where(table, domain=domain)
        edges = np.append(rows["from"].to_numpy(), 1.0)
        for name, color, fill in (("foreground", _TRUE, True), ("background", _LEARNT, False)):
            axes.stairs(
                100 * rows[name].to_numpy(),
                edges,
                color=color,
                fill=fill,
                alpha=0.35 if fill else 1.0,
                linewidth=1.4,
                label=f"true {name}",
            )
        if beta != "mean":
            axes.axvline(float(beta), color="#1b1f24", linewidth=0.9, linestyle="--", label="beta")
        axes.set_title(domain)
        axes.set_xlim(low, 1)
        axes.set_xlabel("cosine to an anchor")
    line[0].set_ylabel("share of patches (%)")
    legend_below(figure, line[0], 3)


def anchors(figure: Figure, table: pd.DataFrame, failure: pd.DataFrame) -> None:
    """How often each anchor is right, and what LCM does where they are right and wrong."""
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    figure.set_size_inches(8.2, 3.9)
    domains = names_in(table, "domain")
    for at, domain in enumerate(domains):
        rows = rows_where(table, domain=domain)
        shift = 0.08 * (at - (len(domains) - 1) / 2)
        _points(left, rows["rank"].to_numpy() + shift, rows, "hit", 100, at, domain, "-")
        left.axhline(100 * rows["chance"].iloc[0], color=color_of(at), linestyle=":", linewidth=1)
        both = rows_where(failure, domain=domain)
        _points(right, np.arange(2) + shift, both, "gain", 1, at, domain, "none")
    left.set_xlabel("rank of the anchor by confidence")
    left.set_ylabel("in the true foreground (%; dotted: chance)")
    left.set_ylim(0, 103)
    left.set_xticks(sorted(set(table["rank"])))
    left.set_title("Quality of the anchors")
    right.axhline(0, color="#667080", linewidth=0.8)
    right.set_xticks([0, 1], ["most are right", "most are wrong"])
    right.set_xlim(-0.5, 1.5)
    right.set_xlabel("anchors of the episode")
    right.set_ylabel("change of the episode's IoU by LCM (points)")
    right.set_title("What LCM makes of them")
    legend_below(figure, left, 5)


def _points(
    axes: Axes,
    x: NDArray[Any],
    rows: pd.DataFrame,
    name: str,
    scale: float,
    at: int,
    label: str,
    line: str,
) -> None:
    values = scale * rows[name].to_numpy()
    low, high = scale * rows[f"{name}_low"].to_numpy(), scale * rows[f"{name}_high"].to_numpy()
    axes.errorbar(
        x,
        values,
        yerr=[np.nan_to_num(values - low).clip(0), np.nan_to_num(high - values).clip(0)],
        color=color_of(at),
        marker=marker_of(at),
        linestyle=line,
        elinewidth=1,
        capsize=2,
        label=label,
    )


def settings(figure: Figure, table: pd.DataFrame, stated: Mapping[str, Value]) -> None:
    """Gain over the host when K, w or beta alone is changed."""
    figure.set_size_inches(9, 3.7)
    line = figure.subplots(1, 3, sharey=True)
    domains = names_in(table, "domain")
    columns = {"k": "K, anchors", "w": "w, weight of each", "beta": "beta"}
    for axes, (name, title) in zip(line, columns.items(), strict=True):
        others = [column for column in columns if column != name]
        for at, domain in enumerate(domains):
            rows = rows_where(table, domain=domain)
            for other in others:
                rows = rows.loc[rows[other].astype(str) == str(stated[other])]
            order = np.argsort([_place(value) for value in rows[name]], kind="stable")
            rows = rows.iloc[order]
            x = np.arange(len(rows))
            color, marker = color_of(at), marker_of(at)
            banded(axes, x, rows, "gain", color=color, marker=marker, label=domain)
            ticks = [f"{v:g}" if isinstance(v, float) else str(v) for v in rows[name]]
            axes.set_xticks(x, ticks)
        axes.axhline(0, color="#667080", linewidth=0.8)
        axes.set_xlabel(title)
    line[0].set_ylabel("gain over the host (mIoU, points)")
    legend_below(figure, line[0], 5)


def _place(value: object) -> float:
    return np.inf if value == "mean" else float(str(value))


def worst(figure: Figure, arrays: Mapping[str, NDArray[Any]], domains: Sequence[str]) -> None:
    """Per domain the episode with wrong anchors in which LCM loses most (or gains least)."""
    figure.set_size_inches(9.4, 1.95 * len(domains) + 0.4)
    axes = figure.subplots(len(domains), 5, squeeze=False)
    titles = ("support", "query, truth, anchors", "coarse mask", "mean similarity", "after LCM")
    for line, domain in zip(axes, domains, strict=True):
        part = {n.rpartition("/")[2]: a for n, a in arrays.items() if n.startswith(f"{domain}/")}
        line[0].imshow(part["support"])
        _outline(line[0], part["support mask"], _TRUE)
        line[1].imshow(part["query"])
        _outline(line[1], part["truth"], _TRUE)
        _anchor_marks(line[1], part)
        for axis, name in ((line[2], "coarse"), (line[4], "corrected")):
            axis.imshow(_dimmed(part["query"], part[name]))
            _outline(axis, part[name], _LEARNT)
            _outline(axis, part["truth"], _TRUE)
        side = part["query"].shape[:2]
        line[3].imshow(part["similarity"], cmap=SEQUENTIAL, vmax=1, extent=(0, side[1], side[0], 0))
        _anchor_marks(line[3], part)
        gain, wrong = part["gain"]
        word = "wrong" if wrong else "right"
        line[0].set_ylabel(domain)
        line[4].set_xlabel(f"IoU {gain:+.1f}, anchors {word}", fontsize=8)
        lowest = float(part["similarity"].min())
        line[3].set_xlabel(f"{lowest:.2f} (dark) to 1", fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, loc="center")
    for axis in axes.flat:
        without_scales(axis)
        axis.spines[:].set_visible(False)


def _anchor_marks(axes: Axes, part: Mapping[str, NDArray[Any]]) -> None:
    rows, columns = part["similarity"].shape
    height, width = part["query"].shape[:2]
    for index in part["anchors"]:
        y, x = divmod(int(index), columns)
        axes.plot(
            (x + 0.5) * width / columns,
            (y + 0.5) * height / rows,
            marker="X",
            markersize=7,
            color="#ffffff",
            markeredgecolor="#1b1f24",
            markeredgewidth=0.9,
        )


def _outline(axes: Axes, mask: NDArray[Any], color: str) -> None:
    if 0 < mask.mean() < 1:
        axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.3)


def _dimmed(image: NDArray[Any], mask: NDArray[Any]) -> NDArray[np.uint8]:
    grey = image.mean(-1, keepdims=True).repeat(3, -1) * 0.45
    return np.where(mask[..., None] > 0, image, grey).astype(np.uint8)
