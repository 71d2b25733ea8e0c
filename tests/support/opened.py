"""Domains without a cache, and why they are refused."""

from pathlib import Path

import pytest

from cdfss_bench.datasets import Domain, open_domain
from cdfss_bench.errors import DataError
from cdfss_bench.options import Value


def opened(name: str, root: Path | None = None, /, **options: Value) -> Domain:
    return open_domain(name, root, options, cache=None)


def refusal(name: str, root: Path | None = None, /, **options: Value) -> DataError:
    """Why a domain is refused when its classes are asked for: one sentence, but for a layout."""
    with pytest.raises(DataError) as caught:
        _ = opened(name, root, **options).classes
    assert "\n" not in caught.value.problem.partition(": expected\n")[0]
    return caught.value


def refused(name: str, root: Path | None = None, /, **options: Value) -> DataError:
    """A `refusal` that says how to correct it."""
    error = refusal(name, root, **options)
    assert error.hint
    return error
