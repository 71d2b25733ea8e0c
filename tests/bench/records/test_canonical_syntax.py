"""The canonical form of source: the same on every version of Python, for every layout.

Nothing but the standard library is imported: a job of the workflow runs this file alone on each
supported version.
"""

import hashlib
from pathlib import Path

import pytest

from cdfss_bench.bench.records.canonical_syntax import Imported, canonical_parts

SAMPLE = Path(__file__).parent / "samples" / "syntax.py.txt"
EXPECTED = "c472bf216e25ab4ed466571c4a38587937f6ef6e64ab36cbaeeac41b63117e4b"


def hashed(source: bytes | str) -> str:
    raw = source.encode() if isinstance(source, str) else source
    parts = [part if isinstance(part, str) else "|".join(part) for part in canonical_parts(raw)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_the_sample_has_the_same_hash_on_every_version_of_python() -> None:
    assert hashed(SAMPLE.read_bytes()) == EXPECTED


PLAIN = "def f(x):\n    return x + 'a'\n"


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\ndef f(x):  # another\n    return x + 'a'\n",
        'def f(x):\n    """What it does."""\n    return x + "a"\n',
        '"""A module."""\n\n\ndef f(x,):\n\n    return (\n        x + """a"""\n    )\n',
        "def f(x): return x + \\\n    'a'",
        "def f(x):\r\n\treturn x + 'a'\r\n",
        "\ufeffdef f(x):\n    pass\n    return x + u'a'; pass\n",
        "def f(x):\n    return x + 'a'\n'''Said of f.'''\n",
    ],
)
def test_comments_docstrings_and_layout_are_not_in_it(same: str) -> None:
    assert hashed(same) == hashed(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("'a'", "'b'"),
        PLAIN.replace("'a'", "b'a'"),
        PLAIN.replace("+", "-"),
        PLAIN.replace("def", "async def"),
        PLAIN.replace("(x)", "(x=None)"),
        PLAIN.replace("(x)", "(*x)"),
        PLAIN.replace("x + 'a'", "'a' + x"),
        PLAIN * 2,
    ],
)
def test_every_change_of_the_code_is_in_it(other: str) -> None:
    assert hashed(other) != hashed(PLAIN)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("0", "False"),
        ("0", "None"),
        ("1", "1.0"),
        ("''", "b''"),
        ("[0]", "[]"),
        ("{None: 1}", "{**1}"),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x}'", "f'{x:5}'"),
        ("f'{x}'", "'{x}'"),
        ("f'{x}{y}'", "f'{x} {y}'"),
        ("f'{x:{y}}'", "f'{x:y}'"),
        ("lambda: 0", "lambda: None"),
        ("x[1:]", "x[:1]"),
        ("(1, 2)", "[1, 2]"),
        ("-1", "1"),
    ],
)
def test_values_that_look_alike_differ(one: str, another: str) -> None:
    assert hashed(f"a = {one}") != hashed(f"a = {another}")


def test_the_order_of_imports_is_not_in_it_and_their_modules_stand_apart() -> None:
    first = "from .a import x\nimport os\nfrom ..b import y as z\nvalue = x\n"
    second = "import os\nfrom ..b import (\n    y as z,\n)\nfrom .a import x\n\nvalue = x\n"
    assert canonical_parts(first.encode()) == canonical_parts(second.encode())
    imported = [part for part in canonical_parts(first.encode()) if isinstance(part, Imported)]
    assert imported == [
        Imported("os", "", "os"), Imported(".a", "x", "x"), Imported("..b", "y", "z")
    ]  # fmt: skip


def test_what_only_a_type_checker_imports_is_not_in_it() -> None:
    checked = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import B\nx = 1\n"
    assert hashed(checked) == hashed("from typing import TYPE_CHECKING\nx = 1\n")


def test_a_long_sum_is_no_deep_recursion() -> None:
    terms = " + ".join(["a"] * 700)
    assert hashed(f"x = {terms}") != hashed(f"x = {terms} + a")
