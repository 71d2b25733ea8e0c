"""`cdfss_bench.build`: a method by its name, on request with the weights that `run` uses."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias
from weakref import WeakKeyDictionary

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.errors import CompositionError, refuse_no_text
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import build as build_bare
from cdfss_bench.methods.registry.name_grammar import Composition, parse
from cdfss_bench.methods.weights.resolve import resolve_weights
from cdfss_bench.methods.weights.search import default_folders, is_toy
from cdfss_bench.options import Value

from ..evaluation.complete_weights import load_complete
from ..planning.hashes import method_code
from ..planning.selection import refuse_absent_folders
from ..planning.weights_choice import refuse_other_content
from .wording import in_python_words

_File: TypeAlias = "str | os.PathLike[str]"

_SIZES: WeakKeyDictionary[Method, int] = WeakKeyDictionary()


@in_python_words(methods="name")
def build(
    name: str | Composition,
    *,
    backbone: str | None = None,
    pretrained: bool = False,
    weights: str | os.PathLike[str] | None = None,
    weights_dirs: _File | Sequence[_File] = (),
    **options: Value,
) -> Method:
    """Build a method by its name, in eval mode.

    Without `pretrained` and `weights` its parameters are as constructed, drawn from torch's global
    generator, which is put back after. With them it has the weights that `run` would use, and
    options that were not typed have the mini suite's values where the backbone is the mini suite's.

    Args:
        name: `hsnet`, `loec`, `ssp+lem+lcm[k=5]`, ...
        backbone: its name; by default the published one, with `pretrained` the first of the method
            whose weights are found.
        pretrained: whether weights are loaded; they are looked for as `run` does.
        weights: a trained weights file, loaded in place of the one that would be found.
        weights_dirs: folder or folders with weights, searched before `./weights` and those of
            `CDFSS_WEIGHTS`.
        **options: of the host, beside those in the name.

    Raises:
        CompositionError: for an unknown option or backbone, or an impossible combination.
        UserError: for an unknown name.
        WeightsError: if weights are missing, with the command that gets them.

    Warns:
        UserWarning: if the method is source-trained as published, and only the weights of its
            backbone are here.

    Example:
        >>> from cdfss_bench import build
        >>> build("ssp+lcm[k=5]", backbone="resnet-mini").adaptation
        'none'
        >>> method = build("loec", backbone="resnet-mini", pretrained=True)
        >>> method.training
        False
    """
    if not isinstance(name, Composition):
        refuse_no_text("method", name)
        name = parse(name)
    composition = name
    if options:
        composition = composition.with_host_options(options)
    backbone = None if backbone is None else BACKBONES.canonical(backbone)
    # Of the files as they are now, so that `run` sees if they are others when it records something.
    method_code(composition, backbone if backbone is not None and backbone in BACKBONES else "")
    if not pretrained and weights is None:
        network = build_bare(composition, backbone=backbone)
        _SIZES[network] = _size(backbone or "")
        return network
    if composition.control:
        raise CompositionError(
            f"{composition.label} needs the classes of a domain",
            hint="run(...) evaluates it; build the method without @ in its name",
        )
    on_mini = backbone is not None and is_toy(backbone)
    composition = composition.in_miniature() if on_mini else composition
    found = resolve_weights(
        composition,
        backbone=backbone if composition.host.card.backbones else None,
        checkpoint=None if weights is None else Path(weights),
        folders=[*_folders(weights_dirs), *default_folders()],
        on_mini=on_mini,
    )
    refuse_other_content(found)
    if found.kind(composition) == "not source-trained":
        warnings.warn(
            f"{composition.label}: only the weights of its backbone are here, so this is not the "
            "published method",
            stacklevel=2,
        )
    network = load_complete(composition, found)
    _SIZES[network] = _size(found.backbone)
    return network


def _folders(given: _File | Sequence[_File]) -> list[Path]:
    several = [given] if isinstance(given, str | os.PathLike) else given
    folders = [Path(one) for one in several]
    refuse_absent_folders(folders)
    return folders


def image_size(method: Method) -> int:
    """Side in pixels of the images that a method is shown in `run`."""
    return _SIZES.get(method, _size(""))


def _size(backbone: str) -> int:
    on_mini = backbone in BACKBONES and is_toy(backbone)
    return DOMAINS.card("mini-lesion" if on_mini else "folder").image_size
