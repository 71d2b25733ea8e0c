"""The recipe of a training: the card's, with what was typed in its place."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cdfss_bench.errors import UserError, unknown
from cdfss_bench.methods.registry.card import Optimizer, Recipe, Schedule
from cdfss_bench.words import plural

from ..planning.typed import validated_typed

ADAMW_DECAY = 0.01
"""Weight decay of AdamW where none is typed and the card's recipe has none: torch's default."""

RECIPE_WORDS = (
    "optimizer", "momentum", "weight_decay", "schedule", "warmup", "lr_part", "clip_norm", "ema",
    "memory",
)  # fmt: skip
"""Words of a plan that only the training of a method knows, not that of a backbone."""


def changed_recipe(recipe: Recipe, typed: Mapping[str, Any], method: str) -> Recipe:
    """`recipe` with the values that were typed; None leaves the recipe's.

    A `warmup`, `clip_norm` or `ema` of 0 turns off what the recipe has.

    Args:
        recipe: of the method's card.
        typed: words of a plan: those of `RECIPE_WORDS`, and entries of the recipe.
        method: that is trained, for messages.

    Raises:
        UserError: for a value that no training can have.
    """
    given = {key: value for key, value in typed.items() if value is not None}
    if given.get("optimizer", "sgd") not in get_args(Optimizer):
        raise unknown("optimizer", given["optimizer"], get_args(Optimizer))
    if "schedule" in given:
        given["schedule"] = _schedule(given["schedule"])
    if parts := given.pop("lr_part", None):
        given["lr_parts"] = _parts(parts)
    for key in ("lr", "weight_decay", "clip_norm", "warmup", "memory"):
        if key in given and not 0 <= given[key] < math.inf:
            raise UserError(
                f"{_flag(key)} is {given[key]:g}, and must be a finite number from 0 on",
                hint=f"leave {_flag(key)} out for the recipe's value",
            )
    for key in ("momentum", "ema"):
        if key in given and not 0 <= given[key] < 1:
            raise UserError(
                f"{_flag(key)} is {given[key]:g}, and must be at least 0 and less than 1",
                hint=f"usual values are {'0.9' if key == 'momentum' else '0.99 to 0.9999'}",
            )
    if given.pop("memory", None) is not None:
        given["folded"] = True
    optimizer = given.get("optimizer", recipe.optimizer)
    if given.get("momentum") and optimizer != "sgd":
        raise UserError(
            f"--momentum belongs to SGD, and the optimiser of {method} is {optimizer}",
            hint="leave --momentum out, or add --optimizer sgd",
        )
    if "optimizer" in given and optimizer == "adamw" and not recipe.weight_decay:
        given.setdefault("weight_decay", ADAMW_DECAY)
    for key in ("warmup", "clip_norm", "ema"):
        if key in given:
            given[key] = given[key] or None
    merged = {**recipe.model_dump(), **given}
    new = validated_typed(Recipe, merged, f"the recipe of {method}", given)
    steps = -(-new.episodes // new.batch)
    if (new.warmup or 0) >= steps:
        raise UserError(
            f"the warm-up of {new.warmup} {plural(new.warmup or 0, 'step')} leaves nothing of the "
            f"{steps} {plural(steps, 'step')} of the training of {method}",
            hint="lower --warmup, or train on more episodes",
        )
    return new


def recorded(recipe: Recipe) -> dict[str, Any]:
    """What the weights' card holds of a recipe: what does not apply is left out."""
    return recipe.model_dump(exclude={"source", "bugs"}, exclude_none=True)


def said(value: Any) -> Any:
    """One value of a recipe as the weights' card words a deviation."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={rate}" for name, rate in sorted(value.items()))
    return "constant" if value == () else value


def words_of(recipe: Recipe, usual: Recipe) -> list[str]:
    """The options that make `recipe` of `usual`, of those that a card seldom states."""
    words: list[str] = []
    for key in ("optimizer", "momentum", "weight_decay"):
        now = getattr(recipe, key)
        # A change of the optimiser may bring its own decay: both are named.
        if now != getattr(usual, key) or (
            key == "weight_decay" and recipe.optimizer != usual.optimizer
        ):
            words += [_flag(key), str(now)]
    if recipe.schedule != usual.schedule:
        drops = recipe.schedule
        words += ["--schedule", drops if isinstance(drops, str) else ",".join(map(str, drops))]
        words[-1] = words[-1] or "constant"
    if recipe.lr_parts != usual.lr_parts:
        for name, rate in sorted((recipe.lr_parts or {}).items()):
            words += ["--lr-part", f"{name}={rate}"]
    for key in ("warmup", "clip_norm", "ema"):
        if (now := getattr(recipe, key)) != getattr(usual, key):
            words += [_flag(key), str(now or 0)]
    if recipe.folded:
        words += ["--memory", "0"]  # the amount changes nothing
    return words


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _schedule(value: str | Sequence[float]) -> str | tuple[float, ...]:
    names = ("constant", *get_args(Schedule))
    if value in names:
        return () if value == "constant" else str(value)
    try:
        parts = value.split(",") if isinstance(value, str) else value
        drops = tuple(float(part) for part in parts)
    except ValueError:
        raise unknown("schedule", str(value), names) from None
    if not all(0 < drop < 1 for drop in drops) or list(drops) != sorted(set(drops)):
        raise UserError(
            f"--schedule {','.join(map(str, drops))} does not name parts of the training in order, "
            "each between 0 and 1",
            hint="for a tenth of the rate after a half and after three quarters: "
            "--schedule 0.5,0.75",
        )
    return drops


def _parts(typed: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    """`NAME=RATE` as a mapping."""
    pairs = list(typed.items()) if isinstance(typed, Mapping) else [t.split("=") for t in typed]
    rates: dict[str, float] = {}
    for pair in pairs:
        try:
            name, rate = str(pair[0]).strip(), float(pair[1])
            is_fine = len(pair) == 2 and bool(name) and 0 < rate < math.inf and name not in rates
        except (ValueError, IndexError):
            is_fine, name, rate = False, "", 0.0
        if not is_fine:
            raise UserError(
                f"--lr-part {'='.join(map(str, pair))} is not NAME=RATE with a positive rate for a "
                "part that is named once",
                hint="for example --lr-part backbone=1e-4; --freeze takes stages out of training",
            )
        rates[name] = rate
    return rates
