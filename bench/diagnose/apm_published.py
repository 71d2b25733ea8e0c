"""The figures that the APM paper prints of its frequency study (`apm_published.yaml`)."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cdfss_bench.cards import validated
from cdfss_bench.plain_yaml import read_yaml

from .spectra import BANDS, Band


class Published(BaseModel):
    """What the paper prints, and where it stands.

    `stands_for` names the published domain that a mini domain is the model of; `miou` has rows
    (amplitude all, high, low) of columns (phase all, high, low); `rates` and `steps` are Adam's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    stands_for: Mapping[str, str]
    miou: Mapping[str, tuple[tuple[float, float, float], ...]]
    rates: Mapping[str, float]
    steps: int

    def domain(self, name: str) -> str:
        """The published domain that `name` is, or is the model of; empty if there is none."""
        found = self.stands_for.get(name, name)
        return found if found in self.miou else ""

    def cell(self, name: str, amplitude: Band, phase: Band) -> float | None:
        """The published mIoU of a cell; None for a domain that the paper does not have."""
        domain = self.domain(name)
        if not domain:
            return None
        return self.miou[domain][BANDS.index(amplitude)][BANDS.index(phase)]


@lru_cache(maxsize=1)
def published() -> Published:
    """The paper's figures."""
    path = Path(__file__).with_suffix(".yaml")
    return validated(Published, read_yaml(path), path)
