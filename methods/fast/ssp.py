"""SSP whose rounds share what they compute of the same features."""

from __future__ import annotations

from torch import Tensor

from ..hosts.ifa import IFA
from ..hosts.ssp import SSP, Matching
from .attention import Rounds
from .forms import FastForm


class FastSSP(FastForm, SSP):
    """Unit features and the attention to the background are kept from one round to the next."""

    published_work = SSP.published_work

    def matching(self, features: Tensor) -> Matching:
        """As in `SSP`, for several rounds of the same features."""
        return Rounds(features)


class FastIFA(FastSSP, IFA):
    """IFA without learning at test, which matches as SSP does."""

    published_work = IFA.published_work
