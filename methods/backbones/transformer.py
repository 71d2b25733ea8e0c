"""What vision transformers have in common: blocks, tokens in their places, and reading them.

Stages are `patch_embed, blocks.0, blocks.1, ...`. `walk` gives one map per stage, as every backbone
does; methods that need more of a transformer use these:

* **Several blocks at once**: `found = trunk.read(images, blocks=[7, 11])` runs the network once.
  `found.map(7)` are the patch tokens behind block 7 (from 0) as [N, C, h, w], without the final
  normalisation; `found.normed` is the final map, normalised; `found.tokens[7]` are all tokens
  [N, P + h*w, C] behind block 7, the P = `trunk.prefix` special ones (class token, registers)
  first. `tokens[-1]`, asked for as block -1, is what block 0 sees.
* **Attention residuals** (RSRM): `trunk.read(images, residuals=True).residuals` [N, L, C, h, w] is
  what the attention of each block adds to the stream, through the final normalisation.
* **Modified attention** (HERA), in block l, for the tokens `x` behind block l-1::

      block, rotation = trunk.block(l), trunk.rotation(found.size)
      q, k, v = block.attn.parts(block.norm1(x), rotation)  # [N, heads, T, D] each, k rotated
      weights = block.attn.weights(q, k)  # [N, heads, T, T], rows sum to 1
      middle = x + block.ls1(block.attn.merged(weights @ v))  # before the MLP of block l
      behind = middle + block.mixed(middle)  # behind block l
      maps = trunk.placed(behind, found.size)

  `block.attended(x, rotation)` is the unmodified attention branch, so that
  `x + block.attended(x, rotation)` is the stream before the MLP. `trunk.continued(x, l, size)` runs
  the blocks from l on.

All of it works on `vit-mini` as on DINOv2 and DINOv3; blocks without LayerScale have the identity
as `ls1` and `ls2`, and `rotation` is None where positions are added to the tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError

from .base import Backbone, EditStage, Stage, StageMaps
from .transformer_blocks import PatchEmbedding, Rotation, TransformerBlock


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass through a transformer computed for N images.

    Attributes:
        size: of the grid of patches, (h, w).
        tokens: all tokens [N, P + h*w, C] behind the blocks that were asked for, by block.
        normed: the final map [N, C, h, w], normalised.
        special: the P special tokens [N, P, C] at the end, normalised.
        residuals: what each block's attention adds to the patches, through the final
            normalisation, [N, L, C, h, w]; None where it was not asked for.
    """

    size: tuple[int, int]
    tokens: Mapping[int, Tensor]
    normed: Tensor
    special: Tensor
    residuals: Tensor | None

    def map(self, block: int) -> Tensor:
        """The patch tokens behind `block` in their places [N, C, h, w], not normalised."""
        height, width = self.size
        patches = self.tokens[block][:, self.special.shape[1] :]
        return patches[:, : height * width].transpose(1, 2).unflatten(2, self.size)


