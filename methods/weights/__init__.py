"""Weights files: found, read, converted, fetched."""
