"""The figures of `frequency`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .drawing import DIVERGING, color_of
from .frames import names_in, row_where, rows_where
from .masking import ADAPTED, STATES
from .plots import legend_below, without_scales
from .spectra import BANDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_START = 1 / (1 + np.exp(-1.0))
"""Sigmoid of the masks' initial value."""


def matrices(figure: Figure, table: pd.DataFrame) -> None:
    """Per domain the 3 x 3 gains at each radius, and the paper's; one scale, numbers are mIoU."""
    domains = names_in(table, "domain")
    radii = sorted({float(r) for r in table["radius"]} - {0.0}) or [0.0]
    has_printed = bool(table["published"].notna().any())
    columns = len(radii) + has_printed
    figure.set_size_inches(1.75 * columns + 1.6, 1.75 * len(domains) + 0.7)
    axes = figure.subplots(len(domains), columns, squeeze=False)
    printed = [_printed(rows_where(table, domain=d)) for d in domains if has_printed]
    gains = [table["gain"].to_numpy(), *((p - p[0, 0]).ravel() for p in printed if p is not None)]
    reach = max(1.0, float(np.abs(np.concatenate(gains)).max()))
    image: Any = None
    for line, domain in zip(axes, domains, strict=True):
        rows = rows_where(table, domain=domain)
        for at, radius in enumerate(radii):
            values, gains, sure = _matrix(rows, radius)
            image = _heat(line[at], values, gains, sure, reach)
            if domain == domains[0]:
                line[at].set_title(f"radius {radius:g}", loc="center")
        if has_printed:
            theirs = _printed(rows)
            if theirs is None:
                line[-1].axis("off")
            else:
                image = _heat(line[-1], theirs, theirs - theirs[0, 0], None, reach)
            if domain == domains[0]:
                line[-1].set_title("printed in the paper", loc="center")
        name = rows["stands for"].iloc[0]
        shown = f"{domain}\n({name})" if name and name != domain and has_printed else domain
        line[0].set_ylabel(f"{shown}\namplitude")
    for axis in axes[-1]:
        axis.set_xlabel("phase")
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30)
    bar.set_label("gain over unfiltered (points); in bold: sure for all at once")
    bar.outline.set_visible(False)


def _matrix(rows: pd.DataFrame, radius: float) -> tuple[Any, Any, Any]:
    values, gains, sure = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3), bool)
    for i, amplitude in enumerate(BANDS):
        for j, phase in enumerate(BANDS):
            whole = amplitude == phase == "all"
            at = {"radius": 0.0 if whole else radius, "amplitude": amplitude, "phase": phase}
            row = row_where(rows, **at)
            values[i, j], gains[i, j] = row["miou"], row["gain"]
            sure[i, j] = not whole and (row["sure_low"] > 0 or row["sure_high"] < 0)
    return values, gains, sure


def _printed(rows: pd.DataFrame) -> NDArray[np.float64] | None:
    found = np.full((3, 3), np.nan)
    for i, amplitude in enumerate(BANDS):
        for j, phase in enumerate(BANDS):
            found[i, j] = rows_where(rows, amplitude=amplitude, phase=phase)["published"].iloc[0]
    return None if np.isnan(found).any() else found


def _heat(axes: Axes, values: Any, gains: Any, sure: Any, reach: float) -> Any:
    image = axes.imshow(gains, cmap=DIVERGING, vmin=-reach, vmax=reach)
    for i in range(3):
        for j in range(3):
            bold = sure is not None and bool(sure[i, j])
            dark = abs(gains[i, j]) > 0.6 * reach
            axes.text(
                j,
                i,
                f"{values[i, j]:.1f}",
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold" if bold else "normal",
                color="white" if dark else "#1b1f24",
            )
    axes.set_xticks(range(3), BANDS)
    axes.set_yticks(range(3), BANDS)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return image


def correlations(figure: Figure, table: pd.DataFrame, distribution: pd.DataFrame) -> None:
    """Per domain the cumulative distribution of the channels' correlations in three states."""
    domains = names_in(table, "domain")
    figure.set_size_inches(max(4.5, 2.6 * len(domains) + 0.4), 3.4)
    line = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    for axes, domain in zip(line, domains, strict=True):
        rows = rows_where(table, domain=domain)
        rate = rows["rate"].iloc[0]
        for at, (state, style) in enumerate(zip(STATES, ("-", "--", ":"), strict=True)):
            part = rows_where(distribution, domain=domain, rate=rate, state=state)
            axes.plot(
                np.concatenate(([0.0], part["up_to"].to_numpy())),
                np.concatenate(([0.0], np.cumsum(part["share"].to_numpy()))),
                linestyle=style,
                color=color_of(at),
                label="after the steps" if state == ADAPTED else state,
            )
        noise = rows["noise"].iloc[0]
        if np.isfinite(noise):
            axes.axvline(
                noise, color="#667080", linewidth=0.8, label="mean of independent channels"
            )
        axes.set_title(f"{domain}, rate {rate:g}")
        axes.set_xlabel("|correlation| of two channels")
        axes.set_xlim(0, 1)
    line[0].set_ylabel("share of pairs up to it")
    line[0].set_ylim(0, 1.01)
    legend_below(figure, line[0], 4)


def masks(figure: Figure, learning: pd.DataFrame, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The learnt masks, mean over episodes and channels, all on one scale around their start."""
    shown = [(str(r["domain"]), float(r["rate"]), r) for r in learning.to_dict("records")]
    pictures = [arrays[f"{d}/{r:g}/{n}"] for d, r, _ in shown for n in ("amplitude", "phase")]
    reach = max(0.05, *(float(np.abs(p - _START).max()) for p in pictures))
    figure.set_size_inches(1.5 * len(shown) + 1.4, 3.9)
    axes = figure.subplots(2, len(shown), squeeze=False)
    image: Any = None
    for column, (domain, rate, row) in enumerate(shown):
        for line, name in zip(axes, ("amplitude", "phase"), strict=True):
            picture = arrays[f"{domain}/{rate:g}/{name}"]
            image = line[column].imshow(
                picture, cmap=DIVERGING, vmin=_START - reach, vmax=_START + reach
            )
            without_scales(line[column])
            line[column].spines[:].set_visible(False)
            if column == 0:
                line[column].set_ylabel(f"{name} mask")
        axes[0][column].set_title(f"{domain}\nrate {rate:g}", loc="center", fontsize=8)
        axes[1][column].set_xlabel(f"moved at most\n{row['moved']:.1g}", fontsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(f"sigmoid(mask), start = {_START:.2f}")
    bar.outline.set_visible(False)
