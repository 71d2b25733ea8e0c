"""What a record notes of weights files, and which are refused by their sha256."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cdfss_bench import build
from cdfss_bench.bench.evaluation.weights_notes import stored_precision, weights_notes
from cdfss_bench.bench.planning.planned_cells import Planned, plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import WeightsError
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.weights.search import PACKAGED


def saved_as(dtype: torch.dtype, name: str, path: Path) -> Path:
    """A packaged file in another precision."""
    with safe_open(PACKAGED / name, "pt") as file:
        header = file.metadata()
    tensors = load_file(PACKAGED / name)
    save_file({key: value.to(dtype) for key, value in tensors.items()}, path, metadata=header)
    return path


def planned(method: str, **asked: object) -> Planned:
    values = {"methods": (method,), "domains": ("mini-lesion",), "suite": "mini", **asked}
    (found,) = plan(Selection.model_validate({"episodes": 1, **values}))
    return found


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float32, "")]
)
def test_a_checkpoint_in_half_precision_is_noted(
    dtype: torch.dtype, name: str, tmp_path: Path
) -> None:
    path = saved_as(dtype, "ssp-resnet-mini.safetensors", tmp_path / "mine.safetensors")
    assert stored_precision(path) == name
    cell = planned("ssp", weights={"ssp": path}).cell
    assert cell is not None
    expected = [f"mine.safetensors holds weights of half precision ({name})"] if name else []
    assert weights_notes(cell) == expected


def test_values_tell_it_of_a_file_that_was_saved_in_full_precision_again(tmp_path: Path) -> None:
    half = saved_as(torch.float16, "ssp-resnet-mini.safetensors", tmp_path / "half.safetensors")
    tensors = {name: value.float() for name, value in load_file(half).items()}
    save_file(tensors, tmp_path / "full.safetensors")
    assert stored_precision(tmp_path / "full.safetensors") == "fp16"


def test_what_comes_with_the_package_is_not_noted() -> None:
    cell = planned("prototype").cell
    assert cell is not None
    assert cell.weights.pretrained is not None
    assert stored_precision(cell.weights.pretrained) == "fp16"
    assert weights_notes(cell) == []


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Weights of ResNet-50 that are not the published ones, in a folder of their own."""
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(build_backbone("resnet50").state_dict(), folder / "resnet50-0676ba61.pth")
    return folder


def test_a_file_that_is_not_the_one_whose_sha256_its_name_has_is_refused(published: Path) -> None:
    asked = {"backbone": "resnet50", "weights_dirs": (published,)}
    refused = planned("prototype", **asked)
    assert refused.cell is None
    found = file_sha256(published / "resnet50-0676ba61.pth")[:8]
    assert refused.reason.endswith(f"file of that name: its sha256 begins with {found}")
    assert refused.hint is not None
    assert refused.hint.startswith("cdfss-bench weights fetch resnet50")
    with pytest.raises(WeightsError, match="not the published file of that name"):
        build("prototype", pretrained=True, backbone="resnet50", weights_dirs=[published])


def test_a_file_with_another_sha256_under_a_plain_name_is_noted(published: Path) -> None:
    path = published / "resnet50.pth"
    (published / "resnet50-0676ba61.pth").rename(path)
    cell = planned("prototype", backbone="resnet50", weights_dirs=(published,)).cell
    assert cell is not None
    (note,) = weights_notes(cell)
    assert note.startswith("resnet50.pth is not the published file, whose sha256 begins with 0676b")
    entry = cell.weights.entry
    assert entry is not None
    known = entry.model_copy(update={"sha256": file_sha256(path)[:8]})
    assert weights_notes(replace(cell, weights=replace(cell.weights, entry=known))) == []
