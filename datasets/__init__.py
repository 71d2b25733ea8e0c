"""Domains, their episodes, and the exact way from a file on disk to a tensor."""

from __future__ import annotations

if __name__ == "datasets":
    raise ImportError(
        "this is the datasets/ folder of a cdfss-bench checkout, not Hugging Face's package: "
        "run from another directory, or with python -P, to import the latter; "
        "ours is cdfss_bench.datasets"
    )

from .core.domain import Domain
from .core.manifest import Episode, Manifest
from .core.registry import DOMAINS, open_domain

__all__ = ["DOMAINS", "Domain", "Episode", "Manifest", "open_domain"]
