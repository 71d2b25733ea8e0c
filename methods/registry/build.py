"""From a method's name to a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdfss_bench.errors import CompositionError, unknown
from cdfss_bench.options import Value

from ..backbones.card import BACKBONES, build_backbone
from .card import MethodCard
from .name_grammar import METHODS, Composition, Part, parse

if TYPE_CHECKING:
    from ..core.method import Method


def build(name: str | Composition, *, backbone: str | None = None, **options: Value) -> Method:
    """The method `name` in eval mode, parameters as constructed (see `load_weights`).

    Modules draw their initial values from torch's global generator, which is put back after.

    Args:
        name: `hsnet`, `loec`, `ssp+lem+lcm[k=5]`, ...
        backbone: its name; by default the published one.
        **options: of the host, beside those in the name.

    Raises:
        CompositionError: for an unknown option or backbone, or an impossible combination.
        UserError: for an unknown name.
    """
    import torch

    from ..core.method import Method
    from ..core.plugin_api import Plugin

    composition = parse(name) if isinstance(name, str) else name
    if options:
        composition = composition.with_host_options(options)
    host = composition.host.card
    chosen = (backbone or host.backbones[0]) if host.backbones else ""
    if host.backbones and (refused := refusal(host, chosen)) is not None:
        raise refused
    with torch.random.fork_rng(devices=[]):
        trunk = None
        if chosen:
            until = host.reads_on.get(chosen, host.reads)
            trunk = build_backbone(chosen, until=until, output_stride=host.output_stride)
        plugins: list[Plugin] = [_made(part) for part in composition.plugins]
        make = METHODS.code(host.name, host.code)
        network: Any = make(trunk, plugins, **composition.host.options)
    assert isinstance(network, Method)
    return network.eval()


def accepted(host: MethodCard) -> list[str]:
    """Every backbone that `host` works with: those of its card, then the others it takes."""
    others = [n for n in BACKBONES.names() if n not in host.backbones] if host.also_on else []
    return [*host.backbones, *(name for name in others if refusal(host, name) is None)]


def refusal(host: MethodCard, backbone: str) -> CompositionError | None:
    """Why `host` does not work with `backbone`; None where it does."""
    if backbone in host.backbones:
        return None
    known = BACKBONES.names()
    if backbone in known and (
        host.also_on == "any"
        or (host.also_on == "transformers" and not BACKBONES.card(backbone).pyramid)
    ):
        return None
    has_pyramid = backbone in known and BACKBONES.card(backbone).pyramid
    if backbone in known and host.reads == "pyramid" and not has_pyramid:
        reason = f"it reads stages at strides 8, 16 and 32, and {backbone} has one stride"
    elif has_pyramid and not any(BACKBONES.card(name).pyramid for name in host.backbones):
        reason = f"it works on a transformer's tokens, and {backbone} is a convolutional network"
    elif backbone in known and not has_pyramid:
        reason = (
            f"its parts are made for convolutional maps, and {backbone} is a transformer"
            if all(BACKBONES.card(name).pyramid for name in host.backbones)
            else f"its parts are made for the tokens of {', '.join(host.backbones)}"
        )
    else:
        problem = unknown(f"backbone of {host.name}:", backbone, host.backbones)
        return CompositionError(problem.problem, hint=problem.hint)
    return CompositionError(
        f"{host.name} does not work with {backbone}: {reason}",
        hint=f"choose one of {', '.join(host.backbones)}",
    )


def _made(part: Part) -> Any:
    arguments: Mapping[str, Value] = part.options
    return METHODS.code(part.card.name, part.card.code)(**arguments)
