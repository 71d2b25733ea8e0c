"""`layers`: which layer of the backbone a method should read, and whether the support can tell.

HERA (CVPR 2026) chooses the layer by the support and gains most by it; FSSDINO (2026) finds that no
choice by the support beats the last layer, though an oracle would. Here one backbone is read once
per image and the host answers from every layer: mIoU per layer, of the oracle that knows the best
layer of each episode, and of each choice by the support, all paired over the same episodes.

A choice is a function in `CHOICES`; it sees the supports and never the query. HERA's own choice,
which also mixes layers, is the host with the plug-in `hls`, asked by the evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from cdfss_bench.datasets import Domain
from cdfss_bench.methods.backbones.base import Backbone
from cdfss_bench.methods.controls.prototype import Prototype
from cdfss_bench.methods.core.feature_batch import FeatureBatch

from ..evaluation.pixel_counts import count
from ..records.cell_folder import EpisodeRow
from ..statistics.metrics import iou
from .causes import Cause, at_once
from .drawing import Draw, color_of, marker_of
from .finding import Finding, NotApplicable
from .frames import largest, names_in, range_in, row_where, rows_where
from .numbers import Numbers
from .plots import banded
from .resampling import paired
from .spread import Range
from .subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Readers = Mapping[str, Prototype]
"""The method by the layer that it reads, shallow to deep; all share one backbone."""

Choice = Callable[[Readers, FeatureBatch, Tensor], str]
"""(readers, features of K supports at every layer, masks uint8 [K, H, W]) -> a layer."""

LAST, ORACLE, HLS = "last layer", "oracle", "by HLS"


def by_support(readers: Readers, support: FeatureBatch, masks: Tensor) -> str:
    """The layer that predicts each support best from the others; from itself where it is alone.

    Mean IoU over the supports; the deeper layer of two equal ones.
    """
    shots = len(masks)
    scores: dict[str, float] = {}
    for name, reader in readers.items():
        total = 0.0
        for left in range(shots):
            others = [i for i in range(shots) if i != left] or [left]
            shown = FeatureBatch.cat([support[i : i + 1] for i in others])
            logits = reader.match(support[left : left + 1], shown, masks[others][None])
            found = reader.decide(logits, support.size)
            counts = count(found.cpu(), masks[left : left + 1].cpu(), None)[0]
            total += float(iou(counts.inter, counts.union))
        scores[name] = total / shots
    return max(reversed(scores), key=lambda name: scores[name])


CHOICES: dict[str, Choice] = {"by support": by_support}
"""Choices of a layer by the support, by name."""


def diagnose(subject: Subject) -> Finding:
    """MIoU per layer, of the oracle, and of every choice by the support.

    Raises:
        NotApplicable: for a method that reads no single layer, or carries plug-ins.
    """
    _ = subject.backbone
    composition = subject.composition
    if "layer" not in composition.host.card.options:
        raise NotApplicable(
            f"{subject.label} has no option 'layer', so no other layer can be read",
            hint="diagnose a method that has it: -m prototype or -m ssp",
        )
    if composition.plugins:
        raise NotApplicable(
            f"{subject.label} carries plug-ins made for its layer", hint="diagnose the host alone"
        )
    with_hls = subject.carrying("hls")
    numbers = subject.measured(
        lambda: _measured(subject, with_hls),
        methods=[with_hls] if with_hls else [],
        also={"choices": sorted(CHOICES)},
    )
    table, choices = numbers.tables["layers"], numbers.tables["choices"]
    figures: dict[str, Draw] = {"layers": lambda figure: _draw(figure, table, choices)}
    captions = {"layers": "mIoU by the layer that is read; dashed: the best layer of each episode"}
    sentences = _sentences(table, choices)
    found = causes(table)
    return Finding("layers", subject.label, numbers.tables, figures, sentences, captions, found)


def layer_names(backbone: Backbone) -> list[str]:
    """Every layer that can be read, shallow to deep, as the option `layer` calls it."""
    names: list[str] = []
    for stage in backbone.stages:
        names += [f"{stage.name}.{tap}" for tap in range(stage.taps - 1)]
        names += [stage.name] if stage.taps else []
    return names


def _measured(subject: Subject, with_hls: str | None) -> Numbers:
    network = subject.network()
    chooser = None if with_hls is None else subject.network(with_hls)
    if not isinstance(network, Prototype):
        raise NotApplicable(f"{subject.label} does not match one map of its backbone")
    readers = {name: network.reading(name) for name in layer_names(network.backbone)}
    layers: list[dict[str, Any]] = []
    choices: list[dict[str, Any]] = []
    total = len(subject.targets) * subject.episode_count
    for number, domain in enumerate(subject.targets):
        begun = number * subject.episode_count
        rows, chosen = _asked(
            subject,
            domain,
            readers,
            lambda done, begun=begun: subject.progress(begun + done, total),
        )
        if chooser is not None:
            chosen[HLS] = subject.rows(chooser, domain, subject.episodes(domain))
        resamples = paired({**rows, **chosen})
        deepest = list(rows)[-1]
        gains = resamples.gains_at_once(list(rows), deepest)
        for depth, (name, sure) in enumerate(zip(rows, gains, strict=True)):
            row = {"domain": domain.title, "layer": name, "depth": depth}
            layers.append({**row, **resamples.columns(name, deepest, sure)})
        for name in chosen:
            row = {"domain": domain.title, "choice": name}
            choices.append({**row, **resamples.columns(name, LAST)})
    return Numbers({"layers": pd.DataFrame(layers), "choices": pd.DataFrame(choices)})


Rows = dict[str, list[EpisodeRow]]


@torch.no_grad()
def _asked(
    subject: Subject, domain: Domain, readers: Readers, told: Callable[[int], None]
) -> tuple[Rows, Rows]:
    """The evaluator's rows by layer, and by choice."""
    rows: Rows = {name: [] for name in readers}
    chosen: Rows = {name: [] for name in (LAST, ORACLE, *CHOICES)}
    any_reader = next(iter(readers.values()))
    for index, episode in enumerate(subject.episodes(domain)):
        tensors = domain.load(episode)
        masks = tensors.support_masks.to(subject.device)
        images = torch.cat((tensors.query_image[None], tensors.support_images)).to(subject.device)
        features = FeatureBatch.cat(
            [any_reader.walked(image[None], last_taps=list(readers)) for image in images]
        )
        query, support = features[:1], features[1:]
        ignore = None if tensors.query_ignore is None else tensors.query_ignore[None]
        for name, reader in readers.items():
            found = reader.decide(reader.match(query, support, masks[None]), query.size)
            counts = count(found.cpu(), tensors.query_mask[None], ignore)[0]
            rows[name].append(EpisodeRow(index, episode, counts))
        now = {name: each[-1] for name, each in rows.items()}
        chosen[LAST].append(now[list(now)[-1]])
        chosen[ORACLE].append(max(reversed(now.values()), key=_iou))
        for name, choose in CHOICES.items():
            chosen[name].append(now[choose(readers, support, masks)])
        told(index + 1)
    return rows, chosen


