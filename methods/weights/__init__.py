"""Weights files: found, read, converted, fetched."""

from __future__ import annotations

from .load import load_weights
from .resolve import Weights, resolve_weights

__all__ = ["Weights", "load_weights", "resolve_weights"]
