"""A file of `train` that lacks a part is refused: the part would be as constructed, at random."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cdfss_bench import build
from cdfss_bench.bench.evaluation.runner import Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.methods.weights.search import PACKAGED

from ...support.program import program


def without(name: str, left_out: str, folder: Path) -> Path:
    """A packaged file without the entries that begin so."""
    path = folder / name
    with safe_open(PACKAGED / name, "pt") as file:
        header = file.metadata()
    tensors = load_file(PACKAGED / name)
    kept = {key: value for key, value in tensors.items() if not key.startswith(left_out)}
    assert len(kept) < len(tensors)
    save_file(kept, path, metadata=header)
    return path


@pytest.mark.parametrize(
    ("method", "name", "left_out"),
    [
        ("hsnet", "hsnet-resnet-mini.safetensors", "hpn_learner.decoder2.2.bias"),
        ("patnet", "patnet-resnet-mini.safetensors", "reference_layer3"),
        ("ssp", "ssp-resnet-mini.safetensors", ""),
    ],
)
def test_a_file_that_lacks_a_trained_part_is_refused(
    method: str, name: str, left_out: str, tmp_path: Path
) -> None:
    path = without(name, left_out, tmp_path)
    values = {"methods": (method,), "domains": ("mini-lesion",), "suite": "mini", "episodes": 1}
    asked = Selection.model_validate({**values, "weights": {method: path}})
    (outcome,) = Runner(tmp_path / "results", with_cost=False).run(plan(asked))
    assert outcome.how == "refused"
    assert outcome.detail.startswith(f"{path} lacks {repr(left_out)[:-1] if left_out else 'all'}")
    with pytest.raises(WeightsError, match="lacks"):
        build(method, backbone="resnet-mini", weights=path)


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*-mini.safetensors")), ids=lambda p: p.stem)
def test_the_files_of_the_package_hold_all(path: Path) -> None:
    name, _, _ = path.stem.rpartition("-")
    method, _, backbone = name.rpartition("-")
    if not method:
        return  # a backbone's own
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(method, backbone=f"{backbone}-mini", weights=path)


def test_a_folder_that_is_not_there_is_refused_and_one_alone_is_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist or is not a folder"):
        build("ssp", backbone="resnet-mini", pretrained=True, weights_dirs=[tmp_path / "none"])
    for number in range(2):
        source = PACKAGED / "ssp-resnet-mini.safetensors"
        (tmp_path / f"{number}.safetensors").write_bytes(source.read_bytes())
    # A text was taken for as many folders as it has letters, none of them there.
    with pytest.raises(WeightsError, match="holds several weights of ssp"):
        build("ssp", backbone="resnet-mini", pretrained=True, weights_dirs=str(tmp_path))


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("hsnet", "hsnet-resnet-mini.safetensors"),
        ("ssp", "ssp-resnet-mini.safetensors"),
        ("prototype", "resnet-mini.safetensors"),
    ],
)
def test_a_file_of_zeros_is_refused(method: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with safe_open(PACKAGED / name, "pt") as file:
        header = file.metadata()
    tensors = load_file(PACKAGED / name)
    # Biases and counters do not make a network.
    empty = {key: value * 0 if value.ndim > 1 else value for key, value in tensors.items()}
    save_file(empty, path, metadata=header)
    given = {"weights_dirs": tmp_path} if method == "prototype" else {"weights": path}
    with pytest.raises(WeightsError, match="holds nothing but zeros: no training wrote it"):
        build(method, backbone="resnet-mini", pretrained=True, **given)  # pyright: ignore
    kept = tmp_path / "one"
    kept.mkdir()
    first = next(key for key, value in tensors.items() if value.ndim > 1)
    save_file({**empty, first: tensors[first]}, kept / name, metadata=header)
    given = {key: kept if key == "weights_dirs" else kept / name for key in given}
    build(method, backbone="resnet-mini", pretrained=True, **given)  # pyright: ignore


def test_the_command_in_a_hint_quotes_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "my weights"
    folder.mkdir()
    state = build("ssp", backbone="resnet-mini").state_dict()
    other = {key: value + 1 for key, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": other}, folder / "two.pth")
    with pytest.raises(WeightsError) as refused:
        build("ssp", backbone="resnet-mini", weights=folder / "two.pth")
    command = f"weights convert '{folder}/two.pth' -m METHOD"
    assert command in str(refused.value)
    words = ["weights", "convert", str(folder / "two.pth"), "-m", "ssp"]
    done = program(*words, "--backbone", "resnet-mini", "-o", tmp_path / "out.safetensors")
    assert (done.returncode, command in done.stderr) == (2, True)
