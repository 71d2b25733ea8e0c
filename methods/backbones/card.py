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
        url: public address, if there is one.
        page: where a person finds it, for a file that is not fetched.
        sha256: of the file, or its first digits as the publisher puts them into the name; empty
            where none is published.
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
        patch: side in pixels of a transformer's patches; 1 for a network that takes every size.
        rest: what is done with images whose sides are no multiples of it: `refuse`, `resize` (to
            the next multiple) or `crop` (the right and bottom rest is not seen).
    """

    name: str
    title: str
    code: str = Field(alias="class")
    stages: tuple[str, ...]
    pretrained: tuple[Pretrained, ...] = ()
    pyramid: bool = True
    patch: int = Field(default=1, ge=1)
    rest: Literal["refuse", "resize", "crop"] = "refuse"
    note: str = ""

    def seen_size(self, side: int) -> int:
        """Side in pixels that the network sees of images of `side` x `side`."""
        whole = side // self.patch * self.patch
        return whole + self.patch if self.rest == "resize" and whole < side else whole


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
