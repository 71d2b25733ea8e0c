"""The import path that `registry.name_grammar` had in version 0.1.0, for scripts that use it."""

from __future__ import annotations

from ..registry.name_grammar import METHODS, Composition, Part, parse

__all__ = ["METHODS", "Composition", "Part", "parse"]
