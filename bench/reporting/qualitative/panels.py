"""Qualitative panels: support, query, truth and prediction side by side."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cdfss_bench.datasets import Domain, Episode
from cdfss_bench.datasets.check.contact_sheet import encoded, outlined
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.methods.core.method import Method

from ...evaluation.own_pair import predict_images
from ...evaluation.pixel_counts import count
from ...evaluation.prediction import adaptation_stream
from ...planning.cell import Cell
from ...records.cell_folder import safe_name
from ...statistics.metrics import iou

TRUTH = (32, 160, 255)
PREDICTION = (255, 64, 32)
_SIDE, _LABEL = 256, 16
"""Pixels of a picture of a strip, and of a line of text."""
_LONGEST = 180
"""Characters of a file's name beside the id: with it they stay below what file systems take."""


def predicted(method: Method, domain: Domain, episode: Episode, seed: int) -> NDArray[np.uint8]:
    """The method's mask of one episode of a run with that seed, uint8 [S, S]."""
    tensors = domain.load(episode)
    return predict_images(
        method,
        tensors.query_image,
        tensors.support_images,
        tensors.support_masks,
        adaptation_stream(seed, episode),
    )


def laid_over(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` [H, W, 3] with `mask` [H, W] tinted and outlined."""
    tinted = np.where(mask[..., None] == 1, 0.6 * image + 0.4 * np.array(PREDICTION), image)
    return outlined(np.rint(tinted).astype(np.uint8), mask, PREDICTION)


def file_of(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """uint8 [H, W] or [H, W, 3] as a file: JPEG for `.jpg`, PNG for anything else."""
    return encoded(Image.fromarray(pixels), suffix)


def file_name(cell: Cell) -> str:
    """`DOMAIN-Kshot-seedS-PROTOCOL-METHOD-ID.png`: no two cells share one, whatever their names.

    The id stands for all that the words leave out: options, weights, how many episodes.
    """
    episode_set = cell.episode_set
    words = (
        f"{episode_set.domain.title}-{episode_set.shots}shot-seed{episode_set.seed}-{episode_set.protocol}-"
        f"{cell.composition.label}"
    )
    return f"{safe_name(words)[:_LONGEST]}-{cell.id[:12]}.png"


def iou_of(domain: Domain, item: Item, mask: NDArray[np.uint8]) -> float:
    """IoU in percent of a mask, uint8 [S, S], with the truth of an item."""
    void = domain.undecided(item)
    (counts,) = count(
        torch.from_numpy(mask)[None],
        torch.from_numpy(np.array(domain.truth(item)))[None],
        None if void is None else torch.from_numpy(np.array(void))[None],
    )
    return iou(counts.inter, counts.union)


def panel(domain: Domain, episode: Episode, mask: NDArray[np.uint8], *, title: str) -> Image.Image:
    """One strip: the supports with their masks, the query's truth (blue), the prediction (red).

    `mask` is the prediction, uint8 [S, S].
    """
    query = domain.item(episode.class_id, episode.query)
    supports = [domain.item(episode.support_class_id, name) for name in episode.supports]
    image, side = domain.image(query), _SIDE
    pictures = [(outlined(domain.image(s), domain.truth(s)), "support") for s in supports]
    pictures += [
        (outlined(image, domain.truth(query), TRUTH), "query, truth"),
        (outlined(image, mask, PREDICTION), f"IoU {iou_of(domain, query, mask):.1f}"),
    ]
    strip = Image.new("RGB", (len(pictures) * side, side + 2 * _LABEL), "white")
    pen = ImageDraw.Draw(strip)
    # The font that is always there has no other characters.
    pen.text((3, 2), title.encode("latin-1", "replace").decode("latin-1"), fill="black")
    for column, (picture, label) in enumerate(pictures):
        pen.text((column * side + 3, _LABEL), label, fill="black")
        strip.paste(Image.fromarray(picture).resize((side, side)), (column * side, 2 * _LABEL))
    return strip


def stacked(strips: Sequence[Image.Image]) -> Image.Image:
    """Strips one below the other."""
    width = max(strip.width for strip in strips)
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet
