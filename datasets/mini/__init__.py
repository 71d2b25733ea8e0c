"""The mini suite: one drawn source domain and four drawn targets, for a machine with no data.

Every picture is a pure function of its name, the same bytes everywhere: all randomness is hashed
from names (``noise``), all arithmetic is exact IEEE 754 (``field``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from . import chest, landcover, lesion, objects, source
from .picture import SIDE, VOID, Drawn, Picture

__all__ = ["DOMAINS", "SIDE", "VERSION", "VOID", "Drawn", "Picture"]

VERSION: Final = 1
"""Raised by one whenever any byte of any picture changes."""

DOMAINS: Final[Mapping[str, Drawn]] = MappingProxyType(
    {one.DOMAIN.name: one.DOMAIN for one in (source, objects, landcover, lesion, chest)}
)
"""The domains by name; the first is the one to train on."""