class Transformer(Backbone):
    """A vision transformer in stages `patch_embed`, `blocks.0`, `blocks.1`, ...

    Maps are the patch tokens in their places. The tap of a block is its sum of branch and shortcut;
    tap and output of the last block are normalised.

    Args:
        blocks: those that are built, first to last.
        width: channels of a token.
        patch: side of a patch in image pixels.
        prefix: how many special tokens stand before the patches.
        eps: of the final normalisation.
    """

    pyramid = ()
    unplaced = 0
    """How many of the special tokens have no entry in a position embedding."""

    def __init__(
        self, blocks: Sequence[TransformerBlock], *, width: int, patch: int, prefix: int, eps: float
    ):
        super().__init__()
        self.width = width
        self.patch = patch
        self.prefix = prefix
        self.patch_embed = PatchEmbedding(width, patch)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.stages = (
            Stage("patch_embed", width, patch, 0),
            *(Stage(f"blocks.{index}", width, patch, 1) for index in range(len(blocks))),
        )
        self.semantic = self.stages[-1].name

    def resize_to(self, side: int) -> None:
        """See `Backbone.resize_to`.

        Raises:
            CompositionError: if `side` is no whole number of patches.
        """
        if side % self.patch:
            below = side - side % self.patch
            near = [str(near) for near in (below, below + self.patch) if near]
            raise CompositionError(
                f"{side} pixels are no whole number of patches of {self.patch} pixels",
                hint=f"use a multiple of {self.patch}, such as {' or '.join(near)}",
            )
        super().resize_to(side)

    @abstractmethod
    def tokens(self, maps: Tensor) -> Tensor:
        """Patch tokens [N, C, h, w] as [N, P + h*w, C], special tokens first, positions added."""

    def rotation(self, size: tuple[int, int]) -> Rotation | None:
        """The rotary positions of a grid of `size`; None where positions are in the tokens."""
        del size
        return None

    def block(self, index: int) -> TransformerBlock:
        """Block `index`, from 0.

        Raises:
            CompositionError: if it does not exist or was not built.
        """
        if not 0 <= index < len(self.blocks):
            raise CompositionError(
                f"{type(self).__name__} has blocks 0 to {len(self.blocks) - 1} here, not {index}"
            )
        return cast("TransformerBlock", self.blocks[index])

    def walk(self, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        """See `Backbone.walk`; an edit changes the patch tokens and no other.

        Raises:
            UserError: if the patches cannot be cut from the images.
        """
        x = self.embedded(images)
        if edit is not None:
            x = edit(0, x)
        size = (x.shape[-2], x.shape[-1])
        tokens, rotation = self.tokens(x), self.rotation(size)
        yield StageMaps(self.stages[0], [], x, tokens)
        for index, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, rotation)
            is_last = index == len(self.blocks)
            tap = self.closed(tokens, size) if is_last else self.placed(tokens, size)
            output = tap
            if edit is not None:
                output = edit(index, tap)
                tokens = self.replaced(tokens, output)
            yield StageMaps(self.stages[index], [tap], output, tokens)

    def read(
        self, images: Tensor, *, blocks: Collection[int] = (), residuals: bool = False
    ) -> Reading:
        """Several depths of `images` [N, 3, H, W] in one pass through all blocks.

        Args:
            images: ImageNet-normalised.
            blocks: behind which tokens are kept, from 0; -1 keeps what block 0 sees.
            residuals: whether the attention residual of every block is kept.

        Raises:
            CompositionError: if a block does not exist.
            UserError: if the patches cannot be cut from the images.
        """
        for index in blocks:
            self.block(max(index, 0) if index == -1 else index)
        maps = self.embedded(images)
        size = (maps.shape[-2], maps.shape[-1])
        tokens, rotation = self.tokens(maps), self.rotation(size)
        kept = {-1: tokens} if -1 in blocks else {}
        added: list[Tensor] = []
        for index in range(len(self.blocks)):
            block = self.block(index)
            branch = block.attended(tokens, rotation)
            if residuals:
                added.append(self.closed(branch, size))
            tokens = tokens + branch
            tokens = tokens + block.mixed(tokens)
            if index in blocks:
                kept[index] = tokens
        return Reading(
            size,
            kept,
            self.closed(tokens, size),
            self.norm(tokens[:, : self.prefix]),
            torch.stack(added, dim=1) if residuals else None,
        )

    def continued(self, tokens: Tensor, index: int, size: tuple[int, int]) -> Tensor:
        """All tokens [N, T, C] behind the last block, from what block `index` sees."""
        rotation = self.rotation(size)
        for block in self.blocks[index:]:
            tokens = block(tokens, rotation)
        return tokens

    def embedded(self, images: Tensor) -> Tensor:
        """Patch tokens [N, C, h, w] of `images` [N, 3, H, W], before position and class token.

        Raises:
            UserError: if the patches cannot be cut from the images.
        """
        return self.patch_embed(self.sized(images))

    def placed(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """The patch tokens of [N, P + h*w + ..., C] as maps [N, C, h, w]."""
        patches = tokens[:, self.prefix : self.prefix + size[0] * size[1]]
        return patches.transpose(1, 2).unflatten(2, size)

    def closed(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """As `placed`, after the final normalisation."""
        patches = tokens[:, self.prefix : self.prefix + size[0] * size[1]]
        return self.norm(patches).transpose(1, 2).unflatten(2, size)

    def replaced(self, tokens: Tensor, maps: Tensor) -> Tensor:
        """`tokens` [N, T, C] with the patch tokens of `maps` [N, C, h, w] in their places."""
        end = self.prefix + maps.shape[-2] * maps.shape[-1]
        patches = maps.flatten(2).transpose(1, 2)
        return torch.cat((tokens[:, : self.prefix], patches, tokens[:, end:]), dim=1)

    def stage_modules(self, index: int) -> Sequence[nn.Module]:
        """The patch embedding, or one block, with the final normalisation if it is the last."""
        own: list[nn.Module] = [self.patch_embed if index == 0 else self.blocks[index - 1]]
        return [*own, self.norm] if index == len(self.blocks) else own

    def stage_parameters(self, index: int) -> Sequence[nn.Parameter]:
        """Special tokens and positions belong to the first block, which is the first to see them.

        An edit of stage 1 acts before they are added.
        """
        own = list(super().stage_parameters(index))
        if index == min(1, len(self.blocks)):
            own += [parameter for _, parameter in self.named_parameters(recurse=False)]
        return own

    def initialise(self) -> None:
        """Draws matrices and tokens from a narrow normal distribution; biases begin at 0."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def built_blocks(depth: int, until: str) -> int:
    """How many of `depth` blocks are built `until` a stage (`semantic` and others: all)."""
    if until == "patch_embed":
        return 0
    names = [f"blocks.{index}" for index in range(depth)]
    return names.index(until) + 1 if until in names else depth


def square_side(positions: Tensor, prefix: int) -> int:
    """Side of the square grid of a position embedding [1, P + side**2, C]; 0 if there is none."""
    patches = positions.shape[1] - prefix if positions.ndim == 3 else 0
    side = round(max(patches, 0) ** 0.5)
    return side if side**2 == patches else 0


def take_grid(module: nn.Module, state: Mapping[str, Any], prefix: str, *_ignored: object) -> None:
    """Makes room for a position embedding of another grid before it is loaded.

    For `register_load_state_dict_pre_hook` of a network with `pos_embed`.
    """
    assert isinstance(module, Transformer)
    stored, own = state.get(f"{prefix}pos_embed"), module.get_parameter("pos_embed")
    if not isinstance(stored, Tensor) or stored.shape == own.shape:
        return
    if square_side(stored, module.prefix - module.unplaced) > 0 and stored.shape[2] == module.width:
        empty = nn.Parameter(own.new_empty(stored.shape), requires_grad=own.requires_grad)
        module.register_parameter("pos_embed", empty)
