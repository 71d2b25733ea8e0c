"""The domain card: where the data comes from, its layout, classes, protocol and known profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cdfss_bench.cards import Card
from cdfss_bench.options import Option


class Profile(Card):
    """A population of the data set that is in circulation, recognised by its counts.

    Attributes:
        images: images per class in class order (an image of two classes counts twice), or one
            total where the split over classes is not known.
        note: who uses it.
    """

    images: tuple[int, ...]
    note: str = ""

    def fits(self, counts: tuple[int, ...]) -> bool:
        """Whether a tree with `counts` images per class is this population."""
        return counts == self.images or (len(self.images) == 1 and (sum(counts),) == self.images)


class Split(Card):
    """Another published split of the same tree, with ids of its own."""

    first_class_id: int
    classes: tuple[str, ...]


class Download(Card):
    """A file from which the domain is prepared.

    Attributes:
        file: name under which it is kept.
        url: the public address; empty where a login is needed.
        page: where a person clicks, if there is no public address.
        click: what to click there.
        sha256: of the published file, where it is known.
        bytes: about how large it is.
        optional: whether the domain can be prepared without it.
    """

    file: str
    url: str = ""
    page: str = ""
    click: str = ""
    sha256: str = ""
    bytes: int = 0
    optional: bool = False


class Preparation(Card):
    """How the download becomes the published layout.

    Attributes:
        code: `module:Class` of the recipe, beside the card.
        options: that decide what is made.
    """

    code: str = Field(alias="class")
    options: dict[str, Option] = {}


class DomainCard(Card):
    """What is known of a domain without looking at its files.

    Attributes:
        code: `module:Class` of the reader, beside the card.
        role: whether methods train on it or are tested on it.
        suite: `cdfss` is what the field compares on, `extended` are further targets of papers of
            2025 and 2026, `mini` is drawn by code, `extra` is the rest.
        gap: one line on what is foreign about it for a model of everyday photographs.
        layout: the published folder layout, as a picture in text.
        image_size: side in pixels to which images and masks are brought.
        sampling: `cycle` draws a query of class i mod C; `listed` takes each (image, class) pair
            of a fixed list as query in turn.
        length: episodes of the published protocol; None: one per listed query.
        classes: class names in the order of their ids; none where the files decide.
        first_class_id: id of the first class (the published FSS-1000 test ids begin at 760).
        other_splits: class lists of the published splits that are not tested on.
        source_overlap: for each source class, the classes of this domain that are kinds of it.
        profiles: populations in circulation; the first is the one the field compares on.
        located_by: the option that names the domain's folder or file; where it is an absolute
            path, no data root is needed.
        note: what of the official form could not be checked.
        defects: known defects of the published data that the reader meets.
        downloads: files that `data fetch` gets, or says how to get.
        prepare: how `data prepare` makes the published layout of them.
    """

    name: str
    title: str
    code: str = Field(alias="class")
    role: Literal["source", "target"]
    suite: Literal["cdfss", "extended", "mini", "extra"]
    summary: str
    gap: str = ""
    paper: str = ""
    url: str = ""
    licence: str
    layout: str
    image_size: int = Field(default=400, ge=16)
    sampling: Literal["cycle", "listed"]
    length: int | None = None
    classes: tuple[str, ...] = ()
    first_class_id: int = 0
    other_splits: dict[str, Split] = {}
    source_overlap: dict[str, tuple[str, ...]] = {}
    profiles: dict[str, Profile] = {}
    options: dict[str, Option] = {}
    located_by: str = "path"
    note: str = ""
    defects: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    prepare: Preparation | None = None

    def download(self, file: str) -> Download | None:
        """The download kept under that name."""
        return next((entry for entry in self.downloads if entry.file == file), None)
