"""JSON without NaN, infinities and keys that are there twice."""

import math

import pytest

from cdfss_bench import plain_json


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", '{"a": [-1e400]}']
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(plain_json.NotFiniteError, match="no number"):
        plain_json.loads(text)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]', "nan", "[" * 100_000]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # every sentence of the decoder
        plain_json.loads(text)


def test_all_else_is_read_and_written() -> None:
    values = {"a": [1, -2.5, 1e300, True, None, "é"], "b": {}}
    assert plain_json.loads(plain_json.dumps(values)) == values
    assert plain_json.loads(plain_json.dumps(values).encode()) == values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        plain_json.dumps([value])
