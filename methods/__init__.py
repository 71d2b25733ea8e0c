"""Methods: one module and one card each; this package knows nothing of data sets or the harness."""

from __future__ import annotations

from .registry.build import build
from .registry.name_grammar import METHODS, Composition, parse

__all__ = ["METHODS", "Composition", "build", "parse"]
