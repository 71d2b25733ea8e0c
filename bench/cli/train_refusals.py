"""Options of `train` that were typed and would change nothing: refused before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cdfss_bench.errors import UserError

from .typed_options import first_typed, is_typed, typed_options

if TYPE_CHECKING:
    from ..training.plan import TrainingPlan

_OF_A_BACKBONE = {
    "pretrain", "source", "suite", "output", "backbone", "seeds", "fresh", "epochs", "batch", "lr",
    "data_root", "lists", "weights_dirs", "plugins", "device", "threads", "workers",
}  # fmt: skip
"""What may be typed with `--pretrain`."""


def refuse_without_effect(context: typer.Context, plan: TrainingPlan) -> None:
    """Refuse options that belong to something that this training does not do.

    Raises:
        UserError: naming the first, and the option that it belongs to.
    """
    if is_typed(context, "episodes") and is_typed(context, "epochs"):
        raise UserError(
            "--episodes and --epochs both say how long the training is",
            hint="leave one of them out",
        )
    holds_out = plan.share_held_out > 0
    by_targets = plan.select == "target-oracle"
    watches_targets = by_targets or plan.eval_targets_every is not None
    no_validation = (
        "no source images are held out for validation",
        "add --select source-val, or leave it out",
    )
    needs = (
        (("val_episodes",), holds_out, *no_validation),
        (("validate_every",), holds_out or by_targets, *no_validation),
        (
            ("eval_episodes", "domains"),
            watches_targets,
            "the targets are not evaluated while this is trained",
            "add --eval-targets-every 0.25, or leave it out",
        ),
        (
            ("run_episodes", "run_shots"),
            plan.evaluate is not None,
            "nothing is evaluated after this training, only after those of a plan that says so",
            "leave it out, and type it after run: --episodes, -k",
        ),
        (
            ("oracle",),
            by_targets,
            "the weights are not chosen by target labels",
            "add --select target-oracle, or leave it out",
        ),
    )
    for options, has_effect, why, hint in needs:
        option = None if has_effect else first_typed(context, options)
        if option is not None:
            raise UserError(f"{option} has no effect: {why}", hint=hint)


def refuse_in_pretraining(context: typer.Context) -> None:
    """Refuse options that the training of a backbone does not have.

    Raises:
        UserError: naming the first.
    """
    foreign = [name for name in typed_options(context) if name not in _OF_A_BACKBONE]
    option = first_typed(context, foreign)
    if option is not None:
        raise UserError(
            f"--pretrain trains a backbone by a recipe that has no {option}",
            hint="of the recipe, --epochs, --batch and --lr may be typed",
        )
