"""`features`: how strongly each stage answers to the targets, compared with the source.

LoEC reports shallow stages that are inactive on the targets. Measured here, per stage s and domain
D: the activation A_s(D) = mean |F_s|, its ratio to the source's, and the share of dead cells, those
whose channel mean of |F_s| is below a tenth of the image's maximum. F_s is the stage's output, what
the next stage sees. The paper gives neither formula nor magnitude; both are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.methods.core.method import Method
from cdfss_bench.options import Option

from .causes import Cause, at_once
from .drawing import SEQUENTIAL, Draw
from .finding import Finding, NotApplicable
from .frames import Frame, frame
from .numbers import Numbers
from .plots import across_stages, legend_below, without_scales
from .spread import Range, mean_range, range_of, ratio_range
from .subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIONS: Mapping[str, Option] = {
    "images": Option(default=60, min=2, help="Images of each domain, classes in turn."),
    "pictures": Option(default=2, min=1, max=8, help="Images of each domain that are shown."),
    "floor": Option(
        default=0.1, min=0, max=1, help="Share of an image's maximum below which a cell is dead."
    ),
}


def diagnose(subject: Subject) -> Finding:
    """Activation per stage, source against targets.

    Raises:
        NotApplicable: for a method without a backbone.
        DataError: if the source or a target is not here.
    """
    _ = subject.backbone
    numbers = subject.measured(lambda: _measured(subject))
    stages = list(dict.fromkeys(numbers.tables["images"]["stage"]))
    table = _summary(numbers.tables["images"], subject.source_title)
    figures: dict[str, Draw] = {
        "maps": lambda figure: _draw_maps(figure, numbers.arrays, stages),
        "activation": lambda figure: _draw_lines(figure, table, stages, subject.source_title),
    }
    tables = {"stages": table, "images": numbers.tables["images"]}
    sentences = _sentences(table, stages, subject.source_title, float(subject.options["floor"]))
    captions = {
        "maps": "Channel mean of |F| of each stage, scaled per picture from its least to its most.",
        "activation": "Mean |F| relative to the source's, and the share of dead cells; 95 % "
        "intervals over images.",
    }
    found = causes(table, subject.source_title)
    return Finding("features", subject.label, tables, figures, sentences, captions, found)


def stage_outputs(network: Method, images: Tensor) -> dict[str, Tensor]:
    """Every stage's output [N, C, h, w] for `images` [N, 3, H, W] as inference sees it."""

    def edit(index: int, output: Tensor) -> Tensor:
        return network.edited(index, output, role=None, rng=None)

    return {maps.stage.name: maps.output for maps in network.backbone.walk(images, edit)}


