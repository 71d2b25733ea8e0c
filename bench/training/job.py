"""One training: what decides which weights come out, and how their card says so."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets import Domain
from cdfss_bench.methods.registry.card import Bug, Recipe
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.card import Selection, WeightsCard
from cdfss_bench.methods.weights.resolve import Weights
from cdfss_bench.methods.weights.search import trained_name

from ..planning.hashes import method_code
from ..records.environment import packages
from .distributed import Processes
from .recipe import recorded, said, words_of


@dataclass(frozen=True, slots=True)
class Job:
    """One training: all that decides which weights come out.

    Attributes:
        composition: what is trained; plug-ins that act at test only are left out of its name.
        weights: the pretrained backbone (see `pretrained_for`).
        domain: the source.
        recipe: resolved.
        seed: of episodes, initialisation and everything drawn.
        device: where to train.
        init: a checkpoint to start from, on top of the backbone's weights.
        bugs: of the published code that are repeated.
        selection: which weights are kept: the last; those that are best on held-out source
            episodes; or, an oracle, those that are best on the targets.
        hold_out: share of the source's images that are never trained on.
        validate_every: part of the training after which held-out episodes, or an oracle's
            targets, are asked.
        validation_episodes: how many are asked.
        precision: of the training's arithmetic.
        compiled: whether torch compiles the objective.
        processes: that share each batch.
    """

    composition: Composition
    weights: Weights
    domain: Domain
    recipe: Recipe
    seed: int = 0
    device: str = "cpu"
    init: Path | None = None
    bugs: tuple[Bug, ...] = ()
    selection: Selection = "last"
    hold_out: float = 0.0
    validate_every: float = 0.1
    validation_episodes: int = 200
    precision: str = "fp32"
    compiled: bool = False
    processes: Processes = field(default_factory=Processes)


def described(job: Job) -> WeightsCard:
    """The card of a training's weights, as far as it is known before."""
    recipe, usual = recorded(job.recipe), recorded(_usual(job))
    source: dict[str, object] = {
        "domain": job.domain.title,
        "profile": job.domain.profile,
        "fingerprint": job.domain.fingerprint,
    }
    if job.hold_out:
        source |= {"hold_out": job.hold_out}
    if job.selection != "last":
        asked = {"every": job.validate_every, "episodes": job.validation_episodes}
        source |= {"selected_by": asked}
    return WeightsCard(
        trained_as=trained_name(job.composition),
        backbone=job.weights.backbone,
        selection=job.selection,
        base=file_sha256(job.weights.pretrained) if job.weights.pretrained else "",
        source=source,
        recipe=recipe,
        init=file_sha256(job.init) if job.init else "",
        seed=job.seed,
        episodes=job.recipe.episodes,
        deviations={
            key: (said(usual.get(key)), said(recipe.get(key)))
            for key in dict.fromkeys((*recipe, *usual))
            if usual.get(key) != recipe.get(key)
        },
        as_published=job.bugs,
        precision="bf16" if job.precision == "bf16" else "fp32",
        processes=job.processes.count,
        compiled=job.compiled,
        code=method_code(job.composition, job.weights.backbone),
        command=reproduction(job),
        versions=packages(),
    )


def _usual(job: Job) -> Recipe:
    """The card's recipe for such a training."""
    host = job.composition.host
    published = host.card.mini.recipe if job.domain.card.suite == "mini" else host.card.recipe
    usual = published or job.recipe
    return usual.model_copy(update={"shots": host.options.get("shots", usual.shots)})


def reproduction(job: Job) -> str:
    """The command that does this training again, defaults and all."""
    recipe, source = job.recipe, job.domain.card.name.removesuffix("-source")
    words = ["cdfss-bench", "train", "-m", str(job.composition), "--source", source]
    words += ["--backbone", job.weights.backbone, "--seed", str(job.seed)]
    words += ["--episodes", str(recipe.episodes), "--batch", str(recipe.batch)]
    words += ["--lr", f"{recipe.lr}", "--freeze", recipe.freeze, *words_of(recipe, _usual(job))]
    host = job.composition.host.card
    if any(r is not None and r.init for r in (recipe, host.recipe, host.mini.recipe)):
        words += ["--init", recipe.init or "none"]
    if recipe.sam:
        words += ["--sam", f"{recipe.sam:g}"]
    if job.bugs:
        words += ["--as-published"]
    if job.selection != "last":
        words += ["--select", job.selection, "--validate-every", f"{job.validate_every:g}"]
        words += ["--val-episodes", str(job.validation_episodes)]
    if job.selection == "target-oracle":
        words += ["--oracle"]
    if job.hold_out:
        words += ["--hold-out", f"{job.hold_out:g}"]
    if job.precision != "fp32":
        words += ["--precision", job.precision]
    if job.compiled:
        words += ["--compile"]
    if job.processes.count > 1:
        words = ["torchrun", "--nproc-per-node", str(job.processes.count), "--no-python", *words]
    return shlex.join(words)
