"""`frequency`: which frequencies a method lives on, and what APM makes of its features.

The APM paper's study (figure 1; amplitude and phase each kept whole, high or low) on input images
and on features, over a sweep of the cut-off that the paper does not state, beside its printed
matrices; correlations between channels without the masker, at its start and after adaptation
(figure 6; its mutual information is left out, the estimator is not described); the learnt masks on
one scale; and whether the steps of adaptation change anything over none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdfss_bench.datasets import Domain
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.plugin_api import Place
from cdfss_bench.methods.plugins.apm import APM
from cdfss_bench.options import Option

from . import frequency_figures, frequency_sentences
from .apm_published import published
from .correlation import BINS, noise_level
from .drawing import Draw
from .filtering import FEATURES, INPUT, agreement, can_filter, study
from .finding import Finding
from .frames import rows_where
from .masking import ADAPTED, HOST, INITIAL, STATES, Masked, masked
from .numbers import Numbers
from .resampling import paired
from .spectra import Edge
from .spread import mean_range
from .subject import Subject

OPTIONS: Mapping[str, Option] = {
    "radii": Option(
        default="0.1,0.25,0.5",
        help="Cut-offs between low and high, in parts of the Nyquist frequency (open).",
    ),
    "edge": Option(
        default="gaussian",
        choices=("gaussian", "ideal"),
        help="Shape of the cut-off (open, but an ideal one contradicts the printed figures).",
    ),
    "adapted": Option(default=8, min=2, help="Episodes of each domain that are adapted to."),
    "steps": Option(default=60, min=1, help="Steps of an adaptation (stated)."),
}

EPISODES = 24


def diagnose(subject: Subject) -> Finding:
    """The study, the correlations, the masks, and 0 steps against many.

    Raises:
        NotApplicable: for a method without a backbone.
        UserError: for radii that are none.
    """
    _ = subject.backbone
    radii = _radii(str(subject.options["radii"]))
    host, masker = _names(subject)
    numbers = subject.measured(
        lambda: _measured(subject, host, masker, radii),
        methods=[name for name in (host, masker) if name],
    )
    tables = numbers.tables
    figures: dict[str, Draw] = {
        where: lambda figure, where=where: frequency_figures.matrices(
            figure, rows_where(tables["study"], where=where)
        )
        for where in (INPUT, FEATURES)
        if len(rows_where(tables["study"], where=where))
    }
    if len(tables["learning"]):
        figures["correlation"] = lambda figure: frequency_figures.correlations(
            figure, tables["correlation"], tables["distribution"]
        )
        figures["masks"] = lambda figure: frequency_figures.masks(
            figure, tables["learning"], numbers.arrays
        )
    sentences = frequency_sentences.sentences(tables, subject.label)
    found = frequency_sentences.causes(tables["study"])
    return Finding("frequency", subject.label, tables, figures, sentences, causes=found)


def _radii(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or min(found) <= 0 or not np.isfinite(found).all():
        raise UserError(
            f"radii={text}: cut-offs are numbers above 0, 1.42 being all",
            hint="for example: --set radii=0.1,0.25,0.5",
        )
    return found


def _names(subject: Subject) -> tuple[str, str]:
    """The method without feature plug-ins, and with APM; empty where it cannot carry APM."""
    parts = subject.composition.parts
    host = "+".join(str(part) for part in parts if part.card.place != "feature")
    if any(part.card.name.startswith("apm-") for part in parts):
        return host, subject.selection.methods[0]
    if Place.FEATURE not in parts[0].card.offers or subject.composition.adaptation != "none":
        return host, ""
    return host, f"{host}+apm-m"


def _measured(subject: Subject, host: str, masker: str, radii: Sequence[float]) -> Numbers:
    network = subject.network(host)
    places = [where for where in (INPUT, FEATURES) if can_filter(network, where)]
    cells = len(places) * len(subject.targets) * (1 + 8 * len(radii))
    adaptations = sum(len(_rates(subject, d, masker)) for d in subject.targets)
    told = subject.counter(cells + adaptations * int(subject.options["adapted"]))
    studied: list[pd.DataFrame] = []
    agreed: list[dict[str, Any]] = []
    for where in places:
        for domain in subject.targets:
            table, resamples = study(
                network,
                domain,
                subject.episodes(domain),
                radii,
                edge=cast("Edge", subject.options["edge"]),
                where=where,
                device=subject.device,
                told=told,
            )
            studied.append(table)
            if where == INPUT:
                agreed += agreement(domain.title, radii, resamples)
    for table in studied:
        _add_published(table)
    tables, arrays = _learning(subject, masker, told)
    columns = ["domain", "radius", "correlation", "low", "high"]
    tables["study"] = pd.concat(studied, ignore_index=True)
    tables["agreement"] = pd.DataFrame(agreed, columns=columns)
    return Numbers(tables, arrays)


def _add_published(table: pd.DataFrame) -> None:
    """The printed figures of the domain's published model, input images only."""
    printed: list[float] = []
    for row in table.to_dict("records"):
        value = published().cell(row["domain"], row["amplitude"], row["phase"])
        printed.append(np.nan if value is None or row["where"] != INPUT else value)
    table["published"] = printed
    table["stands for"] = [published().domain(str(name)) for name in table["domain"]]


