"""One sentence that says what is wrong, and one that says how to correct it."""

import pytest

from cdfss_bench.errors import (
    CompositionError,
    DataError,
    RecordError,
    UserError,
    WeightsError,
    unknown,
)

METHODS = ("hsnet", "loec", "prototype", "ssp")


def test_the_text_holds_the_problem_and_its_hint() -> None:
    error = UserError("the disk is full", hint="free some space")
    assert error.problem == "the disk is full"
    assert error.hint == "free some space"
    assert str(error) == "the disk is full\n  hint: free some space"


def test_without_a_hint_the_text_is_the_problem() -> None:
    error = UserError("the disk is full")
    assert error.hint is None
    assert str(error) == "the disk is full"


@pytest.mark.parametrize("kind", [DataError, WeightsError, CompositionError, RecordError])
def test_every_kind_is_a_mistake_that_the_user_can_correct(kind: type[UserError]) -> None:
    error = unknown("thing", "x", ["y"], error=kind)
    assert type(error) is kind
    assert isinstance(error, UserError)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hsent", "did you mean hsnet?"),
        ("ss", "did you mean ssp?"),
        ("prototyp", "did you mean prototype?"),
        ("HSNet", "did you mean hsnet?"),
        ("LoEC", "did you mean loec?"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(typed: str, offered: str) -> None:
    error = unknown("method", typed, METHODS)
    assert error.problem == f"unknown method '{typed}'"
    assert error.hint == offered


def test_several_near_names_are_all_offered() -> None:
    error = unknown("domain", "mini-lessons", ["mini-lesion", "mini-source", "isic"])
    assert error.hint == "did you mean mini-lesion or mini-source?"


def test_the_offered_name_keeps_its_capitals() -> None:
    assert unknown("place", "paris", ["Paris", "Rome"]).hint == "did you mean Paris?"


def test_a_name_near_to_none_is_answered_with_all_of_them_sorted() -> None:
    error = unknown("method", "zzzzzz", reversed(METHODS))
    assert error.hint == "known are: hsnet, loec, prototype, ssp"


def test_where_nothing_is_known_the_hint_says_so() -> None:
    assert unknown("method", "hsnet", []).hint == "known are: none"
