"""Equal values hash equally, on every machine and in every version."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.canonical import canonical_json, digest, file_sha256

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


def test_the_spelling_has_sorted_keys_no_spaces_and_plain_letters() -> None:
    value = {"b": [1, 2.5, None], "a": {"ü": True, "z": "x y"}}
    assert canonical_json(value) == '{"a":{"z":"x y","ü":true},"b":[1,2.5,null]}'


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})


def test_the_order_of_a_list_matters() -> None:
    assert digest([1, 2]) != digest([2, 1])


def test_tuples_are_spelled_as_lists() -> None:
    assert digest({"shape": (3, 4)}) == digest({"shape": [3, 4]})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"metric": [number]})


@given(PLAIN)
def test_reading_the_spelling_gives_the_value_back(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            {"query": "ISIC_0000001.jpg", "shots": 5, "threshold": 0.5},
            "c55c26e67b78f629eeaea27089a1d3d417366ddd11b59f9a8e8e03ffdd72fbf0",
        ),
    ],
)
def test_the_digest_of_a_value_never_changes(value: Any, expected: str) -> None:
    assert digest(value) == expected


def test_a_path_that_is_not_utf8_has_a_digest_of_its_own() -> None:
    first, second = os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8")
    assert digest(first) == hashlib.sha256(b'"caf\xe9"').hexdigest()
    assert digest(first) != digest(second)


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 5000)
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