def _rates(subject: Subject, domain: Domain, masker: str) -> list[float]:
    """The paper's rate for this domain, and the method's own for every domain."""
    if not masker:
        return []
    own = next(p for p in subject.network(masker).feature_plugins if isinstance(p, APM)).lr
    printed = published().rates.get(published().domain(domain.card.name))
    return list(dict.fromkeys(rate for rate in (printed, own) if rate is not None))


def _learning(
    subject: Subject, masker: str, told: Any
) -> tuple[dict[str, pd.DataFrame], dict[str, NDArray[Any]]]:
    learnt: list[dict[str, Any]] = []
    related: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for domain in subject.targets if masker else ():
        asked = subject.episodes(domain)[: int(subject.options["adapted"])]
        for rate in _rates(subject, domain, masker):
            found = masked(
                subject.network(masker),
                domain,
                asked,
                rate=rate,
                steps=int(subject.options["steps"]),
                device=subject.device,
                seed=subject.seeds[0],
                told=told,
            )
            where = {"domain": domain.title, "rate": rate}
            learnt.append({**where, **_learnt(found, int(subject.options["steps"]))})
            related += [{**where, **row} for row in _related(found)]
            shares += [{**where, **row} for row in _shares(found)]
            for name, pictures in found.masks.items():
                arrays[f"{domain.title}/{rate:g}/{name}"] = np.mean(pictures, axis=0)
    tables = {
        "learning": pd.DataFrame(learnt),
        "correlation": pd.DataFrame(related),
        "distribution": pd.DataFrame(shares),
    }
    return tables, arrays


def _learnt(found: Masked, steps: int) -> dict[str, Any]:
    """What the steps moved and what it was worth."""
    resamples = paired(found.rows)
    changed = mean_range(found.changed)
    row: dict[str, Any] = {
        "steps": steps,
        "episodes": len(found.moved),
        "moved": max(found.moved),
        "moved_mean": float(np.mean(found.moved)),
        "changed": changed.estimate,
        "changed_low": float(np.clip(changed.low, 0, 100)),
        "changed_high": float(np.clip(changed.high, 0, 100)),
    }
    for state in STATES:
        row |= resamples.of(state).columns(f"miou, {state}")
    row |= resamples.gain(INITIAL, HOST).columns("begin")
    return row | resamples.gain(ADAPTED, INITIAL).columns("learning")


def _related(found: Masked) -> list[dict[str, Any]]:
    base = np.asarray(found.correlations[HOST])
    return [
        {
            "state": state,
            **mean_range(found.correlations[state]).columns("correlation"),
            **mean_range(np.asarray(found.correlations[state]) - base).columns("change"),
            "noise": noise_level(found.positions) if found.positions > 2 else np.nan,
            "positions": found.positions,
        }
        for state in STATES
    ]


def _shares(found: Masked) -> list[dict[str, Any]]:
    return [
        {"state": state, "up_to": (at + 1) / BINS, "share": float(share)}
        for state in STATES
        for at, share in enumerate(np.mean(found.shares[state], axis=0))
    ]
