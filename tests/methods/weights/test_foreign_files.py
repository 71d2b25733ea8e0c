"""Files of other people: harmless extras are let through, all else is refused in a sentence."""

import argparse
import collections
import datetime
import decimal
import enum
import pathlib
import pickle
import subprocess
import sys
import tarfile
import types
import uuid
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint
from cdfss_bench.methods.weights.torch_files import scanned

from ...support.contract import same_tensors

TENSORS = {"weight": torch.arange(4.0).reshape(2, 2), "bias": torch.tensor([0.5, -0.5])}


def refused(path: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    error = caught.value
    assert str(path) in error.problem
    for text in (error.problem, error.hint or ""):
        assert "\n" not in text
        assert "\x1b" not in text
        assert "weights_only argument" not in text
        assert "add_safe_globals" not in text
    assert error.hint
    return error


def counted() -> Any:
    found: collections.defaultdict[str, list[int]] = collections.defaultdict(list)
    found["a"].append(1)
    return found


EXTRAS: dict[str, Callable[[], Any]] = {
    "Namespace": lambda: argparse.Namespace(lr=1e-3, sub=argparse.Namespace(a=[1])),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "float64": lambda: np.float64(53.2),
    "float32": lambda: np.float32(53.2),
    "int64": lambda: np.int64(3),
    "bool": lambda: np.bool_(True),  # noqa: FBT003
    "dtype": lambda: np.dtype("float32"),
    "type": lambda: np.float32,
    "array": lambda: np.ones((2, 3)),
    "array of text": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([{}, []], dtype=object),
    "NumPy's generator": lambda: np.random.RandomState(0).get_state(),
    "path": lambda: pathlib.Path("a") / "b",
    "pure path": lambda: pathlib.PurePosixPath("a"),
    "Windows path": lambda: pathlib.PureWindowsPath("C:/a"),
    "date and time": lambda: datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "date": lambda: datetime.date(2024, 1, 2),
    "duration": lambda: datetime.timedelta(1),
    "decimal": lambda: decimal.Decimal("1.5"),
    "uuid": lambda: uuid.UUID(int=1),
    "defaultdict": counted,
    "Counter": lambda: collections.Counter("aab"),
    "OrderedDict": lambda: collections.OrderedDict(a=1),
    "deque": lambda: collections.deque([1, 2], maxlen=3),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset([1]),
    "slice": lambda: slice(1, 2),
    "range": lambda: range(3),
    "complex": lambda: complex(1, 2),
    "bytes": lambda: b"123",
    "bytearray": lambda: bytearray(b"123"),
    "Size": lambda: torch.Size([1, 2]),
    "device": lambda: torch.device("cpu"),
    "torch type": lambda: torch.float16,
    "torch version": lambda: torch.__version__,
}


@pytest.mark.parametrize("name", EXTRAS)
@pytest.mark.parametrize("zipped", [True, False])
def test_harmless_objects_beside_the_tensors_are_let_through(
    tmp_path: Path, name: str, zipped: bool
) -> None:
    path = tmp_path / "a.pth"
    content = {"state_dict": TENSORS, "args": EXTRAS[name](), "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_tensors(read_checkpoint(path).tensors, TENSORS)


def test_classes_of_packages_that_are_not_here_are_let_through_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configurations by the names of their classes; the module is gone when the file is read."""
    omegaconf = planted(monkeypatch, "omegaconf.dictconfig", "DictConfig", object)
    easydict = planted(monkeypatch, "easydict", "EasyDict", dict)
    config = omegaconf()
    config.__dict__["_content"] = {"lr": 1}
    torch.save({"model": TENSORS, "cfg": config, "more": easydict(a=1)}, tmp_path / "a.pth")
    monkeypatch.undo()
    assert "easydict" not in sys.modules
    assert read_checkpoint(tmp_path / "a.pth").tensors.keys() == TENSORS.keys()


def planted(monkeypatch: pytest.MonkeyPatch, module: str, name: str, base: type) -> Any:
    """A class of that module and name, as another machine has it."""
    made = type(name, (base,), {"__module__": module, "__qualname__": name})
    home = types.ModuleType(module)
    setattr(home, name, made)
    monkeypatch.setitem(sys.modules, module, home)
    if "." in module:
        parent = types.ModuleType(module.partition(".")[0])
        monkeypatch.setitem(sys.modules, parent.__name__, parent)
    return made


def test_tensors_in_a_kind_of_dictionary_are_read(tmp_path: Path) -> None:
    kept: collections.defaultdict[str, Tensor] = collections.defaultdict(lambda: torch.zeros(1))
    kept.default_factory = None
    kept.update(TENSORS)
    torch.save({"state_dict": kept}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").tensors.keys() == TENSORS.keys()


class Mode(enum.Enum):
    FAST = 1


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (lambda: {"state_dict": TENSORS, "mode": Mode.FAST}, "test_foreign_files.Mode"),
        (Net, "test_foreign_files.Net"),
        (lambda: {"model": Net(), "epoch": 3}, "test_foreign_files.Net"),
    ],
)
def test_other_classes_are_refused_by_name(
    tmp_path: Path, content: Callable[[], Any], named: str, zipped: bool
) -> None:
    path = tmp_path / "a.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=zipped)
    error = refused(path)
    assert f"{named}" in error.problem
    assert "it holds objects of" in error.problem
    assert "nothing in them is ever executed" in (error.hint or "")


def test_the_command_of_the_refusal_extracts_the_tensors(tmp_path: Path) -> None:
    """It is typed where the class is known, and what it writes is read here."""
    home = tmp_path / "authors code"
    home.mkdir()
    (home / "nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(2, 2)\n"
        "class Settings: pass\n"
    )
    make = (
        "import torch, nets; torch.save(nets.Net(), 'whole.pth'); "
        "torch.save({'state_dict': nets.Net().state_dict(), 'set': nets.Settings()}, 'set.pth')"
    )
    subprocess.run([sys.executable, "-c", make], cwd=home, check=True)
    for name in ("whole.pth", "set.pth"):
        error = refused(home / name)
        command = (error.hint or "").partition("run where it was made: ")[2]
        assert command.startswith("python -c ")
        shell = command.replace("python", sys.executable, 1)
        subprocess.run(["bash", "-c", shell], cwd=home, check=True)
        output = home / f"{Path(name).stem}-tensors.pth"
        assert set(read_checkpoint(output).tensors) == {"layer.weight", "layer.bias"}


def test_a_torchscript_archive_is_refused_and_its_command_extracts_the_tensors(
    tmp_path: Path,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "a.pt")
    error = refused(tmp_path / "a.pt")
    assert "it is a TorchScript archive" in error.problem
    command = (error.hint or "").partition("run where it was made: ")[2]
    shell = command.replace("python", f"{sys.executable} -W ignore", 1)
    subprocess.run(["bash", "-c", shell], cwd=tmp_path, check=True)
    assert set(read_checkpoint(tmp_path / "a-tensors.pth").tensors) == {"weight", "bias"}


class Calls:
    """Whoever unpickles it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: object):
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [eval, exec, getattr, open, subprocess.call, pickle.loads])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_names_a_dangerous_function_is_not_to_be_used(
    tmp_path: Path, function: Callable[..., Any], zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    content = {"w": torch.ones(1), "x": Calls(function, "executed", "w")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    error = refused(path)
    assert function.__name__ in error.problem
    assert "which no checkpoint needs" in error.problem
    assert (error.hint or "").startswith("do not use this file")
    assert "python -c" not in (error.hint or "")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_the_stand_ins_are_gone_after_reading(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save({"model": TENSORS, "args": argparse.Namespace(a=1)}, tmp_path / "a.pth")
    read_checkpoint(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_another_pickle_protocol_is_read_or_refused_by_its_number(
    tmp_path: Path, protocol: int
) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": TENSORS}, path, pickle_protocol=protocol)
    if protocol == 3:
        assert read_checkpoint(path).tensors.keys() == TENSORS.keys()
    else:
        assert f"pickle protocol {protocol}" in refused(path).problem
        torch.save({"state_dict": TENSORS, "net": Net()}, path, pickle_protocol=protocol)
        assert "test_foreign_files.Net" in refused(path).problem


def test_names_are_found_in_every_protocol(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps([Mode.FAST, Mode.FAST], protocol))
        assert f"{Mode.__module__}.Mode" in scanned(tmp_path / "a.pkl").names


# -- what is no checkpoint at all ------------------------------------------------------------------

STARTS = {
    "an empty file": b"",
    "a web page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a gzip archive": b"\x1f\x8b\x08\x00\x00\x00",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "JSON text": b'{"error": "not found"}',
    "plain text": b"Not found\n",
    "damaged, incomplete": b"\x80\x02}q\x00",
}


@pytest.mark.parametrize("what", STARTS)
@pytest.mark.parametrize(
    ("suffix", "sentence"),
    [
        (".pth", "is not a checkpoint that can be read safely"),
        (".safetensors", "is not a readable safetensors file"),
        (".npz", "is not a readable .npz file"),
    ],
)
def test_what_is_no_checkpoint_is_called_by_its_name(
    tmp_path: Path, what: str, suffix: str, sentence: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(STARTS[what])
    problem = refused(path).problem
    assert sentence in problem
    assert (what if suffix == ".pth" else what.partition(",")[0]) in problem


def test_archives_around_a_checkpoint_are_to_be_unpacked(tmp_path: Path) -> None:
    inner = tmp_path / "inner.pth"
    torch.save(TENSORS, inner)
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.write(inner, "inner.pth")
    assert (
        "a zip archive without a checkpoint's parts (inner.pth"
        in refused(tmp_path / "a.pth").problem
    )
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(inner, "inner.pth")
    assert "it is a tar archive" in refused(tmp_path / "b.tar").problem
    raw = inner.read_bytes()
    (tmp_path / "cut.pth").write_bytes(raw[: len(raw) // 2])
    assert "a zip archive whose end is missing" in refused(tmp_path / "cut.pth").problem


def test_a_folder_names_the_files_in_it(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    error = refused(tmp_path)
    assert error.problem == f"{tmp_path} is a folder, not a weights file"
    assert error.hint == "name one of its files: model.safetensors"


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.pth")
    torch.save(TENSORS, tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        assert read_checkpoint(tmp_path / name).tensors.keys() == TENSORS.keys()


# -- tensors that are not taken --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is quantised"),
        (lambda t: t.to(torch.float8_e4m3fn), "is quantised"),
        (lambda t: t.to_sparse(), "is sparse"),
        (lambda t: t.to("meta"), "without content"),
    ],
)
def test_tensors_that_are_not_plain_are_refused_by_name(
    tmp_path: Path, make: Callable[[Tensor], Tensor], sentence: str
) -> None:
    torch.save({**TENSORS, "weight": make(TENSORS["weight"])}, tmp_path / "a.pth")
    problem = refused(tmp_path / "a.pth").problem
    assert "'weight' is" in problem
    assert sentence in problem


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_values_that_are_not_finite_are_refused_by_name(tmp_path: Path, number: float) -> None:
    path = tmp_path / "a.pth"
    weight = torch.tensor([[1.0, 2.0], [3.0, number]], dtype=torch.float64)
    torch.save({**TENSORS, "weight": weight}, path)
    linear = nn.Linear(2, 2)
    before = linear.weight.detach().clone()
    with pytest.raises(WeightsError, match="'weight' holds values that are not finite"):
        load_into(linear, read_checkpoint(path).tensors, path=path, complete=True)
    assert torch.equal(linear.weight, before)


def test_a_constant_of_the_network_may_be_infinite() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))

    load_into(Masked(), Masked().state_dict(), path=Path("a.pth"), complete=True)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused_by_name(kind: torch.dtype) -> None:
    given = {**TENSORS, "weight": TENSORS["weight"].to(kind)}
    with pytest.raises(WeightsError, match="'weight' holds numbers of type"):
        load_into(nn.Linear(2, 2), given, path=Path("a.pth"), complete=True)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_half_and_double_precision_become_float32(
    tmp_path: Path, save: Callable[[dict[str, Tensor], Path], None], kind: torch.dtype
) -> None:
    given = {key: nn.Parameter(t.to(kind)) for key, t in TENSORS.items()}
    save({**given, "count": torch.tensor(1)}, tmp_path / "a.pth")
    found = dict(read_checkpoint(tmp_path / "a.pth").tensors)
    assert found.pop("count").dtype == torch.int64
    assert {t.dtype for t in found.values()} == {torch.float32}
    assert torch.equal(found["weight"], TENSORS["weight"])
    assert not any(t.requires_grad for t in found.values())
