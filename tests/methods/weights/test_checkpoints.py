"""Weights files: what is read, what is refused, and that nothing in a file is ever executed."""

import pickle
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.methods.backbones.base import Backbone
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.card import WeightsCard, read_card
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint, write_checkpoint
from cdfss_bench.methods.weights.state_dicts import renamed

from ...support.contract import fresh, network, same_tensors

CARD = WeightsCard(
    trained_as="hsnet[widths=8-16-32]",
    backbone="resnet-mini",
    selection="source-val",
    base="0" * 64,
    source={"domain": "mini-source", "episodes_sha256": "1" * 64},
    recipe={"optimizer": "adam", "lr": 1e-3, "schedule": [0.5]},
    seed=3,
    episodes=6400,
    code="2" * 64,
    command="cdfss-bench train -m hsnet",
    versions={"torch": "2.9"},
)


def small() -> dict[str, Tensor]:
    """Entries of every kind that a state dict holds."""
    return {
        "layer.weight": torch.arange(6.0).reshape(2, 3),
        "layer.bias": torch.tensor([0.5, -0.5]),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def refused(path: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.problem
    assert "\n" not in caught.value.problem
    return caught.value


# -- our own files ---------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_with_its_card(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.safetensors"
    write_checkpoint(path, small(), CARD)
    found = read_checkpoint(path)
    same_tensors(found.tensors, small())
    assert found.card == CARD
    assert read_card(path) == CARD
    assert found.path == path
    assert found.sha256 == file_sha256(path)


def test_the_same_checkpoint_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_checkpoint(tmp_path / f"{name}.safetensors", small(), CARD)
    assert file_sha256(tmp_path / "a.safetensors") == file_sha256(tmp_path / "b.safetensors")


def test_parameters_that_ask_for_gradients_and_views_are_written(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    write_checkpoint(tmp_path / "a.safetensors", {"w": weight.T}, CARD)
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors").tensors["w"], weight.detach().T)


@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_file_of_somebody_else_has_no_card(
    tmp_path: Path, save: Callable[[dict[str, Tensor], Path], None]
) -> None:
    save(small(), tmp_path / "a.safetensors")
    assert read_card(tmp_path / "a.safetensors") is None
    assert read_checkpoint(tmp_path / "a.safetensors").card is None


def test_a_card_with_a_key_that_nobody_knows_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = '{"trained_as":"ssp","backbone":"resnet50","selection":"last","sed":1}'
    save_file(small(), path, {"cdfss-bench": header})
    with pytest.raises(UserError, match="unknown key 'sed'") as caught:
        read_card(path)
    assert str(path) in caught.value.problem
    assert "seed" in (caught.value.hint or "")


def test_a_card_that_is_no_json_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(small(), path, {"cdfss-bench": "{trained_as"})
    with pytest.raises(WeightsError, match="the card in its header is not JSON") as caught:
        read_card(path)
    assert str(path) in caught.value.problem


# -- published files -------------------------------------------------------------------------------


def test_a_published_hsnet_with_module_prefix_and_classifier_loads(tmp_path: Path) -> None:
    path = tmp_path / "best_model.pt"
    state = {f"module.{key}": value for key, value in network("hsnet").state_dict().items()}
    unused = {"module.backbone.fc.weight": torch.zeros(2, 2)}
    torch.save({**state, **unused}, path)
    net = scrambled("hsnet")
    load(net, path)
    same_tensors(net.state_dict(), network("hsnet").state_dict())


def test_a_published_ssp_has_no_prefix_and_may_hold_layer4(tmp_path: Path) -> None:
    path = tmp_path / "ssp.pth"
    state = network("ssp").state_dict()
    assert "layer3.0.conv1.weight" in state
    torch.save({**state, "layer4.0.conv1.weight": torch.zeros(2)}, path)
    net = scrambled("ssp")
    load(net, path)
    same_tensors(net.state_dict(), state)


# -- what must never happen ------------------------------------------------------------------------


class Trap:
    """Whoever unpickles it creates a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("wrap", ["alone", "among tensors", "in state_dict"])
@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle"])
def test_a_file_that_would_execute_code_is_refused_without_executing_it(
    tmp_path: Path, wrap: str, kind: str
) -> None:
    target, path = tmp_path / "executed", tmp_path / "evil.pth"
    trap = Trap(target)
    content: object = {
        "alone": trap,
        "among tensors": {"w": torch.zeros(1), "x": trap},
        "in state_dict": {"state_dict": {"w": torch.zeros(1), "x": trap}},
    }[wrap]
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    error = refused(path)
    assert not target.exists()
    assert "is not a checkpoint that can be read safely" in error.problem
    assert error.hint is not None
    assert "nothing in them is ever executed" in error.hint


def test_the_trap_of_the_test_above_would_have_closed(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(Trap(target))).close()
    assert target.exists()


# -- what is no checkpoint -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path / name).problem.endswith("does not exist")


@pytest.mark.parametrize("content", [[1, 2, 3], {"epoch": 3}, {1: torch.zeros(1)}, torch.zeros(3)])
def test_a_pickle_without_named_tensors_is_no_checkpoint(tmp_path: Path, content: object) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    assert refused(path).problem == f"{path} holds no named tensors, so it is not a checkpoint"


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    write_checkpoint(tmp_path / "whole.safetensors", small(), CARD)
    torch.save(small(), tmp_path / "whole.pth")
    for name in ("whole.safetensors", "whole.pth"):
        raw = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(raw[: int(len(raw) * share)])
        refused(cut)
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        read_card(tmp_path / "cut-whole.safetensors")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip.pth", "legacy.pth", "a.safetensors"])
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "a.safetensors":
        write_checkpoint(path, small(), CARD)
    else:
        torch.save(small(), path, _use_new_zipfile_serialization=kind == "zip.pth")
    whole = path.read_bytes()
    rng = random.Random(0)
    refusals = 0
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw[: rng.randint(1, 2 * len(raw))])
        try:
            read_checkpoint(path)
        except UserError:
            refusals += 1
    assert refusals > 100


# -- loading ---------------------------------------------------------------------------------------


def scrambled(name: str) -> Method:
    net = fresh(name)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    return net


def load(net: Method, path: Path, *, complete: bool = True) -> None:
    tensors = read_checkpoint(path).tensors
    load_into(net, tensors, path=path, unused=net.unused_keys, complete=complete)


def mini(**options: Any) -> Backbone:
    return build_backbone("resnet-mini", **options)


PATH = Path("folder/some.safetensors")


def refused_loading(
    module: nn.Module, tensors: Mapping[str, Tensor], *, unused: tuple[str, ...] = ()
) -> WeightsError:
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_into(module, tensors, path=PATH, unused=unused, complete=True)
    same_tensors(module.state_dict(), before)
    return caught.value


def test_missing_entries_are_refused_with_the_first_of_them() -> None:
    backbone = mini()
    state = {k: v for k, v in backbone.state_dict().items() if not k.startswith("layer4.")}
    error = refused_loading(backbone, state)
    missing = [k for k in backbone.state_dict() if k.startswith("layer4.") and "tracked" not in k]
    first = ", ".join(f"'{key}'" for key in missing[:3])
    expected = f"{PATH} lacks {first} and {len(missing) - 3} more entries, which ResNet needs"
    assert error.problem == expected
    assert (error.hint or "").startswith("use a file that holds all of the network, or another")


def test_one_missing_entry_is_named_alone() -> None:
    linear = nn.Linear(2, 2)
    error = refused_loading(linear, {"weight": torch.zeros(2, 2)})
    assert error.problem == f"{PATH} lacks 'bias', which Linear needs"


def test_foreign_entries_are_refused_with_the_first_of_them() -> None:
    linear = nn.Linear(2, 2)
    foreign = {f"head.{i}": torch.zeros(1) for i in range(5)}
    error = refused_loading(linear, {**linear.state_dict(), **foreign})
    assert error.problem == (
        f"{PATH} holds 'head.0', 'head.1', 'head.2' and 2 more entries, which Linear does not have"
    )
    assert error.hint == "these weights belong to another network; check --method and --backbone"


def test_misshapen_entries_are_refused_with_both_shapes() -> None:
    linear = nn.Linear(3, 2)
    error = refused_loading(linear, {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})
    assert error.problem == f"{PATH}: 'weight' is [2, 2], Linear expects [2, 3]"


def test_entries_that_nobody_reads_are_accepted_by_their_prefix() -> None:
    linear = nn.Linear(2, 2)
    extra = {"fc.weight": torch.zeros(1)}
    load_into(linear, {**small_linear(), **extra}, path=PATH, unused=("fc.",), complete=True)
    same_tensors(linear.state_dict(), small_linear())
    refused_loading(linear, {**small_linear(), "fcx": torch.zeros(1)}, unused=("fc.",))


def small_linear() -> dict[str, Tensor]:
    return {"weight": torch.full((2, 2), 3.0), "bias": torch.full((2,), 4.0)}


def test_a_part_is_loaded_where_a_part_is_enough() -> None:
    linear = nn.Linear(2, 2)
    weight = linear.weight.detach().clone()
    load_into(linear, {"bias": small_linear()["bias"]}, path=PATH, complete=False)
    assert torch.equal(linear.bias, small_linear()["bias"])
    assert torch.equal(linear.weight, weight)


def test_the_counters_of_batch_normalisation_may_be_missing() -> None:
    norm = nn.BatchNorm2d(2)
    state = {k: v + 1 for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    load_into(norm, state, path=PATH, complete=True)
    assert torch.equal(norm.weight, state["weight"])


def test_a_file_up_to_layer3_serves_a_network_that_ends_there() -> None:
    shallow, deep = mini(until="semantic"), mini()
    unused = shallow.unused_keys
    load_into(shallow, deep.state_dict(), path=PATH, unused=unused, complete=True)
    same_tensors(shallow.state_dict(), {k: deep.state_dict()[k] for k in shallow.state_dict()})
    cut = {k: v for k, v in deep.state_dict().items() if not k.startswith("layer4.")}
    load_into(shallow, cut, path=PATH, unused=unused, complete=True)


@pytest.mark.parametrize(
    ("larger", "smaller", "until"),
    [("resnet101", "resnet50", "pyramid"), ("resnet101-deep", "resnet50-deep", "semantic")],
)
def test_the_weights_of_a_deeper_resnet_do_not_pass_for_a_shallower_ones(
    larger: str, smaller: str, until: str
) -> None:
    with torch.device("meta"):
        state = build_backbone(larger).state_dict()
        backbone = build_backbone(smaller, until=until)
    with pytest.raises(WeightsError, match=re.escape("holds 'layer3.6.conv1.weight'")):
        load_into(backbone, state, path=PATH, unused=backbone.unused_keys, complete=True)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "mobilenet_v2"])
def test_a_published_file_serves_every_depth_to_which_a_backbone_is_built(name: str) -> None:
    classifier = {"resnet50": "fc.weight"}.get(name, "classifier.1.weight")
    with torch.device("meta"):
        stages = [stage.name for stage in build_backbone(name).stages][1:]
        published = build_backbone(name, until="c320" if name == "mobilenet_v2" else stages[-1])
        state = {**published.state_dict(), classifier: torch.empty(1000, 8)}
        if name == "mobilenet_v2":
            state["features.18.0.weight"] = torch.empty(1280, 320, 1, 1)
        for stage in stages:
            backbone = build_backbone(name, until=stage)
            unused = backbone.unused_keys
            load_into(backbone, state, path=PATH, unused=unused, complete=True)
            foreign = next(iter(backbone.state_dict())).replace("weight", "wait")
            with pytest.raises(WeightsError, match="does not have"):
                load_into(
                    backbone,
                    {**state, foreign: torch.empty(1)},
                    path=PATH,
                    unused=unused,
                    complete=True,
                )


def test_prefixes_are_renamed_and_nothing_else() -> None:
    tensors = {"conv1.0.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.ones(1)}
    found = renamed(tensors, {"conv1.": "layer0.0.", "bn1.": "layer0.1."})
    assert list(found) == ["layer0.0.0.weight", "layer1.0.conv1.weight"]
    assert found["layer1.0.conv1.weight"] is tensors["layer1.0.conv1.weight"]


def test_a_networks_own_checkpoint_can_be_read_by_safetensors_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors", network("ssp").state_dict(), CARD)
    same_tensors(load_file(tmp_path / "a.safetensors"), network("ssp").state_dict())
