"""A record's predictions computed again, for pictures, and checked against its rows.

Records keep counts, not masks. A picture is drawn only where the data, the episodes and the weights
at hand are those of the record, by their hashes; the mask's IoU stands beside the recorded one.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets import Domain, Manifest, open_domain
from cdfss_bench.datasets.check.contact_sheet import border
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.errors import DataError, RecordError, WeightsError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.name_grammar import Composition, parse
from cdfss_bench.methods.weights.resolve import Weights, resolve_weights
from cdfss_bench.methods.weights.search import PACKAGED

from ...evaluation.complete_weights import load_complete
from ...planning.hashes import weights_sha256
from ...records.cell_folder import CellFolder
from ...records.results import RunResult
from ...records.schema import RunRecord
from .examples import Example, Layer, Panel, examples
from .panels import PREDICTION, TRUTH, iou_of, predicted

SIDE, SMALL = 144, 72
"""Pixels of a picture; of each of several supports."""
_QUALITY = 72
_FILL = 70
"""Opacity of a mask inside its border, of 255."""


class Redrawer:
    """Draws the examples of records, keeping the last network for the next record."""

    def __init__(self, root: Path | None, lists: Path | None, folders: Sequence[Path]):
        self.root = root
        self.lists = lists
        self.folders = tuple(folders)
        self._network: tuple[object, Method] | None = None
        self._domains: dict[str, Domain] = {}

    def panels(self, answer: RunResult) -> list[Panel]:
        """The best, the median and the worst episode of a finished record.

        Raises:
            DataError: if the data of the record are not here.
            WeightsError: if its weights are not here.
            RecordError: if its rows or its manifest are damaged.
        """
        if answer.record.method.external:
            raise RecordError("its masks are of another program, and records hold none")
        domain, manifest = self.asked(answer)
        network = self.network_of(answer.record)
        return [
            _panel(network, domain, manifest, answer.record.episodes.seed, example)
            for example in examples(answer.rows)
        ]

    def asked(self, answer: RunResult) -> tuple[Domain, Manifest]:
        """The data and the episodes of a record.

        Raises:
            DataError: if the data of the record are not here.
            RecordError: if its manifest is damaged.
        """
        record = answer.record
        title = record.domain.opens
        if title not in self._domains:
            name, options = split_name(title)
            self._domains[title] = open_domain(name, self.root, options, lists=self.lists)
        domain = self._domains[title]
        if domain.fingerprint != record.domain.fingerprint:
            raise DataError("the data here are not those of the record")
        manifest = Manifest.load(CellFolder(answer.path.parent).manifest)
        if manifest.sha256 != record.episodes.sha256:
            raise RecordError("the manifest is not that of the record")
        return domain, manifest

    def network_of(self, record: RunRecord) -> Method:
        """The method of a record with its weights.

        Raises:
            WeightsError: if its weights are not here.
        """
        composition = parse(record.method.composition)
        weights = weights_of(record, composition, self.folders)
        key = (str(composition), weights, record.evaluator.precision)
        if self._network is None or self._network[0] != key:
            network = load_complete(composition, weights, precision=record.evaluator.precision)
            network = network.optimized_for("cpu")
            self._network = (key, network)
        return self._network[1]


def weights_of(record: RunRecord, composition: Composition, folders: Sequence[Path]) -> Weights:
    """The files with which a record was made, by name and sha256.

    Raises:
        WeightsError: if they are not in the folders.
    """
    named, wanted = record.weights.checkpoint, record.weights.checkpoint_sha256
    places = [folder / named for folder in (*folders, PACKAGED)] if named else []
    here = [path for path in places if path.is_file()]
    if named and not here:
        raise WeightsError(
            f"{named} is in none of the weights folders", hint="name its folder: --weights-dir DIR"
        )
    checkpoint = next((path for path in here if file_sha256(path) == wanted), None)
    backbone = record.method.backbone or None
    weights = resolve_weights(
        composition, backbone=backbone, checkpoint=checkpoint, folders=folders
    )
    if weights_sha256(weights) != (record.weights.pretrained_sha256, wanted):
        raise WeightsError("the weights here are not those of the record")
    return weights


def _panel(
    network: Method, domain: Domain, manifest: Manifest, seed: int, example: Example
) -> Panel:
    episode = manifest[example.row.index]
    query = domain.item(episode.class_id, episode.query)
    supports = [domain.item(episode.support_class_id, name) for name in episode.supports]
    mask = predicted(network, domain, episode, seed)
    names = {entry.id: entry.name for entry in domain.classes}
    return Panel(
        example=example,
        class_name=names[episode.class_id],
        supports=tuple(_layer(domain, s, SIDE if len(supports) == 1 else SMALL) for s in supports),
        query=_layer(domain, query, SIDE),
        prediction=overlay(mask, PREDICTION, SIDE),
        found=iou_of(domain, query, mask),
    )


def _layer(domain: Domain, item: Item, side: int) -> Layer:
    return Layer(
        item.name, photograph(domain, item, side), overlay(domain.truth(item), TRUTH, side)
    )


def photograph(domain: Domain, item: Item, side: int) -> bytes:
    """The picture of an item as a JPEG of that side."""
    out = io.BytesIO()
    picture = Image.fromarray(domain.image(item)).resize((side, side), Image.Resampling.LANCZOS)
    picture.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


def overlay(mask: NDArray[np.uint8], colour: tuple[int, int, int], side: int) -> bytes:
    """A PNG of three colours: nothing, the veil over `mask` [S, S], its border."""
    small = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
    picture = Image.fromarray(small + border(small).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *colour, *colour])
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True, bits=2, transparency=bytes([0, _FILL, 255]))
    return out.getvalue()
