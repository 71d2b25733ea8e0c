"""SAM: an image encoder, a prompt encoder and a mask decoder (Kirillov et al., ICCV 2023).

* `sam-vit-b`: ViT-B/16 at 1024 pixels, trained on SA-1B.
* `sam-mini`: narrow and shallow, for the mini suite.

One published file holds all three parts, so one backbone does: `image_encoder.*`,
`prompt_encoder.*` and `mask_decoder.*` are its state-dict keys. Its stages are those of the image
encoder: `patch_embed`, `blocks.0`, `blocks.1`, ..., `neck`; the neck's output is the image
embedding that the decoder takes. The other two parts belong to its stage; a host calls them:

    frame = Frame(size=(400, 400), side=backbone.side)          # blocks/sam_frames.py
    embedding = backbone.embedding(frame.pictured(images))      # [N, C, S/16, S/16]
    sparse, dense = backbone.prompt_encoder(frame=..., grid=..., points=..., ...)
    positions = backbone.prompt_encoder.dense_positions(grid)
    low, scores = backbone.mask_decoder(embedding, positions, sparse, dense, several=True)
    logits = frame.restored(low)                                # at image size

(blocks/sam_encoder.py, sam_prompt.py and sam_decoder.py say more.) Images of any size that is a
multiple of the patch are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor, nn

from cdfss_bench.errors import UserError

from ..blocks.sam_decoder import MaskDecoder
from ..blocks.sam_encoder import ImageEncoder, SAMPlan
from ..blocks.sam_prompt import PromptEncoder
from .base import Backbone, EditStage, Stage, StageMaps

PLANS = {
    "sam-vit-b": SAMPlan(768, 12, 12, (2, 5, 8, 11)),
    "sam-mini": SAMPlan(
        64,
        4,
        2,
        (1, 3),
        side=128,
        patch=8,
        window=5,
        channels=64,
        decoder_heads=4,
        decoder_hidden=128,
    ),
}


class SAM(Backbone):
    """An image encoder in stages, beside a prompt encoder and a mask decoder.

    The tap and output of a block are its sum of branch and shortcut, those of the neck the image
    embedding. An edit of stage 1 acts before positions are added. Prompt encoder and decoder are
    built with the neck.
    """

    pyramid = ()
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder

    def __init__(self, plan: SAMPlan, *, until: str = "semantic"):
        super().__init__()
        self.plan = plan
        stages = (
            Stage("patch_embed", plan.width, plan.patch, 0),
            *(Stage(f"blocks.{i}", plan.width, plan.patch, 1) for i in range(plan.depth)),
            Stage("neck", plan.channels, plan.patch, 1),
        )
        names = [stage.name for stage in stages]
        last = names.index(until) if until in names else len(names) - 1
        self.stages = stages[: last + 1]
        self.semantic = names[last]
        self._whole = self.semantic == "neck"
        depth = min(last, plan.depth)
        self.image_encoder = ImageEncoder(plan, depth, whole=self._whole)
        if self._whole:
            self.prompt_encoder = PromptEncoder(plan.channels)
            self.mask_decoder = MaskDecoder(plan.channels, plan.decoder_heads, plan.decoder_hidden)
        else:
            unbuilt = (f"image_encoder.blocks.{i}." for i in range(depth, plan.depth))
            behind = ("image_encoder.neck.", "prompt_encoder.", "mask_decoder.")
            self.unused_keys = (*unbuilt, *behind)

    @property
    def side(self) -> int:
        """Side in pixels of the images for which its parameters are made."""
        return self.plan.side

    def grid(self, side: int) -> tuple[int, int]:
        """(h, w) of the image embedding of a square of `side` pixels."""
        return (side // self.plan.patch, side // self.plan.patch)

    def embedding(self, images: Tensor) -> Tensor:
        """The image embedding [N, C, h, w] of `images` [N, 3, H, W].

        Raises:
            UserError: if the images are no whole number of patches high and wide.
        """
        *_, last = self.walk(images)
        return last.output

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`.

        Raises:
            UserError: if the images are no whole number of patches high and wide.
        """
        side = self.plan.patch
        height, width = images.shape[-2:]
        if height % side or width % side:
            raise UserError(
                f"images of {height}x{width} pixels do not divide into patches of {side}x{side}",
                hint=f"use sides that are multiples of {side}",
            )
        encoder = self.image_encoder
        tokens = encoder.patch_embed(images)
        output = tokens.permute(0, 3, 1, 2)
        if edit is not None:
            output = edit(0, output)
        yield StageMaps(self.stages[0], [], output)
        tokens = output.permute(0, 2, 3, 1)
        tokens = tokens + encoder.positions((tokens.shape[1], tokens.shape[2]))
        for index, block in enumerate(encoder.blocks, start=1):
            output = tap = block(tokens).permute(0, 3, 1, 2)
            if edit is not None:
                output = edit(index, tap)
            yield StageMaps(self.stages[index], [tap], output)
            tokens = output.permute(0, 2, 3, 1)
        if not self._whole:
            return
        output = tap = encoder.neck(tokens.permute(0, 3, 1, 2))
        if edit is not None:
            output = edit(len(self.stages) - 1, tap)
        yield StageMaps(self.stages[-1], [tap], output)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The patch embedding, one block, or the neck with the parts that take its output."""
        encoder = self.image_encoder
        if index == 0:
            return [encoder.patch_embed]
        if index <= len(encoder.blocks):
            return [encoder.blocks[index - 1]]
        return [encoder.neck, self.prompt_encoder, self.mask_decoder]

    def stage_parameters(self, index: int) -> Sequence[nn.Parameter]:
        """The position embedding belongs to the first block, which is the first to see it."""
        own = list(super().stage_parameters(index))
        is_first = index == min(1, len(self.image_encoder.blocks))
        return [*own, self.image_encoder.pos_embed] if is_first else own


def build(name: str, *, until: str, output_stride: Literal[8, 16, 32]) -> SAM:
    """The SAM of that card name; it has no dilated form and no pyramid."""
    del output_stride
    return SAM(PLANS[name], until=until)
