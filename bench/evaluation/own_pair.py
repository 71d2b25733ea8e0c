"""One episode from picture files of one's own: a query, and supports with their masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.canonical import file_sha256
from cdfss_bench.datasets import DOMAINS, Episode
from cdfss_bench.datasets.core.masks import options as mask_options
from cdfss_bench.datasets.core.masks.decoding import decide
from cdfss_bench.datasets.core.masks.facts import look_at
from cdfss_bench.datasets.core.masks.geometry import Drawn, turn_of
from cdfss_bench.datasets.core.masks.reading import decode
from cdfss_bench.datasets.core.own_domain import header_at, picture_at
from cdfss_bench.datasets.core.transforms import normalised, resized_image, resized_labels
from cdfss_bench.datasets.core.upright import turned
from cdfss_bench.errors import DataError, UserError, unknown
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.options import Value, resolve, split_options

from .prediction import adaptation_stream, predict_episode

_OPTIONS = ("labels", "colors", "ignore", "orientation")
"""Those of the domain `folder` that say how masks are read."""


@dataclass(frozen=True)
class OwnPair:
    """An episode of one's own.

    Attributes:
        query: the picture as a viewer shows it, uint8 [H, W, 3].
        query_image: float32 [3, S, S], ImageNet-normalised.
        support_images: float32 [K, 3, S, S].
        support_masks: uint8 [K, S, S] of 0 and 1.
        episode: the sha256 of the files in place of names: the answer belongs to the pictures, not
            to where they lie.
    """

    query: NDArray[np.uint8]
    query_image: torch.Tensor
    support_images: torch.Tensor
    support_masks: torch.Tensor
    episode: Episode


def read_pair(
    query: Path, supports: Sequence[Path], masks: Sequence[Path], side: int, typed: str = ""
) -> OwnPair:
    """Read an episode; pictures and masks are read as those of the domain `folder`.

    Args:
        query: a picture.
        supports: pictures.
        masks: of the supports, in their order.
        side: of what the method is shown, in pixels.
        typed: how masks are read, as options of the domain `folder`, `labels=1,ignore=255`.

    Raises:
        UserError: if there are not as many masks as supports, a file is no picture, a mask has
            another size than its support, no certain meaning, or shows nothing.
    """
    if not supports or len(supports) != len(masks):
        raise UserError(
            f"a query needs as many masks as supports: {len(masks)} and {len(supports)} are named",
            hint="name a mask for each support: --support a.png --mask a-mask.png",
        )
    options = _options(typed)

    def say(change: str) -> str:
        return f"--mask-options '{change}'"

    facts = {mask: look_at(mask).facts for mask in masks}
    reading = decide(facts, ["object"], mask_options.parse(options), say)
    drawn = cast("Drawn", options["orientation"])
    truths: list[NDArray[np.uint8]] = []
    for support, mask in zip(supports, masks, strict=True):
        turn = turn_of(support, header_at(support), mask, facts[mask], drawn, say)
        labels = turned(decode(mask, facts[mask], reading), turn)
        truth = (resized_labels(labels, side) == 1).astype(np.uint8)
        if not truth.any():
            raise DataError(
                f"{mask} shows no object",
                hint=f"name the value of the object: {say('labels=1')}, or draw the mask",
            )
        truths.append(truth)
    shown = picture_at(query)
    pictures = np.stack([resized_image(picture_at(support), side) for support in supports])
    hashes = [f"{file_sha256(s)} {file_sha256(m)}" for s, m in zip(supports, masks, strict=True)]
    return OwnPair(
        np.asarray(shown),
        normalised(resized_image(shown, side)),
        normalised(pictures),
        torch.from_numpy(np.stack(truths)),
        Episode(file_sha256(query), tuple(hashes), 0),
    )


def predict_images(
    method: Method,
    query: torch.Tensor,
    supports: torch.Tensor,
    masks: torch.Tensor,
    rng: torch.Generator,
) -> NDArray[np.uint8]:
    """The mask of one query, uint8 [S, S] of 0 and 1.

    Args:
        method: in eval mode, weights loaded.
        query: float32 [3, S, S], ImageNet-normalised.
        supports: float32 [K, 3, S, S].
        masks: of the supports, uint8 [K, S, S].
        rng: for a method that adapts, see `adaptation_stream`.
    """

    def encoded(by: Method) -> tuple[FeatureBatch, FeatureBatch]:
        with torch.no_grad():
            return by.encode(query[None]), by.encode(supports)

    shown, support = encoded(method)
    found = predict_episode(method, shown, support, masks, rng=rng, encode_again=encoded)
    return found.mask[0].cpu().numpy()


def predict_pair(method: Method, pair: OwnPair, seed: int) -> NDArray[np.uint8]:
    """The mask of a pair's query at the size of its picture, uint8 [H, W] of 0 and 1."""
    mask = predict_images(
        method,
        pair.query_image,
        pair.support_images,
        pair.support_masks,
        adaptation_stream(seed, pair.episode),
    )
    height, width, _ = pair.query.shape
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _options(typed: str) -> dict[str, Value]:
    card = DOMAINS.card("folder")
    _, given = split_options(f"folder[{typed}]" if typed else "folder", typed)
    for name in given:
        if name not in _OPTIONS:
            raise unknown("option of masks:", name, _OPTIONS)
    return resolve(card.options, given, "folder")
