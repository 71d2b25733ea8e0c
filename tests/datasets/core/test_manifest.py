"""The manifest: which images are asked, on record and tamper-evident."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdfss_bench.canonical import digest
from cdfss_bench.datasets.core.manifest import Episode, Manifest, in_turn
from cdfss_bench.errors import DataError, UserError


def made(count: int = 4, shots: int = 2) -> Manifest:
    return Manifest(
        domain="isic",
        fingerprint="f" * 64,
        profile="isic-2594",
        protocol="patnet",
        sampler=1,
        shots=shots,
        seed=0,
        episodes=tuple(
            Episode(f"größe/{n}.jpg", tuple(f"s/{n + k + 1}.jpg" for k in range(shots)), n % 3)
            for n in range(count)
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.json"


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        Manifest.load(path)
    return caught.value.problem


def test_what_was_saved_is_loaded(path: Path) -> None:
    manifest = made()
    manifest.save(path)
    loaded = Manifest.load(path)
    assert loaded == manifest
    assert loaded.sha256 == manifest.sha256
    assert all(isinstance(episode.supports, tuple) for episode in loaded)


def test_saving_again_writes_the_same_bytes(path: Path) -> None:
    made().save(path)
    first = path.read_bytes()
    Manifest.load(path).save(path)
    assert path.read_bytes() == first


def test_the_file_is_json_with_its_own_hash(path: Path) -> None:
    manifest = made()
    manifest.save(path)
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values.pop("sha256") == manifest.sha256 == digest(values)
    assert values["episodes"][1] == ["größe/1.jpg", ["s/2.jpg", "s/3.jpg"], 1, 1]


def test_the_hash_of_a_manifest_never_changes() -> None:
    assert made().sha256 == ("fb000726b851c4f4f2a5f9dcd88a99ad26402e13de87fa08d3d63bcf7ea3bac9")


CHANGES: dict[str, Any] = {
    "domain": "isic[x=1]",
    "fingerprint": "e" * 64,
    "profile": "partial: 2 of 3 classes",
    "protocol": "strict",
    "sampler": 2,
    "shots": 3,
    "seed": 1,
    "episodes": made().episodes[::-1],
}


@pytest.mark.parametrize("field", CHANGES)
def test_the_hash_changes_with_every_field(field: str) -> None:
    assert replace(made(), **{field: CHANGES[field]}).sha256 != made().sha256


@pytest.mark.parametrize(
    "changed",
    [
        {"query": "other.jpg"},
        {"supports": ("s/2.jpg", "s/1.jpg")},
        {"class_id": 9},
        {"support_class_id": 9},
    ],
)
def test_the_hash_changes_with_every_part_of_an_episode(changed: dict[str, Any]) -> None:
    manifest = made()
    episodes = (replace(manifest[0], **changed), *manifest[1:])
    assert replace(manifest, episodes=episodes).sha256 != manifest.sha256


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    made().save(path)
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(seed=1),
        lambda values: values.update(shots="2"),
        lambda values: values.update(sha256="0" * 64),
        lambda values: values.pop("sha256"),
        lambda values: values["episodes"].pop(),
        lambda values: values["episodes"][0].__setitem__(0, "other.jpg"),
        lambda values: values["episodes"][0][1].reverse(),
        lambda values: values["episodes"][0].__setitem__(2, 2),
        lambda values: values["episodes"][0].__setitem__(3, 2),
    ],
)
def test_an_edited_manifest_is_refused(path: Path, change: Callable[[Any], object]) -> None:
    edited(path, change)
    assert refused(path) == f"{path} was changed after it was written: its sha256 does not match"


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("episodes"),
        lambda values: values.pop("fingerprint"),
        lambda values: values.update(unheard_of=1),
        lambda values: values.update(episodes=5),
        lambda values: values.update(episodes=[["query", ["support"], 0]]),
        lambda values: values.update(episodes=[["query", 5, 0, 0]]),
        lambda values: values.update(episodes=[["query", ["support"], 0, "0"]]),
        lambda values: values.update(seed=float("nan")),
        lambda values: values.update(domain="\ud800"),
    ],
)
def test_what_has_other_keys_is_no_manifest(path: Path, change: Callable[[Any], object]) -> None:
    edited(path, change)
    assert refused(path) == f"{path} is not an episode manifest"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        *((text, "is not an episode manifest") for text in
          (b"", b"{", b"title: isic\n", b"{}", b"{'a': 1}", b"[" * 100_000)),
        *((text, "must hold a mapping of keys to values") for text in
          (b"[]", b"5", b'"text"', b"null")),
        (b"\xff\xfe\x00", "cannot be read: "),
        (None, "cannot be read: "),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_named(path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        path.write_bytes(content)
    said = refused(path)
    assert said.startswith(f"{path} {problem}")
    assert problem.endswith(": ") or said == f"{path} {problem}"


def test_a_manifest_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        made().save(tmp_path / "file" / "manifest.json")


@pytest.mark.parametrize("length", [1, 3, 4])
def test_the_head_is_a_manifest_of_the_first_episodes_of_each_class(length: int) -> None:
    manifest = made()
    head = manifest.head(length)
    assert head.episodes == (in_turn(manifest, length) if length < 4 else manifest.episodes)
    assert replace(head, episodes=manifest.episodes) == manifest
    assert (head.sha256 == manifest.sha256) == (length == 4)


def test_classes_are_taken_in_turn_and_a_shorter_head_begins_a_longer_one() -> None:
    asked = tuple(Episode(f"q{i}", ("s",), c) for i, c in enumerate((3, 3, 3, 1, 1, 7)))
    manifest = replace(made(), episodes=asked)
    assert [e.query for e in manifest.head(5)] == ["q0", "q3", "q5", "q1", "q4"]
    for length in range(1, 5):
        assert manifest.head(length).episodes == manifest.head(5).episodes[:length]
    assert manifest.head(6) == manifest


def test_a_manifest_is_a_sequence_of_episodes() -> None:
    manifest = made()
    assert len(manifest) == 4
    assert list(manifest) == [manifest[0], manifest[1], manifest[2], manifest[3]]
    assert manifest[-1] == manifest[3]
    assert manifest[1:3] == (manifest[1], manifest[2])
    assert manifest[2] in manifest
    assert next(reversed(manifest)) == manifest[3]
    with pytest.raises(IndexError):
        _ = manifest[4]


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        made().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_supports_are_of_the_asked_class_unless_another_is_named() -> None:
    assert Episode("q", ("s",), 5).support_class_id == 5
    assert Episode("q", ("s",), 5, 3).support_class_id == 3
    assert Episode("q", ("s",), 0, 0).support_class_id == 0
