"""Encoder outputs on disk: the same to the bit, damaged files made anew, bounded, marked."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.feature_files import FeatureFiles
from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.cell import Cell
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.timings import batches
from cdfss_bench.methods.core.feature_batch import FeatureBatch


def row(seed: int = 0, side: int = 6) -> FeatureBatch:
    rng = torch.Generator().manual_seed(seed)
    maps = torch.randn(1, 8, side, side + 1, generator=rng)
    return FeatureBatch(
        (32, 40),
        {
            "layer4.0": maps.to(memory_format=torch.channels_last),
            "tokens": torch.randn(1, 5, 3, generator=rng).transpose(1, 2),
            "counts": torch.arange(4)[None],
            "layer4.1": maps.bfloat16(),
        },
    )


def picture(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.RandomState(seed).randint(0, 255, (8, 8, 3)).astype(np.uint8)


def test_rows_come_back_to_the_bit_and_in_their_order_in_memory(tmp_path: Path) -> None:
    files, kept = FeatureFiles(tmp_path, "network"), row()
    key = files.key(picture(), "cpu")
    assert files.get(key, "cpu") is None
    files.put(key, kept)
    found = FeatureFiles(tmp_path, "network").get(key, "cpu")
    assert found is not None
    assert found.size == kept.size
    assert list(found.tensors) == list(kept.tensors)
    for name, tensor in kept.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].stride() == tensor.stride()
        assert torch.equal(found.tensors[name], tensor)
    assert not files.notes


def test_another_network_or_picture_has_another_key(tmp_path: Path) -> None:
    one, other = (FeatureFiles(tmp_path, name) for name in ("one", "other"))
    keys = {one.key(picture(), "cpu"), one.key(picture(1), "cpu"), other.key(picture(), "cpu")}
    assert len(keys) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text"])
def test_a_damaged_file_is_not_believed(tmp_path: Path, damage: str) -> None:
    files = FeatureFiles(tmp_path, "network")
    key = files.key(picture(), "cpu")
    files.put(key, row())
    (path,) = tmp_path.glob("*/*.safetensors")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-7] ^= 1
    path.write_bytes(
        {"flipped": bytes(data), "cut": bytes(data[:-9]), "empty": b"", "text": b"x" * 99}[damage]
    )
    assert files.get(key, "cpu") is None
    (note,) = files.taken_notes()
    assert f"{path.name} is damaged and was made anew" in note
    assert not files.taken_notes()
    files.put(key, row())
    assert files.get(key, "cpu") is not None


def test_what_was_used_longest_ago_is_deleted(tmp_path: Path) -> None:
    first = FeatureFiles(tmp_path, "network")
    keys = [first.key(picture(seed), "cpu") for seed in range(6)]
    first.put(keys[0], row())
    (path,) = tmp_path.glob("*/*.safetensors")
    size = path.stat().st_size
    files = FeatureFiles(tmp_path, "network", size=int(4.5 * size))
    for at, key in enumerate(keys[:4]):
        files.put(key, row())
        os.utime(tmp_path / key[:2] / f"{key}.safetensors", (at, at))
    assert files.get(keys[0], "cpu") is not None  # used again
    files.put(keys[4], row())
    held = [key for key in keys if files.get(key, "cpu") is not None]
    assert keys[0] in held
    assert keys[4] in held
    assert keys[1] not in held
    assert sum(p.stat().st_size for p in tmp_path.glob("*/*")) <= 4.5 * size


def test_a_folder_that_cannot_be_written_costs_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = FeatureFiles(tmp_path / "file" / "folder", "network")
    files.put(files.key(picture(), "cpu"), row())
    (note,) = files.taken_notes()
    assert note.startswith("feature cache: ")


def test_values_of_fp16_take_half_the_disk(tmp_path: Path) -> None:
    rounded, sizes = row(side=30).rounded_to_half(), dict[str, int]()
    for name in ("full", "half"):
        files = FeatureFiles(tmp_path / name, "network", half=name == "half")
        files.put("ab", rounded)
        found = files.get("ab", "cpu")
        assert found is not None
        assert found.tensors["tokens"].dtype == torch.float32
        for key, tensor in rounded.tensors.items():
            assert torch.equal(found.tensors[key], tensor)
        sizes[name] = (tmp_path / name / "ab/ab.safetensors").stat().st_size
    assert sizes["half"] < 0.7 * sizes["full"]  # the map in bf16 is as large as before


def test_rounding_to_half_keeps_what_fp16_cannot_hold_finite() -> None:
    found = FeatureBatch((1, 1), {"a": torch.tensor([[1e9, -1e9, 1.0]])}).rounded_to_half()
    assert found.tensors["a"].tolist() == [[65504.0, -65504.0, 1.0]]


# -- in a run --------------------------------------------------------------------------------------


def ran(results: Path, cache: Path | None, name: str = "hsnet", **options: str) -> Outcome:
    chosen = Selection.model_validate(
        {"methods": name, "domains": "mini-lesion", "shots": 2, "episodes": 3, **options}
    )
    settings = Settings(feature_cache=cache)
    (outcome,) = Runner(results, settings, with_cost=False).run(plan(chosen))
    assert outcome.record is not None
    assert outcome.record.status == "done", outcome.detail
    return outcome


def rows_of(outcome: Outcome) -> str:
    assert outcome.record is not None
    return outcome.record.episodes.rows_sha256


def encoded(results: Path, outcome: Outcome) -> int:
    cell = outcome.planned.cell
    assert cell is not None
    return sum(batch.encoded for batch in batches(cell.folder(results).timings))


@pytest.mark.parametrize("name", ["hsnet", "insid3", "persam", "hsnet+apm-s[steps=2]"])
def test_a_second_run_encodes_nothing_and_counts_the_same(tmp_path: Path, name: str) -> None:
    plain = ran(tmp_path / "0", None, name)
    first = ran(tmp_path / "1", tmp_path / "cache", name)
    second = ran(tmp_path / "2", tmp_path / "cache", name)
    assert rows_of(plain) == rows_of(first) == rows_of(second)
    assert encoded(tmp_path / "1", first) > 0
    assert encoded(tmp_path / "2", second) == 0
    control = ran(tmp_path / "3", tmp_path / "cache", f"{name}@shuffled-support")
    assert encoded(tmp_path / "3", control) < encoded(tmp_path / "1", first)


def test_a_damaged_file_stands_in_the_notes_of_the_record(tmp_path: Path) -> None:
    first = ran(tmp_path / "1", tmp_path / "cache")
    path = next((tmp_path / "cache").glob("*/*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    second = ran(tmp_path / "2", tmp_path / "cache")
    assert rows_of(first) == rows_of(second)
    assert second.record is not None
    assert any("is damaged and was made anew" in note for note in second.record.notes)


def test_rounded_features_are_another_cell_that_says_so(tmp_path: Path) -> None:
    exact = ran(tmp_path, tmp_path / "cache")
    first = ran(tmp_path, tmp_path / "cache", precision="fp16-features")
    assert exact.record is not None
    assert first.record is not None
    assert first.record.cell != exact.record.cell
    assert first.record.evaluator.precision == "fp16-features"
    again = ran(tmp_path / "2", tmp_path / "cache", precision="fp16-features")
    without = ran(tmp_path / "3", None, precision="fp16-features")
    assert rows_of(first) == rows_of(again) == rows_of(without)
    assert encoded(tmp_path / "2", again) == 0


def test_the_encoder_of_a_cell_is_that_of_its_method(tmp_path: Path) -> None:
    def encoder(name: str, **options: str) -> str:
        asked = {"methods": name, "domains": "mini-lesion", "episodes": 2, **options}
        (planned,) = plan(Selection.model_validate(asked))
        assert isinstance(planned.cell, Cell)
        return planned.cell.encoder

    ssp = encoder("ssp")
    assert encoder("ssp@shuffled-support") == encoder("ssp", protocol="strict") == ssp
    others = {
        encoder("prototype"),
        encoder("ssp+lcm"),
        encoder("ssp", precision="bf16"),
        encoder("ssp+lem"),
    }
    assert ssp not in others
    assert len(others) == 4
