"""The backbone card: which network it is, and where its pretrained weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cdfss_bench.cards import Card, Catalog
from cdfss_bench.errors import unknown

if TYPE_CHECKING:
    from .base import Backbone


class Pretrained(Card):
    """One set of pretrained weights.

    Attributes:
        files: names under which a local folder may hold it.
        url: public address, if there is one with a known hash.
        page: where a person finds it, for a file that is not fetched.
        sha256: of the file, or its first digits as the publisher puts them into the name.
        renames: key prefixes of the file and ours.
        trained_on: what it was trained on.
        licence: of the weights.
        note: what is particular about it.
    """

    files: tuple[str, ...]
    url: str = ""
    page: str = ""
    sha256: str = ""
    renames: dict[str, str] = {}
    trained_on: str = "ImageNet-1k"
    licence: str = ""
    note: str = ""


class BackboneCard(Card):
    """What is known of a backbone without building it.

    Attributes:
        code: `module:function` that builds it from its name.
        stages: names, shallow to deep (LoEC's stage 1 is the first).
        pretrained: the weights that fit, in order of preference.
        pyramid: whether it has stages at strides 8, 16 and 32.
    """

    name: str
    title: str
    code: str = Field(alias="class")
    stages: tuple[str, ...]
    pretrained: tuple[Pretrained, ...] = ()
    pyramid: bool = True
    note: str = ""


BACKBONES: Catalog[BackboneCard] = Catalog(
    kind="backbone",
    schema=BackboneCard,
    folder=Path(__file__).parent,
    package=__package__ or "cdfss_bench.methods.backbones",
    group="cdfss_bench.backbones",
)
"""All backbone cards; `--plugin FOLDER` does not add here, the entry-point group does."""


def build_backbone(
    name: str,
    *,
    until: Literal["semantic", "pyramid"] | str = "pyramid",
    output_stride: Literal[8, 16, 32] = 32,
) -> Backbone:
    """A backbone in eval mode, parameters as constructed.

    Args:
        name: of its card.
        until: the deepest stage to build, by name or by what the host reads.
        output_stride: the stride to which it is dilated.

    Raises:
        UserError: for an unknown backbone or stage.
    """
    card = BACKBONES.card(name)
    if until not in ("semantic", "pyramid", *card.stages):
        raise unknown(f"stage of {name}:", until, card.stages)
    build = BACKBONES.code(name, card.code)
    backbone: Backbone = build(name, until=until, output_stride=output_stride)
    return backbone.eval()
