"""Source training of a method by its card's recipe, every deviation on the record."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets import Domain
from cdfss_bench.errors import UserError
from cdfss_bench.methods.base import Method
from cdfss_bench.methods.building import build
from cdfss_bench.methods.card import Recipe
from cdfss_bench.methods.checkpoints import write_checkpoint
from cdfss_bench.methods.grammar import Composition
from cdfss_bench.methods.weights import Weights, load_initial, load_weights, trained_name
from cdfss_bench.methods.weights_card import WeightsCard

from .cells import method_code
from .environment import packages
from .sam import sharpen
from .source import TrainingEpisodes, draw_training, training_batch


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step did.

    Attributes:
        number: from 1.
        total: steps in all.
        loss: the objective; None where the method only looked at the batch.
        terms: each unweighted term of it.
        seconds: since the training began.
    """

    number: int
    total: int
    loss: float | None
    terms: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        composition: what is trained; plug-ins that act at test only are left out of its name.
        weights: the pretrained backbone (see `pretrained_for`).
        domain: the source.
        recipe: resolved.
        seed: of episodes, initialisation and everything drawn.
        device: where to train.
        init: a checkpoint to start from, on top of the backbone's weights.
    """

    composition: Composition
    weights: Weights
    domain: Domain
    recipe: Recipe
    seed: int = 0
    device: str = "cpu"
    init: Path | None = None


def train(job: Job, output: Path, *, listener: Callable[[Step], None] | None = None) -> WeightsCard:
    """Trains and writes the last weights.

    What the backbone file holds already is not written again; the card names that file.

    Args:
        job: what to train.
        output: the safetensors file.
        listener: told of every step.

    Raises:
        UserError: if the loss is no longer a number, or the file cannot be written.
    """
    network = initialised(job)
    recipe = job.recipe
    drawn = draw_training(job.domain, episodes=recipe.episodes, shots=recipe.shots, seed=job.seed)
    for step in _steps(job, network, drawn):
        if listener is not None:
            listener(step)
    card = WeightsCard(
        trained_as=trained_name(job.composition),
        backbone=job.weights.backbone,
        selection="last",
        base=file_sha256(job.weights.pretrained) if job.weights.pretrained else "",
        source={
            "domain": job.domain.title,
            "profile": job.domain.profile,
            "fingerprint": job.domain.fingerprint,
            "episodes_sha256": drawn.sha256,
        },
        recipe=recipe.model_dump(exclude={"source"}),
        init=file_sha256(job.init) if job.init else "",
        seed=job.seed,
        episodes=recipe.episodes,
        code=method_code(job.composition),
        command=reproduction(job),
        versions=packages(),
    )
    write_checkpoint(output, _learned(job, network), card)
    return card


def reproduction(job: Job) -> str:
    """The command that does this training again, defaults and all."""
    recipe, source = job.recipe, "mini" if job.domain.card.suite == "mini" else "pascal"
    words = ["cdfss-bench", "train", "-m", str(job.composition), "--source", source]
    words += ["--backbone", job.weights.backbone, "--seed", str(job.seed)]
    words += ["--episodes", str(recipe.episodes), "--batch", str(recipe.batch)]
    words += ["--lr", f"{recipe.lr:g}", "--freeze", recipe.freeze]
    host = job.composition.host.card
    if any(r is not None and r.init for r in (recipe, host.recipe, host.mini.recipe)):
        words += ["--init", recipe.init or "none"]
    if recipe.sam:
        words += ["--sam", f"{recipe.sam:g}"]
    return shlex.join(words)


def initialised(job: Job) -> Method:
    """The network with pretrained backbone and seeded head, ready to be trained."""
    network = _built(job)
    if job.init is not None:
        load_initial(network, job.init, job.weights)
    return freeze(network, job.recipe).to(job.device).train()


def freeze(network: Method, recipe: Recipe) -> Method:
    """Takes out of training what the recipe says."""
    network.backbone.freeze(recipe.frozen_stages)
    if not recipe.norm:
        for module in network.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(requires_grad=False)
    return network


def optimizer_of(network: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over what is trained.

    Raises:
        UserError: if nothing is left to train.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise UserError("nothing is left to train: every parameter is frozen")
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _steps(job: Job, network: Method, drawn: TrainingEpisodes) -> Iterator[Step]:
    recipe = job.recipe
    optimizer = optimizer_of(network, recipe)
    total = -(-len(drawn.episodes) // recipe.batch)
    drops = [round(fraction * total) for fraction in recipe.schedule]
    began = time.perf_counter()
    for number in range(total):
        _announce_round(job, network, number, total)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * 0.1 ** sum(number >= drop for drop in drops)
        episodes = drawn.episodes[number * recipe.batch : (number + 1) * recipe.batch]
        rng = torch.Generator().manual_seed(_number(job.seed, "step", number))
        batch = training_batch(
            job.domain, episodes, device=job.device, rng=rng, mirror=recipe.augment == "flip"
        )
        draws = rng.get_state()
        terms = network.loss_terms(batch)
        loss = None
        if terms:
            loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
            if not bool(torch.isfinite(loss)):
                asked = ", ".join(episode.query for episode in episodes)
                raise UserError(
                    f"the loss is {float(loss.detach())} at step {number + 1} (queries {asked})",
                    mend="lower the learning rate with --lr",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.sam:
                rng.set_state(draws)
                sharpen(network, partial(network.loss, batch), radius=recipe.sam)
            optimizer.step()
        network.end_step()
        yield Step(
            number + 1,
            total,
            None if loss is None else float(loss.detach()),
            {name: float(term.value.detach()) for name, term in terms.items()},
            time.perf_counter() - began,
        )


def _announce_round(job: Job, network: Method, step: int, total: int) -> None:
    recipe = job.recipe
    current = step * recipe.rounds // total
    if recipe.rounds > 1 and (step == 0 or current != (step - 1) * recipe.rounds // total):
        rng = torch.Generator().manual_seed(_number(job.seed, "round", current))
        network.begin_round(current, batch=recipe.batch, rng=rng)


def _built(job: Job) -> Method:
    # Modules draw their initial values from torch's global generator, which is put back after.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_number(job.seed, "initialisation"))
        network = build(job.composition, backbone=job.weights.backbone)
    load_weights(network, job.weights)
    return network


def _learned(job: Job, network: Method) -> dict[str, torch.Tensor]:
    """The host's own entries, and all others that differ from what the backbone file gave."""
    given = _built(job).state_dict()
    plugins = (*network.stage_plugins, *network.feature_plugins, *network.score_plugins)
    foreign = tuple(f"{plugin.key}." for plugin in plugins if plugin.key)
    own = {key for key in given if not key.startswith(foreign)}
    own -= {network.backbone_prefix + key for key in network.backbone.state_dict()}
    return {
        name: tensor.cpu()
        for name, tensor in network.state_dict().items()
        if name in own or not torch.equal(tensor.cpu(), given[name])
    }


def _number(seed: int, *axes: object) -> int:
    text = "/".join(map(str, ("train", seed, *axes))).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
