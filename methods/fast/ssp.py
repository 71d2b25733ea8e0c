"""SSP whose second round attends to what the first has not seen."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..hosts.ifa import IFA
from ..hosts.ssp import SSP
from .attention import Attention
from .forms import FastForm


class FastSSP(FastForm, SSP):
    """Attention to the background is kept from one round to the next."""

    published_work = SSP.published_work

    def attention(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        """As in `SSP`, for several choices of the same features."""
        return Attention(features)


class FastIFA(FastSSP, IFA):
    """IFA without learning at test, which matches as SSP does."""

    published_work = IFA.published_work
