"""Charts that several diagnoses share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .drawing import SOURCE_COLOR, color_of, marker_of
from .frames import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        values = part[value].to_numpy()
        ends = [values - part[f"{value}_low"].to_numpy(), part[f"{value}_high"].to_numpy() - values]
        axes.errorbar(
            [x + shift for x in range(len(stages))],
            values,
            yerr=ends,
            label=name,
            color=SOURCE_COLOR if is_source else color_of(index),
            marker="_" if is_source else marker_of(index),
            linestyle="--" if is_source else "-",
            elinewidth=1,
            capsize=2,
        )
    axes.set_xticks(range(len(stages)), stages)
    axes.set_xlabel("stage, shallow to deep")
