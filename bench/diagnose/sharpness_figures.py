"""The figures of `sharpness`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import SEQUENTIAL, SOURCE_COLOR, color_of, marker_of
from .frames import Frame, names_in, rows_where
from .plots import across_stages, banded, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {"loss": "rise of the loss (nats)", "miou": "change of mIoU (points)"}


def draw_noise(figure: Figure, table: Frame, value: str, source: str) -> None:
    """A panel per domain (across) and variant (down): change over the radius, a line per stage."""
    variants, domains = names_in(table, "variant"), names_in(table, "domain")
    stages = names_in(table, "stage")
    figure.set_size_inches(2.1 * len(domains) + 0.6, 2.1 * len(variants) + 0.7)
    axes = figure.subplots(len(variants), len(domains), squeeze=False, sharex=True, sharey=True)
    for line, variant in zip(axes, variants, strict=True):
        for axis, domain in zip(line, domains, strict=True):
            for at, stage in enumerate(stages):
                part = rows_where(table, variant=variant, domain=domain, stage=stage)
                part = part.sort_values("radius")
                color, marker = color_of(at), marker_of(at)
                banded(axis, part["radius"], part, value, color=color, marker=marker, label=stage)
            axis.axhline(0, color=SOURCE_COLOR, linewidth=0.8)
            if variant == variants[0]:
                axis.set_title(f"{domain} (source)" if domain == source else domain)
            if variant == variants[-1]:
                axis.set_xlabel("noise (std. dev.)")
        line[0].set_ylabel(f"{variant}\n{_WORDS[value]}")
    legend_below(figure, axes[0][0], 6)


def draw_weights(figure: Figure, table: Frame, source: str) -> None:
    """A panel per variant: the rise of the loss under noise in one stage's weights."""
    variants = names_in(table, "variant")
    figure.set_size_inches(4.2 * len(variants) + 0.5, 3.6)
    axes = figure.subplots(1, len(variants), squeeze=False, sharey=True)[0]
    for axis, variant in zip(axes, variants, strict=True):
        part = table[table["variant"] == variant]
        across_stages(axis, part, names_in(part, "stage"), "loss", source=source)
        axis.axhline(0, color=SOURCE_COLOR, linewidth=0.8)
        axis.set_title(variant)
    axes[0].set_ylabel(
        f"{_WORDS['loss']}\nat weight noise {table['radius'].max():g} of a filter's norm"
    )
    legend_below(figure, axes[0], 6)


def draw_slice(figure: Figure, table: Frame, source: str) -> None:
    """A panel per variant: the loss along random directions, mean and range, a line per domain."""
    variants, domains = names_in(table, "variant"), names_in(table, "domain")
    figure.set_size_inches(4.2 * len(variants) + 0.5, 3.6)
    axes = figure.subplots(1, len(variants), squeeze=False, sharey=True)[0]
    targets = [domain for domain in domains if domain != source]
    for axis, variant in zip(axes, variants, strict=True):
        for domain in domains:
            part = rows_where(table, variant=variant, domain=domain)
            look: dict[str, Any] = {"color": SOURCE_COLOR, "linestyle": "--"}
            if domain != source:
                at = targets.index(domain)
                look = {"color": color_of(at), "marker": marker_of(at)}
            banded(axis, part["position"], part, "loss", label=domain, **look)
        axis.set_title(variant)
        axis.set_xlabel("step, relative to each filter's norm")
    axes[0].set_ylabel("loss (nats)")
    legend_below(figure, axes[0], 6)


def draw_landscape(figure: Figure, table: Frame) -> None:
    """A panel per domain (across) and variant (down): the rise of the loss over a plane."""
    variants, domains = names_in(table, "variant"), names_in(table, "domain")
    figure.set_size_inches(3.1 * len(domains) + 1, 2.8 * len(variants) + 0.4)
    axes = figure.subplots(len(variants), len(domains), squeeze=False)
    rises: dict[tuple[str, str], Any] = {}
    for variant in variants:
        for domain in domains:
            part = rows_where(table, variant=variant, domain=domain)
            grid = part.pivot(index="y", columns="x", values="loss")
            centre = grid.to_numpy()[len(grid) // 2, len(grid) // 2]
            rises[variant, domain] = grid - centre
    most = max(float(np.abs(grid.to_numpy()).max()) for grid in rises.values()) or 1.0
    levels = np.linspace(0, most, 13)
    drawn = None
    for (variant, domain), grid in rises.items():
        axis = axes[variants.index(variant)][domains.index(domain)]
        values = grid.to_numpy()
        drawn = axis.contourf(
            grid.columns, grid.index, values, levels=levels, cmap=SEQUENTIAL, extend="min"
        )
        axis.contour(
            grid.columns, grid.index, values, levels=levels[1:], colors="white", linewidths=0.4
        )
        axis.plot(0, 0, marker="+", color="white", markersize=8)
        axis.set_aspect("equal")
        axis.grid(visible=False)
        if variant == variants[0]:
            axis.set_title(domain)
        if variant == variants[-1]:
            axis.set_xlabel("step along one direction")
        if domain == domains[0]:
            axis.set_ylabel(f"{variant}\nstep along another")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label="rise of the loss (nats)", shrink=0.8, format="%.2f")
