"""`cdfss-bench train`: train a method on the source domain, or the mini suite's backbone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    Backbone,
    DataRoot,
    Device,
    Lists,
    Plugins,
    Threads,
    WeightsDirs,
    add_plugins,
    chosen_device,
    complete_methods,
)
from .talk import err_console, talk

if TYPE_CHECKING:
    from cdfss_bench.datasets import Domain
    from cdfss_bench.methods.card import Recipe
    from cdfss_bench.methods.grammar import Composition
    from cdfss_bench.methods.weights import Weights


def train(
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="Method to train.", autocompletion=complete_methods),
    ] = None,
    pretrain: Annotated[
        bool,
        typer.Option("--pretrain", help="Train the backbone itself by dense classification."),
    ] = False,
    source: Annotated[
        str, typer.Option(help="pascal or mini; auto is pascal where a data root is known.")
    ] = "auto",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights.")] = Path(
        "weights"
    ),
    backbone: Backbone = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes in all, instead of the recipe's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="With --pretrain: passes over all pictures.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Episodes per step.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Learning rate.")] = None,
    freeze: Annotated[
        str | None, typer.Option(help="Stages not trained: none, 1, 1-2, 1-3 or all.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this trained method or FILE instead of the recipe's; or from none."
        ),
    ] = None,
    sam: Annotated[
        float | None,
        typer.Option(min=0.0, help="Radius of sharpness-aware minimisation; 0 is plain descent."),
    ] = None,
    data_root: DataRoot = None,
    lists: Lists = None,
    weights_dirs: WeightsDirs = None,
    plugins: Plugins = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train by the method's published recipe; every deviation stands in the weights' card."""
    import torch

    from cdfss_bench.errors import UserError

    add_plugins(plugins)
    if threads is not None:
        torch.set_num_threads(threads)
    domain, is_mini = _source(source, data_root, lists)
    where = chosen_device(device)
    if pretrain:
        _pretrain(domain, backbone or "resnet-mini", output, seed, epochs, batch, lr, where)
        return
    if method is None:
        raise UserError("no method is named", mend="name one with -m, or use --pretrain")
    composition, recipe = _composed(method, is_mini=is_mini)
    changed = {
        key: value
        for key, value in (
            ("episodes", episodes), ("batch", batch), ("lr", lr), ("freeze", freeze),
            ("init", "" if init == "none" else init), ("sam", sam),
        )
        if value is not None
    }  # fmt: skip
    recipe = _changed(recipe, changed, method)
    _train(
        composition, recipe, domain, output, backbone, weights_dirs, seed, where, is_mini=is_mini
    )


def _source(source: str, data_root: Path | None, lists: Path | None) -> tuple[Domain, bool]:
    import os

    from cdfss_bench.datasets import open_domain
    from cdfss_bench.errors import unknown

    if source not in ("auto", "pascal", "mini"):
        raise unknown("source", source, ("pascal", "mini"))
    if source == "auto":
        known = data_root is not None or "CDFSS_DATA_ROOT" in os.environ
        source = "pascal" if known else "mini"
    if source == "mini":
        return open_domain("mini-source"), True
    return open_domain("pascal", data_root, lists=lists), False


def _composed(method: str, *, is_mini: bool) -> tuple[Composition, Recipe]:
    from cdfss_bench.errors import UserError
    from cdfss_bench.methods.grammar import parse

    composition = parse(method)
    host = composition.host.card
    recipe = host.mini.recipe if is_mini else host.recipe
    if recipe is None:
        raise UserError(f"{composition} has nothing to train: its card holds no recipe")
    if is_mini:
        overrides = {part.card.name: part.card.mini.options for part in composition.parts}
        composition = composition.with_defaults(overrides)
    shots = composition.host.options.get("shots")  # a host that is built for so many supports
    return composition, recipe if shots is None else recipe.model_copy(update={"shots": shots})


def _changed(recipe: Recipe, changed: Mapping[str, object], method: str) -> Recipe:
    from cdfss_bench.cards import validated

    return validated(type(recipe), {**recipe.model_dump(), **changed}, f"the recipe of {method}")


def _train(
    composition: Composition,
    recipe: Recipe,
    domain: Domain,
    output: Path,
    backbone: str | None,
    weights_dirs: list[Path] | None,
    seed: int,
    device: str,
    *,
    is_mini: bool,
) -> None:
    from cdfss_bench.methods.weights import default_folders, pretrained_for, trained_name

    from ..train import Job, Step
    from ..train import train as train_job

    folders = [*(weights_dirs or ()), *default_folders()]
    chosen = backbone or (composition.host.card.mini.backbone if is_mini else None)
    weights = pretrained_for(composition, backbone=chosen, folders=folders)
    init = _initial(recipe.init, weights, folders, is_mini=is_mini)
    sharp = f"-sam{recipe.sam:g}" if recipe.sam else ""
    name = f"{_file_name(trained_name(composition))}{sharp}-{weights.backbone}.safetensors"
    talk(
        f"training {trained_name(composition)} on {domain.title} ({domain.profile}), "
        f"{weights.backbone} from {init.name if init else weights.description}, "
        f"{recipe.episodes} episodes"
    )
    with _progress("steps") as tell:

        def listen(step: Step) -> None:
            tell(step.number, step.total, step.loss)

        job = Job(composition, weights, domain, recipe, seed, device, init)
        train_job(job, output / name, listener=listen)
    talk(f"wrote {output / name}")


def _initial(init: str, weights: Weights, folders: list[Path], *, is_mini: bool) -> Path | None:
    """The checkpoint that `init` names: a file, or what was trained as a method of that name."""
    from cdfss_bench.errors import WeightsError
    from cdfss_bench.methods.grammar import parse
    from cdfss_bench.methods.weights import initial_for

    if not init:
        return None
    if Path(init).suffix in (".safetensors", ".pt", ".pth"):
        if not Path(init).is_file():
            raise WeightsError(f"the weights file {init} does not exist")
        return Path(init)
    composition = parse(init)
    if is_mini:
        composition = composition.with_defaults(
            {part.card.name: part.card.mini.options for part in composition.parts}
        )
    return initial_for(composition, weights, folders=folders)


def _pretrain(
    domain: Domain,
    backbone: str,
    output: Path,
    seed: int,
    epochs: int | None,
    batch: int | None,
    lr: float | None,
    device: str,
) -> None:
    import dataclasses

    from ..pretrain import pretrain as pretrain_backbone
    from ..pretrain import recipe_for

    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed}
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe_for(backbone), **changed)
    path = output / f"{backbone}.safetensors"
    talk(f"pretraining {backbone} on {domain.title}, {recipe.epochs} epochs")
    with _progress("steps") as tell:
        pretrain_backbone(backbone, domain, path, recipe, device=device, listener=tell)
    talk(f"wrote {path}")


def _file_name(composition: str) -> str:
    import re

    return re.sub(r"[^A-Za-z0-9.+=-]", "_", composition).strip("_")


@contextmanager
def _progress(unit: str) -> Generator[Callable[[int, int, float | None], None]]:
    """A bar with loss and time left on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        spoken = 0

        def tell(done: int, total: int, loss: float | None) -> None:
            nonlocal spoken
            if done == total or done * 20 // total > spoken:
                spoken = done * 20 // total
                talk(f"{done} of {total} {unit}, {_shown(loss)}")

        yield tell
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err_console(), transient=True) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total, loss: bar.update(
            task, completed=done, total=total, description=_shown(loss)
        )


def _shown(loss: float | None) -> str:
    return "looking only" if loss is None else f"loss {loss:.3f}"
