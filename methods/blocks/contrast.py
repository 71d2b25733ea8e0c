"""How much the images of a domain differ in the contrast of one stage's channels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class _Sums:
    """Count of images, a scalar, sums of their contrasts and of the squares, [C]; float64."""

    count: Tensor
    first: Tensor
    second: Tensor

    @staticmethod
    def of(features: Tensor) -> _Sums:
        contrast = features.detach().std((2, 3)).double().cpu()
        count = torch.tensor(len(contrast), dtype=torch.float64)
        return _Sums(count, contrast.sum(0), contrast.square().sum(0))

    @staticmethod
    def added(parts: Sequence[_Sums]) -> _Sums:
        """All of them, in this order."""
        return _Sums(
            torch.stack([p.count for p in parts]).sum(),
            torch.stack([p.first for p in parts]).sum(0),
            torch.stack([p.second for p in parts]).sum(0),
        )


class ContrastSpread:
    """The coefficient of variation of contrast between images, `d`; it needs no label.

    With s_nc the standard deviation of channel c of image n over positions,
    `d^2 = sum_c Var_n(s_nc) / sum_c Mean_n(s_nc)^2`: 0 if all images have the same contrast. Dead
    channels weigh nothing. It is the spread of feature statistics that DSU draws from (Li et al.,
    "Uncertainty Modeling for Out-of-Distribution Generalization", ICLR 2022), as one number.

    Images are seen in steps: of a step's several looks by the same role only the first counts
    (sharpness-aware minimisation looks twice), and `commit` ends the step.
    """

    def __init__(self) -> None:
        self._past: _Sums | None = None
        self._step: dict[Hashable, _Sums] = {}

    def see(self, features: Tensor, role: Hashable) -> None:
        """Counts images with maps [N, C, h, w], of at least two positions."""
        if role not in self._step:
            self._step[role] = _Sums.of(features)

    def commit(self) -> None:
        """Ends the step."""
        self._past, self._step = self._known(), {}

    @property
    def value(self) -> float:
        """The spread over all images so far, this step's included; 0 before the first."""
        known = self._known()
        if known is None:
            return 0.0
        mean = known.first / known.count
        spread = (known.second / known.count - mean.square()).clamp_min(0).sum()
        level = mean.square().sum()
        return float((spread / level).sqrt()) if float(level) > 0 else 0.0

    def state(self) -> dict[str, Tensor]:
        """What is known at the end of a step, by name."""
        past = self._past
        if past is None:
            return {}
        return {"count": past.count, "first": past.first, "second": past.second}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        self._past = _Sums(**dict(tensors)) if tensors else None
        self._step = {}

    def _known(self) -> _Sums | None:
        parts = [*self._step.values()] if self._past is None else [self._past, *self._step.values()]
        return _Sums.added(parts) if parts else None
