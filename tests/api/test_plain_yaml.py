"""YAML as people expect it, and one sentence where it is not YAML."""

import math
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.errors import UserError
from cdfss_bench.plain_yaml import read_yaml


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "card.yaml"


def read(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


def refused(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    return caught.value.problem


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-12", -12),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1:30:00.5", "1:30:00.5"),
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        ("6.02e23", 6.02e23),
        (".5", 0.5),
        (".5e1", 5.0),
        ("5.", 5.0),
        ("-0.25", -0.25),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1.10", 1.1),
        ("1.2.3", "1.2.3"),
        ("2.6rc1", "2.6rc1"),
        ("v1", "v1"),
        ("1e", "1e"),
        ("e3", "e3"),
        (".", "."),
        ("-", [None]),
        ("2018-06-01", "2018-06-01"),
        ("2018-06-01 12:00:00", "2018-06-01 12:00:00"),
        ("=", "="),
        ("'1'", "1"),
        ("3 shots", "3 shots"),
    ],
)
def test_a_scalar_means_what_yaml_12_says(path: Path, typed: str, meant: Any) -> None:
    value = read(path, f"value: {typed}\n" if typed != "-" else "value:\n-\n")["value"]
    assert value == meant
    assert type(value) is type(meant)


def test_not_a_number_is_a_number_to_yaml(path: Path) -> None:
    assert math.isnan(read(path, "value: .nan")["value"])


@pytest.mark.parametrize("key", ["on", "no", "yes", "off", "y", "n"])
def test_a_short_word_stays_a_key(path: Path, key: str) -> None:
    assert read(path, f"{key}: 1") == {key: 1}


def test_anchors_and_merges_work(path: Path) -> None:
    text = "base: &b {lr: 1e-3, batch: 4}\nmine:\n  <<: *b\n  batch: 8\n"
    assert read(path, text)["mine"] == {"lr": 0.001, "batch": 8}


def test_a_byte_order_mark_is_no_part_of_the_first_key(path: Path) -> None:
    assert read(path, "\ufefftitle: x") == {"title": "x"}


def test_letters_of_all_languages_are_read(path: Path) -> None:
    assert read(path, "title: Größe – 大きさ")["title"] == "Größe – 大きさ"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("title: x\nlr: [1, 2\n", 3),
        ("a: b: c\n", 1),
        ("a: 1\n\tb: 2\n", 2),
        ("title: x\nnote: *nowhere\n", 2),
        ("title: !!python/name:os.system\n", 1),
        ("when: !!timestamp nonsense\n", None),
        ("when: !!bool maybe\n", None),
        ("a: 1\n--- \nb: 2\n", 2),
    ],
)
def test_broken_yaml_names_the_file_and_the_line(path: Path, text: str, line: int | None) -> None:
    where = f", line {line}" if line is not None else ""
    assert refused(path, text) == f"{path}{where} is not valid YAML"


def test_yaml_that_nests_without_end_is_refused(path: Path) -> None:
    assert refused(path, "a: " + "[" * 100_000) == f"{path} is not valid YAML"


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "5\n", "# a remark\n"])
def test_what_is_no_mapping_is_refused(path: Path, text: str) -> None:
    assert refused(path, text) == f"{path} must hold a mapping of keys to values"


@pytest.mark.parametrize(("key", "shown"), [("1", "1"), ("true", "True"), ("null", "None")])
def test_a_key_that_is_not_text_is_refused(path: Path, key: str, shown: str) -> None:
    assert refused(path, f"{key}: x") == f"{path}: the key {shown} is not text"


@pytest.mark.parametrize(
    ("text", "line"),
    [("lr: 1\nbatch: 2\nlr: 3\n", 3), ("recipe:\n  lr: 1\n  'lr': 2\n", 3), ("{a: 1, a: 1}", 1)],
)
def test_a_key_that_is_written_twice_is_refused(path: Path, text: str, line: int) -> None:
    key = "a" if "a: 1" in text else "lr"
    assert refused(path, text) == f"{path}, line {line}: the key '{key}' is there twice"


def test_bytes_that_are_not_utf8_are_refused(path: Path) -> None:
    for raw in (b"title: caf\xe9", "title: x".encode("utf-16")):
        assert refused(path, raw).startswith(f"{path} is no UTF-8 text")


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(UserError, match=r"card\.yaml cannot be read: .*No such file"):
        read_yaml(path)
