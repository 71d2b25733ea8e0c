"""Hashes of all that a cell's numbers come from: code, weights files, and whether they changed."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from cdfss_bench.canonical import digest, file_sha256
from cdfss_bench.cards import Catalog, Origin
from cdfss_bench.datasets import DOMAINS, Domain
from cdfss_bench.datasets.core.content_index import Signature, signature_of
from cdfss_bench.errors import UserError
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.fast import FORMS
from cdfss_bench.methods.registry.name_grammar import METHODS, Composition
from cdfss_bench.methods.weights.resolve import Weights

from ..records.code_hash import code_hash, package_folder, plugin_hash


@lru_cache(maxsize=1)
def evaluator_code() -> str:
    """Hash of the code that builds a network, asks it and counts, whatever the method.

    Tables, pages and the rest of the runner are not in it: they change no count.
    """
    names = ("evaluation.prediction", "evaluation.evaluator", "statistics.summary")
    return code_hash(*(f"cdfss_bench.bench.{name}" for name in names))


def method_code(composition: Composition, backbone: str) -> str:
    """Hash of the code of all parts of a method and of its backbone; empty for none."""
    return digest([_card_code(*part) if part[1] else "" for part in _coded(composition, backbone)])


def refuse_changed_code(composition: Composition, backbone: str) -> None:
    """Refuse a method whose files are no longer those that this process has hashed.

    What was imported may be the older or the newer ones, so no hash says which would compute.

    Raises:
        UserError: naming the part.
    """
    for catalog, name in _coded(composition, backbone):
        if name:
            _refuse_changed(catalog, name)


def refuse_changed_plugins(catalog: Catalog[Any], names: Iterable[str]) -> None:
    """As `refuse_changed_code`, of those methods or domains that do not come with this package.

    Raises:
        UserError: naming what was changed.
    """
    for name in names:
        if name in catalog and not _is_built_in(catalog.origin(name)):
            _refuse_changed(catalog, name)


def _coded(composition: Composition, backbone: str) -> list[tuple[Catalog[Any], str]]:
    return [*((METHODS, part.card.name) for part in composition.parts), (BACKBONES, backbone)]


def _refuse_changed(catalog: Catalog[Any], name: str) -> None:
    if _card_code(catalog, name) != _card_code(catalog, name, again=True):
        raise UserError(
            f"the files of the {catalog.kind} '{name}' ({catalog.origin(name)}) were changed while "
            "this process works with them",
            hint="type the command again; in Python, start a new process",
        )


def reader_code(domain: Domain) -> str:
    """Hash of the code that turns files into pixels; sequences stand in the manifest."""
    card = domain.card
    if card.name not in DOMAINS or DOMAINS.card(card.name).code != card.code:
        # Made by hand, with no card that anybody finds.
        return digest([_built_in_code(_TRANSFORMS), code_hash(type(domain).__module__)])
    return named_reader_code(card.name)


def named_reader_code(name: str) -> str:
    """`reader_code` of the domain whose card has that name.

    Raises:
        UserError: if no card has it.
    """
    return digest([_built_in_code(_TRANSFORMS), _card_code(DOMAINS, name)])


_TRANSFORMS = "cdfss_bench.datasets.core.transforms"


def _card_code(catalog: Catalog[Any], name: str, *, again: bool = False) -> str:
    """Of what a card names: the module and its imports, or all of a plug-in's folder.

    Args:
        catalog: of the card.
        name: of the card.
        again: whether files are hashed as they are now, whatever this process hashed before.
    """
    built_in = _built_in_code.__wrapped__ if again else _built_in_code
    plugin = _plugin_code.__wrapped__ if again else _plugin_code
    card, origin = catalog.card(name), catalog.origin(name)
    module, _, attribute = str(card.code).partition(":")
    if _is_built_in(origin):
        module = f"{origin.package}.{module}"
        form, _, _ = FORMS.get(f"{module}:{attribute}", "").partition(":")
        code = built_in(module, *([form] if form else []))
    else:
        code = plugin(origin.path.parent, origin.package)
    decisive = {key: getattr(card, key) for key in _DECISIVE if hasattr(card, key)}
    return digest([code, attribute, decisive])


def is_foreign(composition: Composition, backbone: str) -> bool:
    """Whether a part of a method, or its backbone, does not come with this package."""
    return any(
        name and not _is_built_in(catalog.origin(name))
        for catalog, name in _coded(composition, backbone)
    )


def _is_built_in(origin: Origin) -> bool:
    return origin.package is not None and origin.package.startswith("cdfss_bench.")


@lru_cache(maxsize=256)
def _built_in_code(*modules: str) -> str:
    return code_hash(*modules)


@lru_cache(maxsize=64)
def _plugin_code(folder: Path, package: str | None) -> str:
    found = package_folder(package) if package else None
    return plugin_hash(*(found or (folder, package or "")))


_DECISIVE = ("place", "offers", "output_stride", "reads", "adaptation", "pyramid", "stages")
"""What cards say of a network that no option says."""


@lru_cache(maxsize=64)
def _sha256_of(path: Path, _signature: Signature) -> str:
    return file_sha256(path)


def file_hash(path: Path) -> str:
    """sha256 of a file, computed once as long as its signature stays the same."""
    return _sha256_of(path, signature_of(path))


def weights_sha256(weights: Weights) -> tuple[str, str]:
    """Of the backbone's file and of the checkpoint; empty where there is none."""
    pretrained, checkpoint = (
        file_hash(path) if path else "" for path in (weights.pretrained, weights.checkpoint)
    )
    return pretrained, checkpoint
