"""From a method's name to a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdfss_bench.errors import CompositionError, unknown
from cdfss_bench.options import Value

from ..backbones.card import BACKBONES, build_backbone
from .name_grammar import METHODS, Composition, Part, parse

if TYPE_CHECKING:
    from ..core.method import Method
    from .card import MethodCard


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

    Example:
        >>> from cdfss_bench import build
        >>> method = build("ssp+lcm[k=5]", backbone="resnet-mini")
        >>> method.adaptation
        'none'
    """
    import torch

    from ..core.method import Method
    from ..core.plugin_api import Plugin
    from ..fast.forms import optimized

    composition = parse(name) if isinstance(name, str) else name
    if options:
        composition = composition.with_host_options(options)
    host = composition.host.card
    chosen = (backbone or [*fitting(composition), *host.backbones][0]) if host.backbones else ""
    if host.backbones and (refused := refusal(composition, chosen)) is not None:
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
    network.optimize = optimized
    return network.eval()


def fitting(composition: Composition) -> list[str]:
    """The backbones of the host's card on which all of its plug-ins can act."""
    names, reader = composition.host.card.backbones, _reader_of_tokens(composition)
    return [name for name in names if reader is None or not BACKBONES.card(name).pyramid]


def accepted(composition: Composition) -> list[str]:
    """Every backbone that it works with: those of its host's card, then the others it takes."""
    host = composition.host.card
    others = [n for n in BACKBONES.names() if n not in host.backbones] if host.also_on else []
    works = (name for name in others if refusal(composition, name) is None)
    return [*fitting(composition), *works]


def _reader_of_tokens(composition: Composition) -> MethodCard | None:
    """The plug-in that acts on a transformer's tokens, if there is one."""
    cards = (part.card for part in composition.plugins)
    return next((card for card in cards if card.needs == "tokens"), None)


def refusal(composition: Composition, backbone: str) -> CompositionError | None:
    """Why `composition` does not work with `backbone`; None where it does."""
    host, fits = composition.host.card, fitting(composition)
    known = BACKBONES.names()
    has_pyramid = backbone in known and BACKBONES.card(backbone).pyramid
    also = backbone in known and {"": False, "any": True, "transformers": not has_pyramid}
    if backbone in host.backbones or (also and also[host.also_on]):
        reader = _reader_of_tokens(composition)
        if reader is None or not has_pyramid:
            return None
        return CompositionError(
            f"{reader.name} does not work with {backbone}: it acts on a transformer's tokens, and "
            f"{backbone} is a convolutional network",
            hint=f"choose one of {', '.join(fits)}" if fits else "choose another host",
        )
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
