"""Checkpoints in wrappers: containers and prefixes are removed, what is ambiguous is refused."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods import parse
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.weights.card import read_card
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint
from cdfss_bench.methods.weights.convert import convert

from ...support.contract import fresh, network, same_tensors

State = dict[str, Tensor]
PATH = Path("some.pth")


def state() -> State:
    return dict(network("ssp").state_dict())


def under(prefix: str, tensors: State | None = None) -> State:
    return {prefix + key: value for key, value in (tensors or state()).items()}


def loads(path: Path, *, entry: str = "") -> list[str]:
    """Loads the file into SSP, holds every entry against what was saved, gives what was left."""
    net = fresh("ssp")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    tensors = read_checkpoint(path, entry).tensors
    left = load_into(net, tensors, path=path, unused=net.unused_keys, complete=True)
    same_tensors(net.state_dict(), state())
    return left


def refused(path: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        loads(path)
    assert str(path) in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.hint
    return caught.value


PREFIXES = [
    "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model.",
    "net.", "network.", "student.", "ema.", "model.net.", "module.model.module.",
    "model._orig_mod.", "_forward_module.model.", "_fsdp_wrapped_module.", "learner.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_prefix_that_all_keys_share_is_removed(tmp_path: Path, prefix: str, kind: str) -> None:
    path = tmp_path / "best.weights"
    if kind == "torch":
        torch.save(under(prefix), path)
    else:
        save_file(under(prefix), path)
    assert loads(path) == []


def test_wrappers_of_parts_are_removed_inside_keys(tmp_path: Path) -> None:
    path = tmp_path / "compiled-stage.pth"
    wrapped = {key.replace("layer1.", "layer1._orig_mod."): value for key, value in state().items()}
    assert "layer1._orig_mod.0.conv1.weight" in wrapped
    torch.save(wrapped, path)
    assert loads(path) == []


def test_a_part_of_a_network_that_is_called_module_keeps_its_name() -> None:
    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    saved, other = Wrapping(), Wrapping()
    load_into(other, saved.state_dict(), path=PATH, complete=True)
    assert torch.equal(other.module.weight, saved.module.weight)
    plain = {key.removeprefix("module."): value + 1 for key, value in saved.state_dict().items()}
    load_into(other, plain, path=PATH, complete=True)
    assert torch.equal(other.module.weight, saved.module.weight + 1)


CONTAINERS: dict[str, Callable[[], Any]] = {
    name: lambda name=name: {name: state(), "epoch": 3}
    for name in (
        "state_dict", "model", "model_state_dict", "net", "network", "state_dict_ema", "model_ema",
        "ema_state_dict", "weights", "params", "parameters", "model_state", "best_metric_model",
    )
} | {
    "nested": lambda: {"checkpoint": {"model": OrderedDict(under("module."))}},
    "list": lambda: [state()],
    "beside a generator's state": lambda: {"model": state(), "rng_state": torch.get_rng_state()},
    "EMA that is empty": lambda: {"model": state(), "model_ema": None, "best": torch.tensor(0.5)},
    "the same twice": lambda: {"state_dict": state(), "model": state()},
    "Lightning": lambda: {
        "epoch": 3,
        "pytorch-lightning_version": "2.5",
        "state_dict": {**under("model."), "criterion.weight": torch.ones(2)},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "loops": {"fit_loop": {"state_dict": {"x": torch.ones(3)}}},
        "hyper_parameters": {"lr": 1e-3, "class_weights": torch.ones(2)},
    },
    "averaged": lambda: {**under("module."), "n_averaged": torch.tensor(3)},
    "with its optimiser": lambda: {
        "model": state(),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
        "scheduler_state_dict": {"base": torch.ones(1)},
        "dino_loss": {"center": torch.ones(2)},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / "checkpoint.ckpt"
    torch.save(CONTAINERS[name](), path)
    loads(path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pth.tar", ".tar", ".bin", ".ckpt", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_suffix_and_the_age_of_the_format_do_not_matter(
    tmp_path: Path, suffix: str, zipped: bool
) -> None:
    path = tmp_path / f"best{suffix}"
    torch.save({"state_dict": under("module.")}, path, _use_new_zipfile_serialization=zipped)
    loads(path)


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {**under("model."), "criterion.weight": torch.ones(2)}}, path)
    assert loads(path) == ["criterion.weight"]


def changed() -> State:
    return {key: value + 1 for key, value in state().items()}


SEVERAL: dict[str, tuple[Callable[[], Any], str, str]] = {
    "plain and EMA": (
        lambda: {"state_dict": state(), "state_dict_ema": changed()},
        "holds several sets of weights: 'state_dict', 'state_dict_ema'",
        "state_dict",
    ),
    "plain and shadow": (
        lambda: {"model": state(), "ema": {"decay": 0.9, "shadow": changed()}},
        "holds several sets of weights: 'model', 'ema.shadow'",
        "model",
    ),
    "params_ema": (
        lambda: {"params": state(), "params_ema": changed()},
        "holds several sets of weights: 'params', 'params_ema'",
        "params",
    ),
    "G and D": (
        lambda: {"G": state(), "D": {"conv.weight": torch.ones(2, 2)}},
        "holds several sets of weights: 'G', 'D'",
        "G",
    ),
    "student and teacher in one": (
        lambda: {**under("student."), **under("teacher.", changed())},
        "holds the network under 'student', 'teacher'",
        "student",
    ),
    "G and D in one": (
        lambda: {**under("netG."), "netD.conv.weight": torch.ones(2, 2)},
        "holds the network under 'netG' and more under 'netD'",
        "netG",
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_sets_of_weights_are_refused_until_one_is_named(tmp_path: Path, name: str) -> None:
    content, sentence, entry = SEVERAL[name]
    path = tmp_path / "a.pth"
    torch.save(content(), path)
    error = refused(path)
    assert sentence in error.problem
    assert f"cdfss-bench weights convert {path}" in (error.hint or "")
    assert f"--entry {entry}" in (error.hint or "")
    loads(path, entry=entry)


def test_conversion_takes_the_entry_that_was_named(tmp_path: Path) -> None:
    path, output = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save({"state_dict": changed(), "state_dict_ema": state()}, path)
    convert(path, output, parse("ssp"), backbone="resnet-mini", entry="state_dict_ema")
    card = read_card(output)
    assert card is not None
    assert card.origin.startswith("a.pth")
    loads(output)
    with pytest.raises(WeightsError, match="holds no weights called 'teacher'") as caught:
        read_checkpoint(path, "teacher")
    assert "'state_dict', 'state_dict_ema'" in (caught.value.hint or "")


def test_an_entry_twice_under_one_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({**state(), **under("module.", changed())}, path)
    assert "holds both 'conv1.weight' and 'module.conv1.weight'" in refused(path).problem


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: {"optimizer": o, "epoch": 1}])
def test_the_state_of_an_optimiser_is_no_checkpoint(
    tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    path = tmp_path / "optimizer.pt"
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save(wrap(optimizer.state_dict()), path)
    assert "holds the state of an optimiser and no weights" in refused(path).problem


def test_what_fits_only_in_part_is_refused_under_the_networks_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    part = {key: value for key, value in state().items() if not key.startswith("layer3.")}
    torch.save(under("module.model.", part), path)
    assert "lacks 'layer3.0.conv1.weight', 'layer3.0.bn1.weight'" in refused(path).problem
    torch.save(under("model.", {**state(), "head.weight": torch.ones(2)}), path)
    assert "holds 'head.weight', which SSP does not have" in refused(path).problem


def test_a_backbone_inside_a_method_is_not_taken_for_a_method(tmp_path: Path) -> None:
    path = tmp_path / "hsnet.pth"
    torch.save(network("hsnet").state_dict(), path)
    refused(path)
    torch.save(under("backbone."), path)
    refused(path)


def test_a_pretrained_backbone_may_stand_under_a_prefix() -> None:
    saved, other = build_backbone("resnet-mini"), build_backbone("resnet-mini")
    for prefix in ("backbone.", "module.encoder.", "model.backbone."):
        given = {prefix + key: value + 1 for key, value in saved.state_dict().items()}
        load_into(other, given, path=PATH, unused=other.unused_keys, complete=True)
        assert torch.equal(other.state_dict()["conv1.weight"], given[prefix + "conv1.weight"])
