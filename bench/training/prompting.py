"""Prompted segmentation: what a SAM of the mini suite is pretrained for, as SAM-1B's is.

Of each picture one class is chosen, and points or a box are drawn from its mask. The decoder
answers; then it is asked again with its own answer as a mask prompt beside the others. Each answer
is judged by binary cross-entropy and Dice: the mask for a clear prompt, and the best of the three
for an ambiguous one. The predicted IoU of every mask shall be the true one.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.methods.backbones.sam import SAM
from cdfss_bench.methods.blocks.sam_prompt import MASK_SCALE, NEGATIVE, POSITIVE

VOID = 255
LEAST_PIXELS = 24
"""Of the chosen class in the truth at the decoder's resolution; smaller ones are not asked for."""


@dataclass(frozen=True, slots=True)
class Objects:
    """One object per picture at the decoder's resolution, for N pictures.

    Attributes:
        pictures: which of the batch have one [N].
        inside: 1 in the object [N, h, w].
        decided: 1 where the truth is known [N, h, w].
    """

    pictures: Tensor
    inside: Tensor
    decided: Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder is told, in pixels of the picture.

    Attributes:
        points: (x, y) [N, P, 2]; None without.
        labels: [N, P].
        boxes: (x0, y0, x1, y1) [N, 4]; None without.
    """

    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None


class PromptedSegmentation(nn.Module):
    """The objective of a SAM's pretraining.

    Args:
        backbone: all of whose parameters are trained.
    """

    def __init__(self, backbone: SAM):
        super().__init__()
        self.backbone = backbone

    def loss(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """The sum of both answers' losses, a scalar.

        Args:
            images: ImageNet-normalised [N, 3, S, S].
            labels: classes from 1, background 0, undecided 255 [N, S, S].
            rng: draws classes and prompts; on the CPU.
        """
        sam, step = self.backbone, self.backbone.plan.patch // MASK_SCALE
        found = chosen(labels[:, step // 2 :: step, step // 2 :: step].cpu(), rng)
        if not len(found.pictures):
            return images.sum() * 0
        prompt = drawn(found, step, rng)
        embedding = sam.embedding(images)[found.pictures.to(images.device)]
        grid = (embedding.shape[-2], embedding.shape[-1])
        positions = sam.prompt_encoder.dense_positions(grid)
        inside, decided = found.inside.to(images.device), found.decided.to(images.device)

        def answer(low: Tensor | None) -> tuple[Tensor, Tensor]:
            sparse, dense = sam.prompt_encoder(
                frame=(images.shape[-2], images.shape[-1]),
                grid=grid,
                points=_on(images, prompt.points),
                labels=_on(images, prompt.labels),
                boxes=_on(images, prompt.boxes),
                masks=low,
            )
            return sam.mask_decoder.all_masks(embedding, positions, sparse, dense)

        masks, scores = answer(None)
        first = judged(masks, scores, inside, decided)
        best = scores.argmax(1)
        shown = masks.detach()[torch.arange(len(masks), device=masks.device), best][:, None]
        return first + judged(*answer(shown), inside, decided)


def chosen(labels: Tensor, rng: torch.Generator) -> Objects:
    """One class of each picture that shows one, drawn from labels [N, h, w]."""
    pictures: list[int] = []
    inside: list[Tensor] = []
    for number, picture in enumerate(labels):
        classes, counts = picture.unique(return_counts=True)
        legal = classes[(classes != 0) & (classes != VOID) & (counts >= LEAST_PIXELS)]
        if len(legal):
            pictures.append(number)
            one = legal[int(torch.randint(len(legal), (), generator=rng))]
            inside.append(picture == one)
    rows = torch.tensor(pictures, dtype=torch.long)
    objects = torch.stack(inside) if inside else labels.new_zeros((0, *labels.shape[1:]))
    return Objects(rows, objects.float(), (labels[rows] != VOID).float())


def drawn(found: Objects, step: int, rng: torch.Generator) -> Prompt:
    """One kind of prompt for all objects: points, a box, or both.

    Args:
        found: the objects.
        step: pixels of the picture per pixel of the truth.
        rng: draws.
    """
    kind = int(torch.randint(4, (), generator=rng))
    points = labels = boxes = None
    if kind != 1:
        points = _drawn_points(found.inside, step, rng)
        labels = torch.full((len(points), 1), POSITIVE)
        outside = found.decided * (1 - found.inside)
        if kind >= 2 and bool(outside.flatten(1).any(1).all()):
            points = torch.cat((points, _drawn_points(outside, step, rng)), dim=1)
            labels = torch.cat((labels, torch.full_like(labels, NEGATIVE)), dim=1)
    if kind in (1, 3):
        boxes = _boxes(found.inside, step, rng)
    return Prompt(points, labels, boxes)


def judged(masks: Tensor, scores: Tensor, inside: Tensor, decided: Tensor) -> Tensor:
    """Loss of all four masks [N, 4, h, w] and their scores [N, 4] of N objects [N, h, w]."""
    truth = inside[:, None].expand_as(masks)
    known = decided[:, None]
    area = known.sum((2, 3))
    entropy = F.binary_cross_entropy_with_logits(masks, truth, reduction="none")
    probability = masks.sigmoid() * known
    overlap = (probability * truth).sum((2, 3))
    sizes = probability.sum((2, 3)) + truth.sum((2, 3))
    error = (entropy * known).sum((2, 3)) / area + 1 - (2 * overlap + 1) / (sizes + 1)
    with torch.no_grad():
        seen = (masks > 0) * known
        common = (seen * truth).sum((2, 3))
        iou = common / (seen.sum((2, 3)) + truth.sum((2, 3)) - common).clamp(min=1)
    clear, ambiguous = error[:, 0], error[:, 1:].amin(1)
    return (clear + ambiguous).mean() + F.mse_loss(scores, iou)


def _drawn_points(where: Tensor, step: int, rng: torch.Generator) -> Tensor:
    """One place (x, y) [N, 1, 2] in each of N masks, in pixels of the picture."""
    flat = torch.multinomial(where.flatten(1), 1, generator=rng)
    width = where.shape[-1]
    places = torch.stack((flat % width, flat // width), dim=-1).float()
    return places * step + step // 2


def _boxes(inside: Tensor, step: int, rng: torch.Generator) -> Tensor:
    """Boxes [N, 4] around the objects, each side moved by up to a tenth of the box's."""
    corners: list[Tensor] = []
    for mask in inside > 0:
        rows, columns = (mask.any(dim).nonzero()[:, 0].float() for dim in (1, 0))
        corners.append(torch.stack((columns[0], rows[0], columns[-1], rows[-1])))
    boxes = torch.stack(corners)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + 0.2 * sides * (torch.rand(boxes.shape, generator=rng) - 0.5)
    return (moved * step + step // 2).clamp(0, inside.shape[-1] * step - 1)


def _on(images: Tensor, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(images.device)
