"""From a method's name to a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdfss_bench.errors import unknown
from cdfss_bench.options import Value

from .grammar import METHODS, Composition, Part, parse

if TYPE_CHECKING:
    from .base import Method


def build(name: str | Composition, *, backbone: str | None = None, **options: Value) -> Method:
    """The method `name` in eval mode, parameters as constructed (see `load_weights`).

    Args:
        name: `hsnet`, `loec`, `ssp+lem+lcm[k=5]`, ...
        backbone: its name; by default the published one.
        **options: of the host, beside those in the name.

    Raises:
        CompositionError: for an unknown name, option or backbone, or an impossible combination.
    """
    from .backbones.card import build_backbone
    from .base import Method
    from .plugins import Plugin

    composition = parse(name) if isinstance(name, str) else name
    if options:
        composition = composition.with_host_options(options)
    host = composition.host.card
    trunk = None
    if host.backbones:
        chosen = backbone or host.backbones[0]
        if chosen not in host.backbones:
            raise unknown(f"backbone of {host.name}:", chosen, host.backbones)
        trunk = build_backbone(chosen, until=host.reads, output_stride=host.output_stride)
    plugins: list[Plugin] = [_made(part) for part in composition.plugins]
    network: Any = METHODS.code(host.name, host.code)(trunk, plugins, **composition.host.options)
    assert isinstance(network, Method)
    return network.eval()


def _made(part: Part) -> Any:
    arguments: Mapping[str, Value] = part.options
    return METHODS.code(part.card.name, part.card.code)(**arguments)
