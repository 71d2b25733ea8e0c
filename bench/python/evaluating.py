"""`cdfss_bench.evaluate`: that of the evaluator, after a look at what it is given."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.core.manifest import Episode, Manifest
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method

from ..evaluation import evaluator

P = ParamSpec("P")
R = TypeVar("R")


def _checked(function: Callable[P, R]) -> Callable[P, R]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        _refuse_other(given["method"], Method, "method", "build(NAME, pretrained=True)")
        _refuse_other(given["domain"], Domain, "domain", "open_domain(NAME)")
        _refuse_no_episodes(given["episodes"])
        return function(*args, **kwargs)

    return asked


def _refuse_other(given: object, kind: type[Any], word: str, made_by: str) -> None:
    if not isinstance(given, kind):
        raise UserError(
            f"{word}={given!r} ({type(given).__name__}) is no {word}",
            hint=f"give what {made_by} returns",
        )


def _refuse_no_episodes(given: Any) -> None:
    several = isinstance(given, Sequence | Manifest)
    other = given if not several else next((e for e in given if not isinstance(e, Episode)), None)
    if not several or other is not None:
        raise UserError(
            f"no sequence of episodes holds {other!r} ({type(other).__name__})"
            if several
            else f"episodes={given!r} ({type(given).__name__}) is no sequence of episodes",
            hint="give domain.episodes(shots=1, seed=0), or a list of some of its episodes",
        )


evaluate = _checked(evaluator.evaluate)
