"""cdfss-bench: cross-domain few-shot segmentation, compared honestly.

Prefix `cdfss_bench.` to a path of the checkout and you have the import: `methods/hosts/hsnet.py` is
`cdfss_bench.methods.hosts.hsnet`. This folder, `bench/api`, is `cdfss_bench` itself: the public
names below, loaded when first used (importing `cdfss_bench` never imports torch), and what all
three folders share: `errors`, `cards`, `canonical`, `files`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # `evaluate` and `open_domain` are these after a look at their arguments.
    from cdfss_bench.bench.evaluation.evaluator import evaluate
    from cdfss_bench.bench.python.building import build
    from cdfss_bench.bench.python.predicting import predict
    from cdfss_bench.bench.python.reading import read_results
    from cdfss_bench.bench.python.running import run
    from cdfss_bench.bench.records.schema import read_runs
    from cdfss_bench.datasets import open_domain

_HOMES = {
    "build": "cdfss_bench.bench.python.building",
    "open_domain": "cdfss_bench.bench.python.opening",
    "predict": "cdfss_bench.bench.python.predicting",
    "run": "cdfss_bench.bench.python.running",
    "read_results": "cdfss_bench.bench.python.reading",
    "evaluate": "cdfss_bench.bench.python.evaluating",
    "read_runs": "cdfss_bench.bench.records.schema",
}

__all__ = [
    "__version__",
    "build",
    "evaluate",
    "open_domain",
    "predict",
    "read_results",
    "read_runs",
    "run",
]

try:
    __version__ = version("cdfss-bench")
except PackageNotFoundError:
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cdfss_bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
