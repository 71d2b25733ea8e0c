"""Weights files: found, read, converted, fetched."""

from __future__ import annotations

from .resolve import Weights, load_weights, resolve_weights

__all__ = ["Weights", "load_weights", "resolve_weights"]
