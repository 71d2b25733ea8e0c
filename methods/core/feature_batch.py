"""Tensors that belong to images one by one, so that images can be encoded once and regrouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Named tensors that share their first dimension: row i is all that is known of image i.

    `Method.encode` gives rows of features, one per image, without knowledge of role or episode;
    `Method.encode_support` gives one state per support image and mask.

    Attributes:
        size: (height, width) of the images in pixels.
        tensors: by name, each [N, ...].
    """

    size: tuple[int, int]
    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        """N."""
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> FeatureBatch:
        """The chosen rows; a slice gives views, other indices copies."""
        return FeatureBatch(
            self.size, {name: tensor[index] for name, tensor in self.tensors.items()}
        )

    def group(self, prefix: str) -> list[Tensor]:
        """The tensors called `prefix.0`, `prefix.1`, ... in order."""
        found: list[Tensor] = []
        while (name := f"{prefix}.{len(found)}") in self.tensors:
            found.append(self.tensors[name])
        return found

    @property
    def nbytes(self) -> int:
        """Memory of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def to(self, device: torch.device | str) -> FeatureBatch:
        """The same rows on another device."""
        return FeatureBatch(self.size, {name: t.to(device) for name, t in self.tensors.items()})

    def float(self) -> FeatureBatch:
        """The same rows in float32."""
        return FeatureBatch(self.size, {name: t.float() for name, t in self.tensors.items()})

    def rounded_to_half(self) -> FeatureBatch:
        """The same rows with float32 values rounded to those of float16, still in float32.

        What float16 cannot hold becomes its largest value.
        """
        most = torch.finfo(torch.float16).max
        return FeatureBatch(
            self.size,
            {
                name: t.clamp(-most, most).half().float() if t.dtype == torch.float32 else t
                for name, t in self.tensors.items()
            },
        )

    def detached_copy(self) -> FeatureBatch:
        """Rows that own their memory, so that a row cut from a large batch does not keep it."""
        return FeatureBatch(
            self.size, {name: t.detach().clone() for name, t in self.tensors.items()}
        )

    @staticmethod
    def cat(parts: Sequence[FeatureBatch]) -> FeatureBatch:
        """All rows of `parts` in order.

        Raises:
            ValueError: if the parts come from images of different sizes.
        """
        first = parts[0]
        if any(part.size != first.size for part in parts):
            raise ValueError("rows of images of different sizes cannot stand in one batch")
        if len(parts) == 1:
            return first
        names = first.tensors
        return FeatureBatch(
            first.size, {n: torch.cat([p.tensors[n] for p in parts]) for n in names}
        )