def activity(maps: Tensor, *, floor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean |F| and share of dead cells of each image, [N] and [N].

    Args:
        maps: [N, C, h, w].
        floor: share of the image's maximal channel mean below which a cell is dead. An image
            without any activation is dead throughout.
    """
    cells = maps.abs().mean(1).flatten(1)
    most = cells.amax(1, keepdim=True)
    dead = ((cells < floor * most) | (most == 0)).double().mean(1)
    return cells.double().mean(1).cpu().numpy(), dead.cpu().numpy()


def _measured(subject: Subject) -> Numbers:
    count, shown = int(subject.options["images"]), int(subject.options["pictures"])
    network, rows, arrays = subject.network(), list[dict[str, Any]](), dict[str, NDArray[Any]]()
    if not network.backbone.stages:
        raise NotApplicable(f"the backbone of {subject.label} has no stages")
    domains = subject.domains
    for done, domain in enumerate(domains):
        images = subject.images(domain, count)
        for first in range(0, len(images), 8):
            batch = images[first : first + 8].to(subject.device)
            with torch.inference_mode():
                outputs = stage_outputs(network, batch)
            for stage, maps in outputs.items():
                mean, dead = activity(maps, floor=float(subject.options["floor"]))
                rows += [
                    {
                        "domain": domain.title,
                        "stage": stage,
                        "image": first + i,
                        "activation": mean[i],
                        "dead": dead[i],
                    }
                    for i in range(len(mean))
                ]
                _keep_pictures(arrays, domain.title, stage, maps, first, shown)
            subject.progress(done * count + first + len(batch), count * len(domains))
        pictures = [domain.image(item) for _, item in subject.items(domain, shown)]
        arrays[f"{domain.title}/image"] = np.stack(pictures)
    return Numbers({"images": frame(rows)}, arrays)


def _keep_pictures(
    arrays: dict[str, NDArray[Any]], domain: str, stage: str, maps: Tensor, first: int, shown: int
) -> None:
    if first == 0:
        cells = maps[:shown].abs().mean(1).cpu()
        low, high = cells.amin((1, 2), keepdim=True), cells.amax((1, 2), keepdim=True)
        scaled = (cells - low) / (high - low).clamp_min(1e-12)
        arrays[f"{domain}/{stage}"] = scaled.numpy().astype(np.float32)


def _summary(images: Frame, source: str) -> Frame:
    """One row per domain and stage, with intervals over images."""
    found: list[dict[str, Any]] = []
    by: dict[tuple[str, str], Frame] = dict(iter(images.groupby(["domain", "stage"], sort=False)))
    for (domain, stage), part in by.items():
        activation, dead = mean_range(part["activation"]), mean_range(part["dead"])
        ratio = ratio_range(part["activation"], by[source, stage]["activation"])
        if domain == source:
            ratio = Range(1.0, 1.0, 1.0)
        row: dict[str, Any] = {"domain": domain, "stage": stage, "images": len(part)}
        for name, value in (("activation", activation), ("ratio", ratio), ("dead", dead)):
            row |= value.columns(name)
        row["dead_low"], row["dead_high"] = max(0.0, dead.low), min(1.0, dead.high)
        found.append(row)
    return frame(found)


def causes(table: Frame, source: str) -> tuple[Cause, ...]:
    """The stage and target that lack most of the source's activation."""
    targets = table[table["domain"] != source]
    least = targets.loc[targets["ratio"].idxmin()]
    ratio = range_of(least, "ratio")
    lacking = Range(*(100 * (1 - end) for end in (ratio.estimate, ratio.high, ratio.low)))
    size = at_once(lacking, len(targets))
    where = f"stage {least['stage']} on {least['domain']}"
    unit = "% of the source's activation is missing"
    return (Cause("features", "a stage is inactive", size, unit, where),)


def _sentences(table: Frame, stages: list[str], source: str, floor: float) -> tuple[str, str, str]:
    targets = table[table["domain"] != source]
    least, most = targets.loc[targets["ratio"].idxmin()], targets.loc[targets["ratio"].idxmax()]
    first = (
        f"Against {source}, activation is weakest in stage {least['stage']} on {least['domain']}, "
        f"{_between(least, 'ratio')} of the source's, and strongest in {most['stage']} on "
        f"{most['domain']}, {_between(most, 'ratio')} (95 % intervals over "
        f"{int(least['images'])} images)."
    )
    dead = targets.loc[targets["dead"].idxmax()]
    home = table[(table["domain"] == source) & (table["stage"] == dead["stage"])].iloc[0]
    second = (
        f"Cells below {100 * floor:g} % of their image's maximum are most frequent in stage "
        f"{dead['stage']} on {dead['domain']}: {_between(dead, 'dead', 100)} % of all, against "
        f"{_between(home, 'dead', 100)} % on the source."
    )
    shallow = stages[: max(1, len(stages) // 2)]
    part = targets[targets["stage"].isin(shallow)]
    weaker = sorted(set(part[part["ratio_high"] < 1]["domain"]))
    halved = sorted(set(part[part["ratio_high"] < 0.5]["domain"]))
    of = targets["domain"].nunique()
    third = (
        f"In the shallow stages ({', '.join(shallow)}) activation is significantly below the "
        f"source's on {_listed(weaker, of)}, and below half of it on {_listed(halved, of)}; "
        "shallow stages that are inactive on the targets, as LoEC reports, would show as ratios "
        "near 0."
    )
    return first, second, third


def _between(row: Any, name: str, scale: float = 1.0) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    digits = 2 if scale == 1 else 0
    value = f"{scale * row[name]:.{digits}f}"
    if not np.isfinite(low):
        return value
    return f"{value} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _listed(names: list[str], of: int) -> str:
    return f"{len(names)} of {of} targets" + (f" ({', '.join(names)})" if names else "")


def _draw_lines(figure: Figure, table: Frame, stages: list[str], source: str) -> None:
    left, right = figure.subplots(1, 2)
    across_stages(left, table, stages, "ratio", source=source)
    left.set_ylabel("mean |activation| / source's")
    left.set_ylim(bottom=0)
    left.set_title("Activation, source = 1")
    shares = table.copy()
    for name in ("dead", "dead_low", "dead_high"):
        shares[name] *= 100
    across_stages(right, shares, stages, "dead", source=source)
    right.set_ylabel("dead cells (%)")
    right.set_ylim(bottom=0)
    right.set_title("Cells without activation")
    legend_below(figure, left, 5)


def _draw_maps(figure: Figure, arrays: Mapping[str, NDArray[Any]], stages: list[str]) -> None:
    domains = [name.removesuffix("/image") for name in arrays if name.endswith("/image")]
    rows = [(domain, i) for domain in domains for i in range(len(arrays[f"{domain}/image"]))]
    figure.set_size_inches(1.15 * (len(stages) + 1) + 1, 1.15 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), len(stages) + 1, squeeze=False)
    for line, (domain, i) in zip(axes, rows, strict=True):
        line[0].imshow(arrays[f"{domain}/image"][i])
        if i == 0:
            line[0].set_ylabel(domain, rotation=0, ha="right", va="center")
        for axis, stage in zip(line[1:], stages, strict=True):
            axis.imshow(arrays[f"{domain}/{stage}"][i], cmap=SEQUENTIAL, vmin=0, vmax=1)
    for axis, title in zip(axes[0], ["image", *stages], strict=True):
        axis.set_title(title, loc="center")
    for axis in axes.flat:
        without_scales(axis)