def _iou(row: EpisodeRow) -> float:
    return float(iou(row.counts.inter, row.counts.union))


def _draw(figure: Figure, table: pd.DataFrame, choices: pd.DataFrame) -> None:
    layers = names_in(table, "layer")
    figure.set_size_inches(max(5.0, 0.42 * len(layers) + 1.6), 3.4)
    axes = figure.subplots()
    for at, domain in enumerate(names_in(table, "domain")):
        rows, color = rows_where(table, domain=domain), color_of(at)
        marker = marker_of(at)
        banded(axes, rows["depth"], rows, "miou", color=color, marker=marker, label=domain)
        best = row_where(choices, domain=domain, choice=ORACLE)
        axes.axhline(best["miou"], color=color, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(layers)), layers, rotation=90)
    axes.set_ylabel("mIoU (%)")
    axes.legend()


def _sentences(table: pd.DataFrame, choices: pd.DataFrame) -> tuple[str, str, str]:
    domains = names_in(table, "domain")
    best = [largest(rows, rows["miou"]) for rows in (rows_where(table, domain=d) for d in domains)]
    each = "; ".join(
        f"{row['domain']} {row['layer']} ({range_in(row, 'gain')} points over the last)"
        for row in best
    )
    better = names_in(table.loc[table["sure_low"] > 0], "domain")
    first = (
        f"The best layer is {each}; some layer is significantly better than the last on "
        f"{len(better)} of {len(domains)} targets (95 % for all layers at once)."
    )
    second = f"Knowing the best layer of each episode would add {_gains(choices, ORACLE)} points."
    named = [name for name in names_in(choices, "choice") if name not in (LAST, ORACLE)]
    third = "; ".join(f"chosen {name}: {_gains(choices, name)}" for name in named)
    return first, second, f"Over the last layer, the layer {third} points."


def causes(table: pd.DataFrame) -> tuple[Cause, ...]:
    """What the best layer gains over the last on the target where it gains most."""
    best = largest(table, table["gain"])
    alone = Range(best["gain"], best["sure_low"], best["sure_high"])
    size = at_once(alone, len(names_in(table, "domain")))
    where = f"{best['domain']}, layer {best['layer']}"
    return (Cause("layers", "another layer is better", size, where=where),)


def _gains(choices: pd.DataFrame, name: str) -> str:
    rows: Sequence[Any] = rows_where(choices, choice=name).to_dict("records")
    return ", ".join(f"{row['domain']} {range_in(row, 'gain')}" for row in rows)
