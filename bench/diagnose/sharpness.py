"""`sharpness`: what noise in one stage's features, or in its weights, costs on each domain.

LoEC reports the sharpest loss landscape in the shallow stages on far domains, without a procedure
or magnitudes; the procedure is ours (docs/diagnosis.md). Loss is the mean pixel cross entropy of an
episode's query.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.options import Option

from .drawing import Draw
from .finding import Finding, NotApplicable
from .frames import Frame, frame
from .numbers import Numbers
from .perturbing import filter_direction, moved, noisy_stage
from .probing import Probe, probed
from .sharpness_figures import draw_landscape, draw_noise, draw_slice, draw_weights
from .sharpness_sentences import causes, own_variant, sentences
from .spread import mean_range, miou_range
from .subject import Subject

EPISODES = 40

OPTIONS: Mapping[str, Option] = {
    "radii": Option(
        default="0.2-0.4-0.8", help="Feature noise in standard deviations of each channel."
    ),
    "weights": Option(default=0.2, min=0, help="Weight noise, relative to each filter's norm."),
    "reach": Option(default=0.5, min=0.01, help="Half the width of slice and picture, likewise."),
    "points": Option(default=7, min=3, max=51, help="Points of the slice."),
    "grid": Option(default=9, min=3, max=51, help="Points of the picture's side."),
    "grid-episodes": Option(default=10, min=1, help="Episodes behind each point of the picture."),
    "adapt": Option(
        default=False, help="Whether a method that learns at test does so in each of the probes."
    ),
}


@dataclass(frozen=True)
class _Asked:
    """One network on one domain."""

    variant: str
    network: Method
    domain: Domain
    episodes: Sequence[Episode]
    device: str
    seed: int
    adapt: bool

    def probe(self) -> Probe:
        asked = (self.network, self.domain, self.episodes, self.device)
        return probed(*asked, seed=self.seed, adapt=self.adapt)


def diagnose(subject: Subject) -> Finding:
    """Loss and mIoU under noise per stage and domain, with and without LEM.

    Raises:
        NotApplicable: for a method without a backbone, or one that does not read it by stages.
        DataError: if the source or a target is not here.
        UserError: for radii that are no numbers.
    """
    _ = subject.backbone
    variants = subject.variants()
    radii = radii_of(str(subject.options["radii"]))
    others = [name for name in variants.values() if name != subject.selection.methods[0]]
    numbers = subject.measured(lambda: _measured(subject, variants, radii), methods=others)
    tables, source = numbers.tables, subject.source_title
    figures: dict[str, Draw] = {
        "loss": lambda figure: draw_noise(figure, tables["features"], "loss", source),
        "miou": lambda figure: draw_noise(figure, tables["features"], "miou", source),
        "weights": lambda figure: draw_weights(figure, tables["weights"], source),
        "slice": lambda figure: draw_slice(figure, tables["slice"], source),
        "landscape": lambda figure: draw_landscape(figure, tables["landscape"]),
    }
    captions = {
        "loss": "Rise of the loss under noise in one stage's features; bands: 95 % over episodes.",
        "miou": "Change of mIoU under the same noise; bands: 95 % over query images.",
        "weights": "Rise of the loss under filter-normalised noise in one stage's weights; "
        "whiskers: 95 % over directions.",
        "slice": "Loss along random filter-normalised directions through all weights: mean and "
        "range over directions, the same for all lines.",
        "landscape": "Rise of the loss over a plane of two such directions: the source, and the "
        "target that rises most.",
    }
    said = sentences(tables, subject)
    found = causes(tables["episodes"], own_variant(subject), source)
    return Finding("sharpness", subject.label, tables, figures, said, captions, found)


def radii_of(text: str) -> tuple[float, ...]:
    """`0.1-0.2-0.4` as numbers, ascending.

    Raises:
        UserError: for anything else.
    """
    try:
        radii = sorted({float(part) for part in text.split("-")})
    except ValueError:
        radii = [0.0]
    if min(radii) <= 0 or not np.isfinite(radii).all():
        raise UserError(f"option 'radii' takes positive numbers such as 0.1-0.2-0.4, not '{text}'")
    return tuple(radii)


def _measured(subject: Subject, variants: Mapping[str, str], radii: Sequence[float]) -> Numbers:
    parts: dict[str, list[dict[str, Any]]] = {"features": [], "weights": [], "slice": []}
    adapt = bool(subject.options["adapt"])
    networks = {variant: subject.network(name) for variant, name in variants.items()}
    device, seed = subject.device, subject.seeds[0]
    asked = [
        _Asked(variant, network, domain, subject.episodes(domain), device, seed, adapt)
        for variant, network in networks.items()
        for domain in subject.domains
    ]
    stages = [stage.name for stage in asked[0].network.backbone.stages]
    tell = _Counter(subject, asked, len(stages), len(radii))
    _refuse_deaf(asked[0], radii[-1], subject.label)
    episodes: list[dict[str, Any]] = []
    for one in asked:
        clean = one.probe()
        tell()
        for at, stage in enumerate(stages):
            for radius in radii:
                noisy: list[Probe] = []
                for seed in subject.seeds:
                    with noisy_stage(one.network, at, radius, seed):
                        noisy.append(one.probe())
                    tell()
                rows, row = _feature_row(one, stage, radius, clean, noisy)
                parts["features"].append(row)
                episodes += rows
            parts["weights"].append(_weights_row(subject, one, at, stage, clean, tell))
        parts["slice"] += _slice(subject, one, clean, tell)
    tables = {name: frame(rows) for name, rows in parts.items()}
    tables["episodes"] = frame(episodes)
    tables["landscape"] = _landscape(subject, asked, tables["slice"], tell)
    return Numbers(tables)


class _Counter:
    """Counts evaluations of a domain and tells the progress."""

    def __init__(self, subject: Subject, asked: Sequence[_Asked], stages: int, radii: int):
        o, seeds = subject.options, len(subject.seeds)
        each = 1 + stages * (radii + 1) * seeds + int(o["points"]) * seeds
        pictures = len({one.variant for one in asked}) * min(2, len(subject.domains))
        share = int(o["grid-episodes"]) / subject.episode_count
        self._picture = share
        self._total = len(asked) * each + pictures * int(o["grid"]) ** 2 * share
        self._done = 0.0
        self._tell = subject.progress

    def __call__(self, share: float = 1.0) -> None:
        self._done += share
        self._tell(min(round(self._done), round(self._total)), round(self._total))


def _refuse_deaf(one: _Asked, radius: float, label: str) -> None:
    """Says so where a host computes its features otherwise than stage by stage."""
    few = replace(one, episodes=one.episodes[:1])
    with noisy_stage(one.network, 0, radius, 0):
        noisy = few.probe()
    if np.array_equal(noisy.losses, few.probe().losses):
        raise NotApplicable(
            f"noise in the first stage does not reach the predictions of {label}: it does not read "
            "its backbone stage by stage"
        )


def _feature_row(
    one: _Asked, stage: str, radius: float, clean: Probe, noisy: Sequence[Probe]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    change = np.mean([probe.losses for probe in noisy], 0) - clean.losses
    miou = miou_range([p.rows for p in noisy], [clean.rows])
    where = {"variant": one.variant, "domain": one.domain.title, "stage": stage, "radius": radius}
    row = {**where, "clean_loss": float(clean.losses.mean())}
    row |= {**mean_range(change).columns("loss"), **miou.columns("miou")}
    return [{**where, "episode": i, "loss": float(v)} for i, v in enumerate(change)], row


def _weights_row(
    subject: Subject,
    one: _Asked,
    at: int,
    stage: str,
    clean: Probe,
    tell: Callable[[], None],
) -> dict[str, Any]:
    parameters = list(one.network.backbone.stage_parameters(at))
    size = float(subject.options["weights"])
    losses: list[float] = []
    mious: list[float] = []
    for seed in subject.seeds:
        steps = filter_direction(parameters, subject.generator("weights", stage, seed))
        with moved(parameters, [size * step for step in steps]):
            probe = one.probe()
        losses.append(float((probe.losses - clean.losses).mean()))
        mious.append(miou_range([probe.rows], [clean.rows]).estimate)
        tell()
    where = {"variant": one.variant, "domain": one.domain.title, "stage": stage, "radius": size}
    return {**where, **mean_range(losses).columns("loss"), **mean_range(mious).columns("miou")}


def _all_parameters(network: Method) -> list[nn.Parameter]:
    backbone = network.backbone
    stages = [p for at in range(len(backbone.stages)) for p in backbone.stage_parameters(at)]
    return [*stages, *network.head()]


def _slice(
    subject: Subject, one: _Asked, clean: Probe, tell: Callable[[], None]
) -> list[dict[str, Any]]:
    """Loss along random directions through the weights, which all domains and variants share."""
    parameters, reach = _all_parameters(one.network), float(subject.options["reach"])
    positions = np.linspace(-reach, reach, int(subject.options["points"]))
    losses = np.empty((len(positions), len(subject.seeds)))
    for at, seed in enumerate(subject.seeds):
        steps = filter_direction(parameters, subject.generator("slice", seed))
        for i, position in enumerate(positions):
            if position == 0:
                losses[i, at] = clean.losses.mean()
            else:
                with moved(parameters, [float(position) * step for step in steps]):
                    losses[i, at] = one.probe().losses.mean()
            tell()
    where = {"variant": one.variant, "domain": one.domain.title}
    return [
        {
            **where,
            "position": float(position),
            "loss": float(row.mean()),
            "loss_low": float(row.min()),
            "loss_high": float(row.max()),
        }
        for position, row in zip(positions, losses, strict=True)
    ]


def _landscape(
    subject: Subject, asked: Sequence[_Asked], slices: Frame, tell: Callable[[float], None]
) -> Frame:
    """Loss over a plane through the weights: the source, and the target that is steepest."""
    ends = slices[slices["position"].abs() == slices["position"].abs().max()]
    rise = ends.groupby("domain")["loss"].mean()
    centre = slices.groupby("domain")["loss"].min()
    targets = [d.title for d in subject.targets]
    steepest = max(targets, key=lambda title: float(rise[title] - centre[title]))
    reach, side = float(subject.options["reach"]), int(subject.options["grid"])
    positions = np.linspace(-reach, reach, side)
    count = int(subject.options["grid-episodes"])
    rows: list[dict[str, Any]] = []
    for one in asked:
        if one.domain.title not in (subject.source_title, steepest):
            continue
        few = replace(one, episodes=one.episodes[:count])
        parameters = _all_parameters(one.network)
        across, up = (
            filter_direction(parameters, subject.generator("plane", axis)) for axis in (0, 1)
        )
        for y in positions:
            for x in positions:
                steps = [float(x) * a + float(y) * b for a, b in zip(across, up, strict=True)]
                with moved(parameters, steps):
                    loss = float(few.probe().losses.mean())
                where = {"variant": one.variant, "domain": one.domain.title}
                rows.append({**where, "x": float(x), "y": float(y), "loss": loss})
                tell(len(few.episodes) / len(one.episodes))
    return frame(rows)
