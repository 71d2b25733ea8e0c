"""Cosines of a training step in fewer passes, equal up to rounding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SharedCosines(TorchFunctionMode):
    """Computes `F.cosine_similarity` within its block; use an instance for one step.

    A map is compared with several prototypes in a step: its norms are computed once, and a
    prototype that is the same at all positions is one product. Other shapes go to torch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._norms: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """As torch calls it for every function."""
        given = kwargs or {}
        if func is F.cosine_similarity:
            result = self._cosine(*args, **given)
            if result is not None:
                return result
        return func(*args, **given)

    def _cosine(
        self, maps: Tensor, others: Tensor, dim: int = 1, eps: float = 1e-8
    ) -> Tensor | None:
        is_known = dim == 1 and maps.ndim == others.ndim == 4 and len(maps) == len(others)
        if not is_known or maps.shape[1] != others.shape[1]:
            return None
        if torch.is_autocast_enabled(maps.device.type):
            return None  # torch computes cosines in float32 there, and a product would not be
        if others.shape[2:] == (1, 1):
            products = (others.flatten(1)[:, None] @ maps.flatten(2)).unflatten(2, maps.shape[2:])
            products = products[:, 0]
        else:
            products = (maps * others).sum(1)
        return products / (self._norm(maps, eps) * self._norm(others, eps))

    def _norm(self, maps: Tensor, eps: float) -> Tensor:
        found = self._norms.get(id(maps))
        if found is None:
            norm = torch.linalg.vector_norm(maps, dim=1).clamp_min(eps)
            # The map is kept with its norm, so that its number is not given to another one.
            found = self._norms[id(maps)] = (maps, norm)
        return found[1]
