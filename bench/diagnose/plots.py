"""Charts that several diagnoses share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .drawing import SOURCE_COLOR, color_of, marker_of
from .frames import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def across_stages(
    axes: Axes, table: Frame, stages: Sequence[str], value: str, *, source: str
) -> None:
    """A line per domain over the stages, its 95 % interval as whiskers; the source is grey.

    The columns are `value` with `_low` and `_high`.
    """
    names = list(dict.fromkeys(table["domain"]))
    targets = [name for name in names if name != source]
    for at, name in enumerate(names):
        part = table[table["domain"] == name].set_index("stage").loc[list(stages)]
        is_source = name == source
        index = 0 if is_source else targets.index(name)
        shift = 0.08 * (at - (len(names) - 1) / 2)
        whiskers(
            axes,
            [x + shift for x in range(len(stages))],
            part,
            value,
            label=name,
            color=SOURCE_COLOR if is_source else color_of(index),
            marker="_" if is_source else marker_of(index),
            linestyle="--" if is_source else "-",
        )
    axes.set_xticks(range(len(stages)), stages)
    axes.set_xlabel("stage, shallow to deep")


def whiskers(axes: Axes, x: Any, rows: Frame, value: str, **look: Any) -> None:
    """A line through the column `value`, with whiskers from `value_low` to `value_high`."""
    values = rows[value].to_numpy()
    ends = [values - rows[f"{value}_low"].to_numpy(), rows[f"{value}_high"].to_numpy() - values]
    axes.errorbar(x, values, yerr=ends, elinewidth=1, capsize=2, **look)


def banded(
    axes: Axes,
    x: Any,
    rows: Frame,
    value: str,
    *,
    color: str,
    label: str,
    marker: str = "",
    linestyle: str = "-",
    alpha: float = 0.15,
) -> None:
    """A line through the column `value`, with a band from `value_low` to `value_high`."""
    axes.plot(x, rows[value], color=color, label=label, marker=marker, linestyle=linestyle)
    low, high = rows[f"{value}_low"], rows[f"{value}_high"]
    axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend below all panels, of what `axes` shows."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def without_scales(axes: Axes) -> None:
    """For a picture: neither ticks nor a grid."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
