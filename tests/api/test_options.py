"""Options in brackets: what may be typed, and what is said when it may not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.datasets.core.registry import split_name
from cdfss_bench.errors import CompositionError
from cdfss_bench.methods.registry.name_grammar import METHODS
from cdfss_bench.options import Option, Value, resolve, spelled, split_options

WHERE = "option 'x' of it"


def option(default: Value, **more: object) -> Option:
    return Option.model_validate({"default": default, "help": "tested", **more})


def refused(declared: Option, value: Value) -> str:
    with pytest.raises(CompositionError) as caught:
        declared.parse(value, WHERE)
    return caught.value.problem


@pytest.mark.parametrize(
    ("default", "typed", "meant"),
    [
        (3, "5", 5),
        (3, " 5 ", 5),
        (3, "-5", -5),
        (3, 7, 7),
        (3, 7.0, 7),
        (0.5, "1e-3", 0.001),
        (0.5, "2", 2.0),
        (0.5, 2, 2.0),
        (0.5, ".25", 0.25),
        (False, "true", True),
        (False, "Yes", True),
        (False, "ON", True),
        (True, "no", False),
        (True, "off", False),
        (True, "False", False),
        (True, False, False),
        ("mean", "max", "max"),
        ("mean", 8, "8"),
        ("mean", True, "true"),
    ],
)
def test_a_value_is_brought_to_the_type_of_the_default(
    default: Value, typed: Value, meant: Value
) -> None:
    parsed = option(default).parse(typed, WHERE)
    assert parsed == meant
    assert type(parsed) is type(meant)


@pytest.mark.parametrize(
    ("default", "typed", "wanted"),
    [
        (3, "5.5", "a whole number"),
        (3, 5.5, "a whole number"),
        (3, "five", "a whole number"),
        (3, "", "a whole number"),
        (3, True, "a whole number"),
        (3, "true", "a whole number"),
        (3, math.nan, "a whole number"),
        (3, math.inf, "a whole number"),
        (0.5, "much", "a number"),
        (0.5, False, "a number"),
        (0.5, "nan", "a number"),
        (0.5, "inf", "a number"),
        (0.5, "-Infinity", "a number"),
        (0.5, "1e999", "a number"),
        (0.5, math.nan, "a number"),
        (0.5, -math.inf, "a number"),
        (True, 1, "true or false"),
        (True, 0.0, "true or false"),
        (True, "1", "true or false"),
        (True, "maybe", "true or false"),
    ],
)
def test_a_value_of_another_type_is_refused(default: Value, typed: Value, wanted: str) -> None:
    assert refused(option(default), typed) == f"{WHERE} takes {wanted}, not '{typed}'"


def test_a_word_beside_the_numbers_is_legal() -> None:
    declared = option(0.7, also=("mean", "median"), min=0, max=1)
    assert declared.parse("mean", WHERE) == "mean"
    assert declared.parse("0.2", WHERE) == 0.2


def test_the_words_beside_the_numbers_are_named_in_the_refusal() -> None:
    declared = option(0.7, also=("mean", "median"))
    assert refused(declared, "mode") == (
        f"{WHERE} takes a number or 'mean' or 'median', not 'mode'"
    )


def test_only_the_choices_are_legal_and_the_nearest_is_offered() -> None:
    declared = option("mean", choices=("mean", "flatten"))
    assert declared.parse("flatten", WHERE) == "flatten"
    with pytest.raises(CompositionError) as caught:
        declared.parse("flaten", WHERE)
    assert caught.value.problem == f"unknown value of {WHERE} 'flaten'"
    assert caught.value.hint == "did you mean flatten?"


@pytest.mark.parametrize(
    ("declared", "typed", "limit"),
    [
        *((option(3, min=1), typed, f"at least 1, not {int(typed)}") for typed in (0, "0", "-3")),
        *((option(0.5, max=1), typed, "at most 1, not 1.5") for typed in (1.5, "1.5")),
        (option(1, max=10_000_000), 10_000_001, "at most 1e+07, not 10000001"),
    ],
)
def test_a_number_beyond_its_limits_is_refused_with_all_digits(
    declared: Option, typed: Value, limit: str
) -> None:
    assert refused(declared, typed) == f"{WHERE} must be {limit}"


@pytest.mark.parametrize("typed", [1, 5])
def test_the_limits_themselves_are_legal(typed: int) -> None:
    assert option(3, min=1, max=5).parse(typed, WHERE) == typed


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (0.6, "0.6"),
        (2.0, "2"),
        (1e-5, "1e-05"),
        (0.12345678, "0.12345678"),
        ("mean", "mean"),
    ],
)
def test_a_value_is_spelled_as_one_types_it(value: Value, typed: str) -> None:
    assert spelled(value) == typed


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_survives_being_spelled(value: float) -> None:
    assert option(0.5).parse(spelled(value), WHERE) == value


@given(st.integers())
def test_any_whole_number_survives_being_spelled(value: int) -> None:
    assert option(1).parse(spelled(value), WHERE) == value


@given(st.booleans(), st.booleans())
def test_any_boolean_survives_being_spelled(default: bool, value: bool) -> None:
    assert option(default).parse(spelled(value), WHERE) is value


@given(st.text())
def test_any_word_survives_being_spelled(value: str) -> None:
    assert option("word").parse(spelled(value), WHERE) == value


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_different_numbers_are_spelled_differently(first: float, second: float) -> None:
    assert (spelled(first) == spelled(second)) == (first == second and str(first) == str(second))


DECLARED = {
    "k": option(3, min=1),
    "beta": option(0.7, also=("mean",)),
    "center": option(default=False),
}


def test_every_declared_option_gets_a_value_in_the_declared_order() -> None:
    resolved = resolve(DECLARED, {"center": "yes", "k": "5"}, "lcm")
    assert list(resolved.items()) == [("k", 5), ("beta", 0.7), ("center", True)]


def test_an_option_nobody_declared_is_refused_with_the_nearest() -> None:
    with pytest.raises(CompositionError) as caught:
        resolve(DECLARED, {"centre": True}, "lcm")
    assert caught.value.problem == "unknown option of lcm: 'centre'"
    assert caught.value.hint == "did you mean center?"


def test_where_nothing_can_be_set_the_owner_says_so() -> None:
    with pytest.raises(CompositionError) as caught:
        resolve({}, {"k": 3}, "all-foreground")
    assert caught.value.problem == "all-foreground has no options, so 'k' cannot be set"


def test_a_bad_value_names_the_option_and_its_owner() -> None:
    with pytest.raises(CompositionError, match="option 'k' of lcm takes a whole number, not 'x'"):
        resolve(DECLARED, {"k": "x"}, "lcm")


def test_every_default_on_a_card_is_itself_legal() -> None:
    cards = [
        *(DOMAINS.card(name) for name in DOMAINS.names()),
        *(METHODS.card(name) for name in METHODS.names()),
    ]
    declared = [(f"{card.name}.{key}", o) for card in cards for key, o in card.options.items()]
    assert len(declared) > 5
    for where, one in declared:
        assert one.parse(one.default, where) == one.default


def test_a_name_is_split_from_the_options_in_its_brackets() -> None:
    assert split_options("pascal", "") == ("pascal", {})
    assert split_options("pascal[]", "") == ("pascal", {})
    typed = "pascal[fold=0, split = val]"
    assert split_options(typed, typed) == ("pascal", {"fold": "0", "split": "val"})
    assert split_options("lcm[auto]", "", switches=True) == ("lcm", {"auto": True})


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("pascal[", "'pascal[' is not NAME[key=value,...]"),
        ("pascal]", "'pascal]' is not NAME[key=value,...]"),
        ("pascal[fold=0][split=val]", "'pascal[fold=0][split=val]' is not NAME[key=value,...]"),
        ("pascal[fold]", "'pascal[fold]': 'fold' is not key=value"),
        ("pascal[fold=]", "'pascal[fold=]': 'fold=' is not key=value"),
        ("pascal[=0]", "'pascal[=0]': '=0' is not key=value"),
        ("pascal[fold=0,fold=1]", "'pascal[fold=0,fold=1]' sets 'fold' twice"),
    ],
)
def test_a_domain_with_wrong_brackets_is_refused(typed: str, problem: str) -> None:
    with pytest.raises(CompositionError) as caught:
        split_name(typed)
    assert caught.value.problem == problem
