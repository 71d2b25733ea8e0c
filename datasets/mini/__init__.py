"""The mini suite: one drawn source domain and four drawn targets, for a machine with no data.

Every picture is a pure function of its name, the same bytes everywhere: all randomness is hashed
from names (``noise``), all arithmetic is exact IEEE 754 (``field``). A domain is a module which
satisfies :class:`Domain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from . import chest, landcover, lesion, objects, source
from .picture import SIDE, VOID, Picture

__all__ = ["DOMAINS", "SIDE", "VERSION", "VOID", "Domain", "Picture"]

VERSION: Final = 1
"""Raised by one whenever any byte of any picture changes."""


class Domain(Protocol):
    """What every domain's module offers."""

    CLASSES: tuple[str, ...]
    """Names of the classes, in the order of their indices."""

    def items(self, class_index: int) -> tuple[str, ...]:
        """Sorted names of the pictures with a class, without drawing any. Raises IndexError."""
        ...

    def draw(self, name: str) -> Picture:
        """Draw one picture. Raises ValueError for an unknown name."""
        ...


DOMAINS: Final[Mapping[str, Domain]] = MappingProxyType(
    {
        "mini-source": source,
        "mini-objects": objects,
        "mini-landcover": landcover,
        "mini-lesion": lesion,
        "mini-chest": chest,
    }
)
"""The domains by name; the first is the one to train on."""
