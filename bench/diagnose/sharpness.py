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

from .causes import Cause, at_once
from .drawing import Draw
from .finding import Finding, NotApplicable
from .frames import Frame, frame, names_in, row_where, rows_where
from .numbers import Numbers
from .perturbing import filter_direction, moved, noisy_stage
from .probing import Probe, probed
from .sharpness_figures import draw_landscape, draw_noise, draw_slice, draw_weights
from .spread import mean_range, miou_range, range_of
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
    sentences = _sentences(tables, subject)
    found = causes(tables["episodes"], _own_variant(subject), source)
    return Finding("sharpness", subject.label, tables, figures, sentences, captions, found)


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


def causes(episodes: Frame, own: str, source: str) -> tuple[Cause, ...]:
    """The stage whose noise raises the targets' loss most, over all targets."""
    chosen = rows_where(_of_targets(episodes, source), variant=own)
    rises = {stage: mean_range(part["loss"]) for stage, part in chosen.groupby("stage", sort=False)}
    stage = max(rises, key=lambda name: rises[name].estimate)
    size = at_once(rises[stage], len(rises))
    unit = f"of loss under noise of {chosen['radius'].max():g} standard deviations"
    where = f"stage {stage}, mean of the targets"
    return (Cause("sharpness", "a stage is sensitive to noise", size, unit, where),)


def _of_targets(table: Frame, source: str) -> Frame:
    """The rows of the largest radius on all domains but the source."""
    return table[(table["radius"] == table["radius"].max()) & (table["domain"] != source)]


def _sentences(tables: Mapping[str, Frame], subject: Subject) -> tuple[str, str, str]:
    source, own = subject.source_title, _own_variant(subject)
    features = tables["features"]
    most = features["radius"].max()
    targets = rows_where(_of_targets(features, source), variant=own)
    worst = targets.loc[targets["loss"].idxmax()]
    home = row_where(features, radius=most, variant=own, domain=source, stage=worst["stage"])
    first = (
        f"Noise of {most:g} channel standard deviations costs most in stage {worst['stage']} on "
        f"{worst['domain']}: loss {range_of(worst, 'loss').text()}, mIoU "
        f"{range_of(worst, 'miou').text('+.1f')} points; the same noise on {source} changes the "
        f"loss by {range_of(home, 'loss').text()} (episodes: {subject.episode_count} "
        f"each, noise seeds: {len(subject.seeds)}{_before_learning(subject)})."
    )
    return first, _by_depth(tables, subject, own), _with_lem(tables, subject)


def _by_depth(tables: Mapping[str, Frame], subject: Subject, own: str) -> str:
    """Where the landscape is sharpest: shallow or deep, in features and in weights."""
    chosen = rows_where(_of_targets(tables["episodes"], subject.source_title), variant=own)
    stages = names_in(chosen, "stage")
    means = {s: mean_range(rows_where(chosen, stage=s)["loss"]) for s in stages}
    sharpest = max(stages, key=lambda s: means[s].estimate)
    by = chosen.pivot(index=["domain", "episode"], columns="stage", values="loss")
    others = [s for s in stages if s != sharpest]
    second = max(others, key=lambda s: means[s].estimate) if others else sharpest
    lead = mean_range(by[sharpest] - by[second])
    weights = rows_where(_of_targets(tables["weights"], subject.source_title), variant=own)
    by_stage = weights.groupby("stage", sort=False)["loss"].mean()
    in_weights = (
        f"noise of {weights['radius'].max():g} of each filter's norm costs most in "
        f"{by_stage.idxmax()} ({by_stage.max():+.2f})"
    )
    if not means[sharpest].low > 0:
        return (
            "Over all targets no stage is significantly sharp: the largest rise, in "
            f"{sharpest}, is {means[sharpest].text()}; {in_weights}."
        )
    depth = "shallow" if stages.index(sharpest) < len(stages) / 2 else "deep"
    word = "significantly more" if lead.low > 0 else "not significantly more"
    return (
        f"Over all targets the features are sharpest in {sharpest}, a {depth} stage (loss "
        f"{means[sharpest].text()}), {word} than in {second} ({lead.text()} between them); "
        f"{in_weights}."
    )


def _with_lem(tables: Mapping[str, Frame], subject: Subject) -> str:
    chosen = _of_targets(tables["episodes"], subject.source_title)
    variants = names_in(chosen, "variant")
    if len(variants) < 2:
        return (
            f"There is nothing to compare LEM with: only the weights {variants[0]} are here, whose "
            f"loss rises by {mean_range(chosen['loss']).text()} on average over targets and stages."
        )
    keys = ["domain", "stage", "episode"]
    pairs = chosen.pivot(index=keys, columns="variant", values="loss")
    # An episode is one case, whatever the number of stages that it was asked in.
    each = pairs.groupby(["domain", "episode"]).mean()
    change = mean_range(each["with LEM"] - each["without LEM"])
    told = "LEM's effect on the landscape cannot be told from none"
    if change.excludes_zero:
        word = "flatter" if change.high < 0 else "sharper"
        told = f"training with LEM made the landscape {word}"
    return (
        f"With LEM the loss rises by {mean_range(each['with LEM']).text()} on average over targets "
        f"and stages, without by {mean_range(each['without LEM']).text()}, a difference of "
        f"{change.text()} per episode: {told} (one training each, so this is about these weights)."
    )


def _before_learning(subject: Subject) -> str:
    if subject.composition.adaptation == "none" or bool(subject.options["adapt"]):
        return ""
    return "; asked before it learns from the support"


def _own_variant(subject: Subject) -> str:
    own = subject.selection.methods[0]
    return next(variant for variant, name in subject.variants().items() if name == own)
