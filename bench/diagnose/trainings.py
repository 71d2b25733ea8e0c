"""Trainings that a diagnosis needs: done once, kept under what decides them, taken up again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdfss_bench.canonical import digest
from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.errors import UserError

from ..training.conduct import Conduct, Files, Step
from ..training.distributed import Processes
from ..training.job import Job, described
from ..training.plan import read_training_plan
from ..training.planned_trainings import planned
from ..training.trainer import train
from ..training.validation import Targets
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a diagnosis."""

    job: Job
    files: Files
    targets: Targets | None

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return -(-self.job.recipe.episodes // self.job.recipe.batch)


@dataclass(frozen=True, slots=True)
class ChosenTargets(Targets):
    """Asks the subject's episodes instead of the first ones of the protocol."""

    chosen: Mapping[str, Sequence[Episode]] | None = None

    def asked(self, domain: Domain) -> Sequence[Episode]:
        """The episodes of a domain."""
        assert self.chosen is not None
        return self.chosen[domain.title]


def trainings(
    subject: Subject,
    methods: Sequence[str],
    *,
    epochs: float,
    plan: Path | None = None,
    watched_every: float | None = None,
    **changed: Any,
) -> list[Training]:
    """Every training of `methods` over the subject's seeds (and a plan's frozen stages).

    The targets are looked at every `watched_every` of an epoch; `changed` are words of a plan.

    Raises:
        UserError: if a method has nothing to train, or weights to begin with are missing.
    """
    selection = subject.selection
    domain = subject.source
    pairs = sum(domain.counts)
    typed: dict[str, Any] = {
        "methods": list(methods),
        "source": subject.source_name,
        "backbone": selection.backbone,
        "seeds": list(subject.seeds),
        "episodes": max(1, round(epochs * pairs)),
        "data_root": selection.root,
        "lists": selection.lists,
        "weights_dirs": list(selection.weights_dirs),
        **changed,
    }
    plan_of = read_training_plan(plan, {k: v for k, v in typed.items() if v is not None})
    folder = subject.folder / "trained"
    targets = None
    if watched_every is not None:
        chosen = {domain.title: subject.episodes(domain) for domain in subject.targets}
        targets = ChosenTargets(
            subject.targets, subject.episode_count, watched_every, subject.shots, chosen
        )
    found: list[Training] = []
    for one in planned(plan_of, folder, device=subject.device, processes=Processes()):
        place = folder / _id(one.job, targets) / one.output.name
        found.append(Training(one.job, Files(place), targets))
    return found


def carried_out(subject: Subject, found: Sequence[Training]) -> Iterator[Training]:
    """Trains one after the other; what was trained before is only named.

    Raises:
        UserError: if a loss is no longer a number, or a file cannot be written.
    """
    total, before = sum(one.steps for one in found), 0
    for one in found:

        def listen(step: Step, before: int = before) -> None:
            subject.progress(before + step.number, total)

        conduct = Conduct(targets=one.targets, listener=listen)
        train(one.job, one.files.weights, conduct)
        before += one.steps
        subject.progress(before, total)
        yield one


def positive(subject: Subject, name: str) -> float:
    """An option that must be above zero.

    Raises:
        UserError: if it is not.
    """
    value = float(subject.options[name])
    if value <= 0:
        raise UserError(f"option '{name}' must be above 0, not {value:g}")
    return value


def _id(job: Job, targets: Targets | None) -> str:
    """Of all that decides the weights, and what is seen on the way."""
    card = described(job).model_dump(mode="json", exclude={"command", "versions", "deviations"})
    asked: Any = None
    if targets is not None:
        asked = [targets.every, targets.shots]
        asked += [
            [d.title, d.fingerprint, [[e.query, *e.supports] for e in targets.asked(d)]]
            for d in targets.domains
        ]
    return digest([card, asked])[:16]
