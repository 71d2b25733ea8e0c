"""Which weights a method runs with, what is refused, and how published ones are fetched."""

import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.card import BACKBONES, BackboneCard, Pretrained, build_backbone
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights import fetch as fetching
from cdfss_bench.methods.weights import resolve, search
from cdfss_bench.methods.weights.card import WeightsCard, read_card
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint, write_checkpoint
from cdfss_bench.methods.weights.fetch import fetch_pretrained
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import Weights, pretrained_for, resolve_weights
from cdfss_bench.methods.weights.search import (
    PACKAGED,
    default_folders,
    find_pretrained,
    is_toy,
    trained_in,
    trained_name,
    training_needs,
)

from ...support.contract import built, composition, episodes, network, same_tensors, seeded

MINI = "resnet-mini"


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, empty at first, in the place of the packaged weights."""
    folder = tmp_path / "packaged"
    folder.mkdir()
    monkeypatch.setattr(search, "PACKAGED", folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def put_backbone(folder: Path, name: str = MINI, *, shift: float = 0.0) -> Path:
    """Seeded weights of the small backbone under the first file name of a backbone's card."""
    prefix = "backbone."
    state = {
        key.removeprefix(prefix): value + shift if value.is_floating_point() else value
        for key, value in network("hsnet").state_dict().items()
        if key.startswith(prefix)
    }
    path = folder / BACKBONES.card(name).pretrained[0].files[0]
    save_file(state, path)
    return path


def put_trained(
    folder: Path,
    method: str = "hsnet",
    *,
    file: str = "trained.safetensors",
    on: str = MINI,
    base: Path | None = None,
    whole: bool = False,
    **described: Any,
) -> Path:
    """A checkpoint of the seeded method: what is not the backbone's, or everything."""
    state = network(method).state_dict()
    if not whole:
        state = {k: v for k, v in state.items() if not k.startswith("backbone.")}
    values: dict[str, Any] = {
        "trained_as": trained_name(composition(method)),
        "backbone": on,
        "selection": "last",
        "base": file_sha256(base) if base else "",
    }
    card = WeightsCard(**{**values, **described})
    path = folder / file
    write_checkpoint(path, state, card)
    return path


def resolved(method: str, folders: list[Path], *, on_mini: bool = True, **options: Any) -> Weights:
    return resolve_weights(composition(method), folders=folders, on_mini=on_mini, **options)


def refused(method: str, folders: list[Path], **options: Any) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        resolved(method, folders, **options)
    return caught.value


# -- what counts as the same training --------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("ssp", "ssp"),
        ("ssp+lcm", "ssp"),
        ("loec", "ssp+lem"),
        ("loec[lcm.k=5]@shuffled-support", "ssp+lem"),
        ("ssp+lcm+lem[stage=2]", "ssp+lem[stage=2]"),
        ("ssp[refine=false]+lcm", "ssp[refine=false]"),
        ("hsnet+lcm[w=1]", "hsnet"),
        ("apm-m", "hsnet"),
        ("patnet+tfi[lr=5e-5]", "patnet"),
        ("ssp+lem+lcm[auto]", "ssp+lem"),
        ("ssp+lem[sigma=auto]+lcm", "ssp+lem[sigma=auto]"),
        ("ifa[steps=3,lr=0.01,views=2]+lcm", "ifa"),
        ("dra[kernel=3]", "dra[kernel=3]"),
    ],
)
def test_plug_ins_that_do_not_train_are_left_out_of_the_trained_name(
    method: str, name: str
) -> None:
    assert trained_name(parse(method)) == name


# -- finding pretrained backbones ------------------------------------------------------------------


def test_the_first_folder_that_has_a_file_wins(tmp_path: Path, packaged: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    places = [tmp_path / "nowhere", first, second]
    for place in (packaged, second, first):
        place.mkdir(exist_ok=True)
        put_backbone(place)
        assert resolved("ssp", places).pretrained == place / "resnet-mini.safetensors"


def test_files_of_one_folder_are_taken_in_the_cards_order(folder: Path) -> None:
    entries = BACKBONES.card("resnet50-deep").pretrained
    names = [file for entry in entries for file in entry.files]
    assert len(names) >= 3
    for name in reversed(names):
        (folder / name).touch()
        found = find_pretrained("resnet50-deep", [folder])
        assert found is not None
        assert found[0] == folder / name
        assert name in found[1].files


def test_the_first_backbone_of_the_card_whose_weights_are_at_hand_is_taken(folder: Path) -> None:
    order = parse("ssp").host.card.backbones
    for name in reversed(order):
        put_backbone(folder, name)
        if not is_toy(name):
            assert resolved("ssp", [folder], on_mini=False).backbone == name


def test_a_backbone_that_was_named_is_taken(folder: Path) -> None:
    put_backbone(folder, "resnet50")
    put_backbone(folder)
    assert resolved("ssp", [folder], on_mini=False).backbone == "resnet50"
    assert resolved("ssp", [folder], on_mini=False, backbone=MINI).backbone == MINI
    assert resolved("ssp", [folder]).backbone == MINI
    assert resolved("ssp", [folder], backbone="resnet50").backbone == "resnet50"


def test_the_packaged_weights_are_those_of_the_mini_suite(packaged: Path) -> None:
    base = put_backbone(packaged)
    trained = put_trained(packaged, base=base, source={"domain": "mini-source"})
    found = resolved("hsnet", [])
    assert (found.backbone, found.pretrained, found.checkpoint) == (MINI, base, trained)
    assert found.description == "trained on mini-source"
    assert resolved("ssp", []).description == "mini-source only"
    assert PACKAGED.parent == Path(search.__file__).parents[1]


def test_a_training_that_began_from_nothing_says_so(packaged: Path) -> None:
    base = put_backbone(packaged)
    deviations = {"init": ("ssp", ""), "lr": (0.1, 0.2), "sam": (0.0, 0.05)}
    put_trained(packaged, base=base, source={"domain": "pascal"}, deviations=deviations)
    assert resolved("hsnet", []).description == "trained on pascal (init none, lr 0.2)"


def test_a_control_without_a_backbone_needs_no_weights() -> None:
    found = resolve_weights(parse("all-foreground"), folders=[])
    assert found == Weights("", None, None, None, None)
    assert (found.description, found.selection) == ("none", "none")
    load_weights(build("all-foreground"), found)


# -- finding trained weights -----------------------------------------------------------------------


def test_a_method_without_a_head_runs_on_its_backbone_alone(folder: Path) -> None:
    put_backbone(folder)
    found = resolved("ssp", [folder])
    assert found.checkpoint is None
    assert found.card is None
    assert found.selection == "none"


def test_a_checkpoint_trained_as_the_composition_is_found(folder: Path) -> None:
    base = put_backbone(folder)
    path = put_trained(folder, base=base, selection="source-val")
    for method in ("hsnet", "hsnet+lcm", "hsnet@shuffled-support"):
        found = resolved(method, [folder])
        assert found.checkpoint == path
        assert found.selection == "source-val"
        assert found.card is not None
        assert found.card.base == file_sha256(base)


def test_a_checkpoint_of_another_training_or_another_backbone_is_not_found(folder: Path) -> None:
    put_backbone(folder)
    put_trained(folder, "ssp", file="a.safetensors", whole=True, trained_as="ssp+lem")
    put_trained(folder, "ssp", file="b.safetensors", whole=True, on="resnet50")
    assert resolved("ssp", [folder], backbone=MINI).checkpoint is None
    assert resolved("loec", [folder], backbone=MINI).checkpoint == folder / "a.safetensors"


def test_a_whole_checkpoint_needs_no_backbone_file(folder: Path) -> None:
    put_trained(folder, "hsnet", file="b.safetensors", whole=True, on="resnet50")
    found = resolved("hsnet", [folder], on_mini=False)
    assert (found.backbone, found.pretrained) == ("resnet50", None)
    assert found.checkpoint == folder / "b.safetensors"


def test_a_backbone_without_a_trained_head_gives_way_to_one_with_it(folder: Path) -> None:
    put_backbone(folder, "resnet50")
    put_backbone(folder, "resnet101")
    put_trained(folder, on="resnet101")
    assert resolved("hsnet", [folder], on_mini=False).backbone == "resnet101"


def test_a_trained_file_in_an_earlier_folder_wins(tmp_path: Path, packaged: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    put_backbone(packaged)
    put_trained(packaged)
    assert resolved("hsnet", [first]).checkpoint == packaged / "trained.safetensors"
    put_trained(first)
    assert resolved("hsnet", [first]).checkpoint == first / "trained.safetensors"


def test_two_candidates_in_one_folder_are_refused_by_name(folder: Path) -> None:
    put_backbone(folder)
    put_trained(folder, file="b.safetensors")
    put_trained(folder, file="a.safetensors")
    error = refused("hsnet", [folder])
    name = trained_name(composition("hsnet"))
    assert error.problem == (
        f"{folder} holds several weights of {name} on {MINI}: a.safetensors and b.safetensors"
    )
    assert error.hint == "name one with --weights FILE"
    chosen = resolved("hsnet", [folder], checkpoint=folder / "b.safetensors")
    assert chosen.checkpoint == folder / "b.safetensors"


def test_every_file_of_ours_is_listed_with_its_card(folder: Path, packaged: Path) -> None:
    put_backbone(folder)
    first, second = put_trained(folder), put_trained(packaged, seed=3)
    found = dict(trained_in([folder]))
    assert list(found) == [first, second]
    assert found[second].seed == 3


# -- what was made for the mini suite --------------------------------------------------------------

TOYS = {"resnet-mini", "vit-mini", "convnext-mini", "sam-mini"}


def test_the_small_backbones_are_those_of_the_mini_suite() -> None:
    assert {name for name in BACKBONES.names() if is_toy(name)} == TOYS


@pytest.mark.parametrize("method", ["hsnet", "apseg"])
def test_a_method_that_must_be_trained_asks_for_both_files(packaged: Path, method: str) -> None:
    error = refused(method, [], on_mini=False)
    trunk, name = parse(method).host.card.backbones[0], trained_name(composition(method))
    assert error.problem.startswith("no pretrained weights of ")
    assert error.problem.endswith(f"and none that were trained as {name}")
    assert (error.hint or "").startswith(
        f"cdfss-bench weights fetch {trunk}, then cdfss-bench train -m '{name}' "
        f"--backbone {trunk}, or name their folder"
    )
    # What a training lacks is the backbone's file alone.
    with pytest.raises(WeightsError) as caught:
        pretrained_for(parse(method), backbone=None, folders=[])
    assert "trained as" not in caught.value.problem
    assert "then" not in (caught.value.hint or "")
    put_trained(packaged, method, on=trunk, base=put_backbone(packaged))
    assert "trained as" not in refused(method, [], on_mini=False).problem


@pytest.mark.parametrize("method", ["ssp", "hsnet", "prototype", "loec", "ssp@shuffled-support"])
def test_packaged_weights_are_not_chosen_for_other_data(packaged: Path, method: str) -> None:
    base = put_backbone(packaged)
    put_trained(packaged, base=base, source={"domain": "mini-source"})
    assert resolved(method, []).backbone == MINI
    error = refused(method, [], on_mini=False)
    assert error.problem.startswith("no pretrained weights of resnet50")
    assert MINI not in error.problem
    hint = error.hint or ""
    assert hint.startswith("cdfss-bench weights fetch resnet50")
    assert hint.endswith("or --backbone resnet-mini for a trial with the toy backbone")
    trial = resolved(method, [], on_mini=False, backbone=MINI)
    assert trial.is_toy
    assert trial.backbone == MINI


def test_a_trial_is_offered_only_where_it_would_run(packaged: Path) -> None:
    put_backbone(packaged)
    assert "toy" not in (refused("hsnet", [], on_mini=False).hint or "")
    assert "toy" in (refused("ssp", [], on_mini=False).hint or "")
    with pytest.raises(WeightsError) as caught:
        pretrained_for(parse("hsnet"), backbone=None, folders=[])
    assert "--backbone resnet-mini for a trial" in (caught.value.hint or "")
    assert pretrained_for(parse("hsnet"), backbone=None, folders=[], on_mini=True).backbone == MINI
    assert pretrained_for(parse("hsnet"), backbone=MINI, folders=[]).backbone == MINI


def test_what_was_trained_on_the_mini_source_is_a_last_resort_where_its_backbone_is_named(
    folder: Path,
) -> None:
    put_backbone(folder, "resnet50")
    toy = {"domain": "mini-source"}
    trial = put_trained(folder, "ssp", file="a.safetensors", whole=True, on="resnet50", source=toy)
    found = resolved("ssp", [folder], on_mini=False)
    assert (found.checkpoint, found.is_toy) == (None, False)
    found = resolved("ssp", [folder], on_mini=False, backbone="resnet50")
    assert (found.checkpoint, found.is_toy) == (trial, True)
    named = resolved("ssp", [folder], on_mini=False, checkpoint=trial)
    assert (named.checkpoint, named.is_toy) == (trial, True)
    real = put_trained(
        folder, "ssp", file="b.safetensors", whole=True, on="resnet50", source={"domain": "pascal"}
    )
    for backbone in (None, "resnet50"):
        found = resolved("ssp", [folder], on_mini=False, backbone=backbone)
        assert (found.checkpoint, found.is_toy) == (real, False)


def test_a_large_backbone_pretrained_on_the_mini_source_says_so(folder: Path) -> None:
    path = folder / "resnet50.safetensors"
    card = WeightsCard(
        trained_as="backbone", backbone="resnet50", selection="last",
        source={"domain": "mini-source"},
    )  # fmt: skip
    write_checkpoint(path, {"conv1.weight": torch.zeros(1)}, card)
    assert "no pretrained weights" in refused("ssp", [folder], on_mini=False).problem
    found = resolved("ssp", [folder], on_mini=False, backbone="resnet50")
    assert (found.description, found.is_toy) == ("mini-source only", True)


def test_real_weights_run_on_the_mini_suite_where_they_are_named(folder: Path) -> None:
    put_backbone(folder)
    put_backbone(folder, "resnet50")
    path = put_trained(folder, "ssp", whole=True, on="resnet50", source={"domain": "pascal"})
    assert resolved("ssp", [folder]).backbone == MINI
    assert resolved("ssp", [folder], backbone="resnet50").checkpoint == path
    assert resolved("ssp", [folder], checkpoint=path).backbone == "resnet50"


# -- what weights are to a method ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("ssp", "not source-trained"),
        ("ssp+lcm", "not source-trained"),
        ("loec", "not source-trained"),
        ("loec@shuffled-support", "not source-trained"),
        ("ifa", "not source-trained"),
        ("prototype", "not needed"),
        ("prototype@shuffled-support", "not needed"),
        ("all-foreground", "not needed"),
    ],
)
def test_backbone_weights_alone_are_not_source_trained(
    folder: Path, method: str, kind: str
) -> None:
    put_backbone(folder)
    found = resolved(method, [folder])
    assert found.kind(composition(method)) == kind
    assert (kind in found.words(composition(method))) is (kind == "not source-trained")


@pytest.mark.parametrize(
    "method",
    ["hsnet", "hsnet+lcm", "hsnet@shuffled-support", "hsnet+finetune", "apm-s", "apm-init"],
)
def test_plug_ins_that_learn_at_test_leave_the_training_what_it_is(
    folder: Path, method: str
) -> None:
    base = put_backbone(folder)
    put_trained(folder, base=base, source={"domain": "pascal"}, episodes=24000)
    found = resolved(method, [folder])
    assert found.kind(composition(method)) == "source-trained"
    assert found.words(composition(method)) == (
        "source-trained on pascal, 24,000 episodes, the last weights"
    )


def test_a_plug_in_that_trains_is_not_trained_by_its_hosts_weights(folder: Path) -> None:
    base = put_backbone(folder)
    put_trained(folder, "ssp", base=base, selection="source-val", episodes=8)
    assert resolved("ssp+lcm", [folder]).kind(parse("ssp+lcm")) == "source-trained"
    assert resolved("loec", [folder]).kind(parse("loec")) == "not source-trained"
    assert resolved("ssp", [folder]).words(parse("ssp")).endswith("selected by source-val")


def test_foreign_and_converted_files_are_published_checkpoints(folder: Path) -> None:
    path = folder / "best.pth"
    torch.save(network("ssp").state_dict(), path)
    found = resolved("ssp", [folder], checkpoint=path)
    assert found.kind(parse("ssp")) == "published"
    assert found.words(parse("ssp")) == "published checkpoint best.pth, selection unknown"
    put_trained(folder, "ssp", whole=True, origin="best.pth (sha256 00)", selection="target-oracle")
    found = resolved("ssp", [folder])
    assert found.kind(parse("ssp")) == "published"
    assert found.words(parse("ssp")).startswith("published checkpoint best.pth (sha256 00)")


def test_a_pretrained_backbone_is_no_checkpoint_of_a_trained_method(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "resnet.pth"
    torch.save({**network("ssp").state_dict(), "fc.weight": torch.zeros(1000, 4)}, path)
    found = resolved("ssp", [folder], checkpoint=path)
    with pytest.raises(WeightsError, match="is a pretrained backbone and no weights of a trained"):
        loaded("ssp", found)
    card = BACKBONES.card(MINI)
    known = card.pretrained[0].model_copy(update={"sha256": file_sha256(path)[:8]})
    changed = card.model_copy(update={"pretrained": (known,)})
    monkeypatch.setattr(resolve, "BACKBONES", SimpleNamespace(card=lambda _name: changed))
    error = refused("ssp", [folder], checkpoint=path)
    assert "holds the pretrained weights of resnet-mini" in error.problem
    assert "--weights-dir" in (error.hint or "")


# -- naming a file ---------------------------------------------------------------------------------


def test_weights_of_another_method_are_refused(folder: Path) -> None:
    put_backbone(folder)
    path = put_trained(folder)
    assert refused("ssp", [folder], checkpoint=path).problem == (
        f"{path} was trained as {trained_name(composition('hsnet'))}, not as ssp"
    )


def test_weights_on_another_backbone_are_refused(folder: Path) -> None:
    put_backbone(folder)
    path = put_trained(folder)
    error = refused("hsnet", [folder], checkpoint=path, backbone="resnet50")
    assert error.problem == f"{path} was trained on {MINI}, not on resnet50"


def test_a_named_file_brings_its_backbone_with_it(folder: Path) -> None:
    put_backbone(folder, "resnet50")
    put_backbone(folder)
    path = put_trained(folder)
    found = resolved("hsnet", [folder], checkpoint=path)
    assert (found.backbone, found.checkpoint) == (MINI, path)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "nowhere.pt"])
def test_a_named_file_that_is_not_there_is_refused(folder: Path, name: str) -> None:
    put_backbone(folder)
    error = refused("hsnet", [folder], checkpoint=folder / name)
    assert error.problem == f"the weights file {folder / name} does not exist"


def test_a_file_of_somebody_else_is_of_unknown_selection(folder: Path) -> None:
    put_backbone(folder)
    torch.save(network("hsnet").state_dict(), folder / "best_model.pt")
    found = resolved("hsnet", [folder], checkpoint=folder / "best_model.pt", backbone=MINI)
    assert (found.card, found.selection) == (None, "unknown")
    assert found.description == "trained on unknown"


# -- when nothing fits -----------------------------------------------------------------------------


def test_a_head_without_weights_is_refused_with_the_command_that_trains_it(folder: Path) -> None:
    put_backbone(folder)
    error = refused("hsnet+lcm", [folder])
    name = trained_name(composition("hsnet"))
    assert error.problem == (
        f"{composition('hsnet+lcm')} has a part that must be trained, and no weights of {name} on "
        f"{MINI} are in {folder}"
    )
    train = f"cdfss-bench train -m '{name}' --backbone {MINI}, or --weights FILE"
    assert error.hint == f"{train}; lcm acts at test only and needs no training"
    assert refused("hsnet", [folder]).hint == train


def test_missing_pretrained_weights_are_refused_with_the_command_that_fetches_them(
    folder: Path,
) -> None:
    error = refused("ssp", [folder], backbone="resnet50")
    assert error.problem == f"no pretrained weights of resnet50 for ssp in {folder}"
    fetch = "cdfss-bench weights fetch resnet50, or name their folder with --weights-dir DIR"
    assert error.hint == fetch
    error = refused("ssp", [], backbone="resnet50-caffe")
    assert error.problem == "no pretrained weights of resnet50-caffe for ssp in no folder"
    assert (error.hint or "").startswith("put a file that `cdfss-bench weights list` names into")


def test_every_backbone_that_was_looked_for_is_named() -> None:
    sentence = refused("ssp", [], on_mini=False).problem
    for name in parse("ssp").host.card.backbones:
        assert (name in sentence.split()) is not is_toy(name)


def test_a_training_begins_with_the_first_pretrained_backbone(folder: Path) -> None:
    put_backbone(folder, "resnet50")
    put_backbone(folder)
    put_trained(folder)
    found = pretrained_for(parse("hsnet"), backbone=None, folders=[folder])
    assert (found.backbone, found.checkpoint) == ("resnet50", None)
    found = pretrained_for(parse("hsnet"), backbone=MINI, folders=[folder])
    assert found.backbone == MINI
    with pytest.raises(WeightsError, match="no pretrained weights of vgg16"):
        pretrained_for(parse("hsnet"), backbone="vgg16", folders=[folder])
    with pytest.raises(UserError, match="unknown backbone of hsnet: 'resnet50-deep'"):
        pretrained_for(parse("hsnet"), backbone="resnet50-deep", folders=[folder])


# -- loading ---------------------------------------------------------------------------------------


def loaded(method: str, found: Weights) -> Method:
    net = built(method)
    load_weights(net, found)
    return net


def test_backbone_and_head_are_put_together(folder: Path) -> None:
    base = put_backbone(folder)
    put_trained(folder, base=base)
    net = loaded("hsnet", resolved("hsnet", [folder]))
    same_tensors(net.state_dict(), network("hsnet").state_dict())
    given = episodes(1, 1, 64).inputs
    with torch.no_grad():
        assert torch.equal(net.logits(*given), network("hsnet").logits(*given))


def test_a_host_that_ends_at_layer3_takes_what_it_needs_of_a_whole_backbone(folder: Path) -> None:
    put_backbone(folder)
    net = loaded("ssp", resolved("ssp", [folder]))
    whole = network("hsnet").state_dict()
    same_tensors(net.state_dict(), {key: whole[f"backbone.{key}"] for key in net.state_dict()})


def test_a_backbone_up_to_layer3_serves_ssp_and_is_refused_for_hsnet(folder: Path) -> None:
    path = put_backbone(folder)
    state = read_checkpoint(path).tensors
    save_file({k: v for k, v in state.items() if not k.startswith("layer4.")}, path)
    loaded("ssp", resolved("ssp", [folder]))
    put_trained(folder, base=path)
    with pytest.raises(WeightsError) as caught:
        loaded("hsnet", resolved("hsnet", [folder]))
    assert caught.value.problem.startswith(
        f"{path} lacks 'layer4.0.conv1.weight', 'layer4.0.bn1.weight', 'layer4.0.bn1.bias' and "
    )


def test_a_head_trained_on_other_backbone_weights_is_refused(folder: Path) -> None:
    base = put_backbone(folder)
    trained = put_trained(folder, base=base)
    before = file_sha256(base)
    put_backbone(folder, shift=1.0)
    with pytest.raises(WeightsError, match="has a part that must be trained"):
        resolved("hsnet", [folder])
    with pytest.raises(WeightsError) as caught:
        loaded("hsnet", resolved("hsnet", [folder], checkpoint=trained))
    assert caught.value.problem == (
        f"{trained} was trained on top of other backbone weights than {base} "
        f"(sha256 {before[:12]}..., not {file_sha256(base)[:12]}...)"
    )
    assert caught.value.hint == "put the backbone file it was trained with into the weights folder"


def test_a_checkpoint_that_names_no_base_must_be_whole(folder: Path) -> None:
    put_backbone(folder, shift=1.0)
    put_trained(folder, whole=True)
    same_tensors(
        loaded("hsnet", resolved("hsnet", [folder])).state_dict(), network("hsnet").state_dict()
    )
    put_trained(folder)
    with pytest.raises(WeightsError, match=r"lacks 'backbone\.conv1\.weight'"):
        loaded("hsnet", resolved("hsnet", [folder]))


def test_a_foreign_file_must_hold_the_whole_network(folder: Path) -> None:
    put_backbone(folder, shift=1.0)
    state = {f"module.{k}": v for k, v in network("hsnet").state_dict().items()}
    path = folder / "best_model.pt"
    torch.save(state, path)
    chosen = resolved("hsnet", [folder], checkpoint=path, backbone=MINI)
    same_tensors(loaded("hsnet", chosen).state_dict(), network("hsnet").state_dict())
    torch.save({k: v for k, v in state.items() if "decoder2" not in k}, path)
    with pytest.raises(WeightsError, match=r"lacks 'hpn_learner\.decoder2\.0\.weight'"):
        loaded("hsnet", chosen)


def test_ssp_trained_on_top_of_a_backbone_changes_what_training_touched(folder: Path) -> None:
    base = put_backbone(folder)
    trunk = loaded("ssp", resolved("ssp", [folder])).state_dict()
    changed = {k: v + 1 for k, v in trunk.items() if k.startswith("layer3.") and v.ndim == 4}
    card = WeightsCard(trained_as="ssp", backbone=MINI, selection="last", base=file_sha256(base))
    write_checkpoint(folder / "trained.safetensors", changed, card)
    same_tensors(loaded("ssp", resolved("ssp", [folder])).state_dict(), {**trunk, **changed})


@pytest.mark.parametrize("file", ["gluon_resnet50_v1s-1762acc0.pth", "resnet50-deep.pth"])
def test_timms_layout_of_the_deep_stem_is_renamed_to_ssps(folder: Path, file: str) -> None:
    net = seeded(build("ssp"))
    published = {
        key.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): value
        for key, value in net.state_dict().items()
    }
    assert "conv1.6.weight" in published
    assert "bn1.running_var" in published
    unused = {"fc.weight": torch.zeros(1), "layer4.0.conv1.weight": torch.zeros(1)}
    torch.save({**published, **unused}, folder / file)
    other = build("ssp")
    load_weights(other, resolve_weights(parse("ssp"), folders=[folder]))
    same_tensors(other.state_dict(), net.state_dict())


FILES = sorted(PACKAGED.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_packaged_file_loads_into_what_its_card_says(path: Path) -> None:
    card = read_card(path)
    assert card is not None
    if card.trained_as == "backbone":
        backbone = build_backbone(card.backbone)
        load_into(backbone, read_checkpoint(path).tensors, path=path, complete=True)
    else:
        named = parse(card.trained_as)
        found = resolve_weights(named, checkpoint=path, folders=[PACKAGED])
        load_weights(build(named, backbone=found.backbone), found)


# -- where to look ---------------------------------------------------------------------------------


def test_the_weights_folders_are_those_of_the_environment_or_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CDFSS_WEIGHTS", os.pathsep.join(["/one", "", "/two"]))
    assert default_folders() == [Path("/one"), Path("/two")]
    monkeypatch.delenv("CDFSS_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folders() == [tmp_path / "cdfss-bench" / "weights"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folders() == [tmp_path / ".cache" / "cdfss-bench" / "weights"]


def test_what_train_wrote_here_is_looked_at_first_and_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDFSS_WEIGHTS", "/one")
    (tmp_path / "weights").mkdir()
    assert default_folders() == [Path("weights"), Path("/one")]
    monkeypatch.setenv("CDFSS_WEIGHTS", str(tmp_path / "weights"))
    assert default_folders() == [tmp_path / "weights"]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("ssp", ""),
        ("ssp[refine=false]", "ssp[refine=false] needs weights trained with it"),
        ("ssp[refine=true]", ""),
        ("ssp[size=64]", "ssp[size=64] acts at test only and needs no training"),
        (
            "ssp[refine=false,size=64]+lem[sigma=0.2]+lcm[k=2]",
            (
                "ssp[refine=false] and lem[sigma=0.2] need weights trained with them, "
                "ssp[size=64] and lcm[k=2] act at test only and need none"
            ),
        ),
    ],
)
def test_it_is_told_what_needs_weights_of_its_own(method: str, told: str) -> None:
    assert training_needs(parse(method)) == told


def test_missing_or_other_weights_name_the_option_that_needs_a_training(folder: Path) -> None:
    base = put_backbone(folder)
    path = put_trained(folder, base=base)
    error = refused("hsnet[widths=4-8-16]+lcm[k=2]", [folder])
    told = "hsnet[widths=4-8-16] needs weights trained with it, lcm[k=2] acts at test only"
    assert told in (error.hint or "")
    assert told in (refused("hsnet[widths=4-8-16]+lcm[k=2]", [], checkpoint=path).hint or "")


@pytest.mark.parametrize("name", BACKBONES.names())
def test_what_is_fetched_is_found_afterwards_and_its_hash_is_known_or_said_not_to_be(
    name: str,
) -> None:
    entries = BACKBONES.card(name).pretrained
    assert entries
    for entry in entries:
        assert entry.files
        if entry.url:
            file = entry.url.rpartition("/")[2]
            assert file in entry.files
            if not entry.sha256:
                assert "no sha256 of it is published" in entry.note
                continue
            assert len(entry.sha256) >= 8
            assert len(entry.sha256) == 64 or entry.sha256[:8] in file


# -- fetching --------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A local web server, and the folder whose files it sends."""

    address: str
    folder: Path


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path_factory.mktemp("published")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield Server(f"http://127.0.0.1:{httpd.server_address[1]}", folder)
        httpd.shutdown()
        thread.join()


CONTENT = b"weights" * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def publish(monkeypatch: pytest.MonkeyPatch, *entries: Pretrained) -> None:
    """Makes fetching see a backbone with these entries."""
    values = {"name": "net", "title": "Net", "class": "resnet:build", "stages": ("stem",)}
    card = BackboneCard.model_validate({**values, "pretrained": entries})
    monkeypatch.setattr(fetching, "BACKBONES", SimpleNamespace(card=lambda _name: card))


def entry(url: str, sha256: str = DIGEST[:8]) -> Pretrained:
    return Pretrained(files=("net.pth",), url=url, sha256=sha256)


def test_published_weights_are_fetched_into_a_new_folder(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (server.folder / "net.pth").write_bytes(CONTENT)
    publish(monkeypatch, Pretrained(files=("private.pth",)), entry(f"{server.address}/net.pth"))
    path = fetch_pretrained("net", tmp_path / "new" / "weights")
    assert path == tmp_path / "new" / "weights" / "net.pth"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["net.pth"]


def test_the_right_file_is_kept_and_a_wrong_one_replaced(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(monkeypatch, entry(f"{server.address}/net.pth"))
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert fetch_pretrained("net", tmp_path) == tmp_path / "net.pth"  # the server has none
    (server.folder / "net.pth").write_bytes(CONTENT)
    (tmp_path / "net.pth").write_bytes(b"half of it")
    assert fetch_pretrained("net", tmp_path).read_bytes() == CONTENT


def test_a_file_with_another_hash_is_refused_and_nothing_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (server.folder / "net.pth").write_bytes(CONTENT)
    publish(monkeypatch, entry(f"{server.address}/net.pth", "0" * 64))
    with pytest.raises(WeightsError) as caught:
        fetch_pretrained("net", tmp_path / "weights")
    sentence = f"what {server.address}/net.pth sent is not the published file"
    assert caught.value.problem.startswith(sentence)
    assert caught.value.hint == "try again later"
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_file_that_the_host_does_not_have_is_refused_with_the_address(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(monkeypatch, entry(f"{server.address}/net.pth"))
    with pytest.raises(WeightsError, match="404") as caught:
        fetch_pretrained("net", tmp_path)
    assert caught.value.problem.startswith(f"{server.address}/net.pth could not be downloaded (")
    assert list(tmp_path.glob("net.pth*")) == []


def test_a_host_that_cannot_be_reached_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    publish(monkeypatch, entry(f"{address}/net.pth"))
    with pytest.raises(WeightsError) as caught:
        fetch_pretrained("net", tmp_path)
    assert caught.value.problem.startswith(f"{address}/net.pth could not be downloaded (")
    assert caught.value.hint == f"download it elsewhere and put it into {tmp_path}"
    assert list(tmp_path.glob("net.pth*")) == []


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"what is this\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["nothing", "no HTTP", "half a chunk"],
)
def test_a_host_that_answers_nonsense_is_refused_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: bytes
) -> None:
    monkeypatch.setenv("no_proxy", "*")

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        publish(monkeypatch, entry(f"http://127.0.0.1:{listener.getsockname()[1]}/net.pth"))
        with pytest.raises(WeightsError, match="could not be downloaded"):
            fetch_pretrained("net", tmp_path / "weights")
        thread.join()
    assert list((tmp_path / "weights").iterdir()) == []


def test_weights_without_a_public_address_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(monkeypatch, Pretrained(files=("net.pth",)))
    with pytest.raises(WeightsError, match="the weights of net have no public address") as caught:
        fetch_pretrained("net", tmp_path)
    assert "cdfss-bench weights list" in (caught.value.hint or "")


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    publish(monkeypatch, entry("http://127.0.0.1:9/net.pth"))
    with pytest.raises(UserError, match="creating the weights folder"):
        fetch_pretrained("net", tmp_path / "file")


# -- the material beside the checkout --------------------------------------------------------------

CAFFE = "resnet50_caffe_l1-l3.safetensors"


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Tensor:
    """Some of VOC, normalised, [N, 3, 224, 224]."""
    paths = sorted((shared / "real" / "VOC2012" / "JPEGImages").glob("*.jpg"))[::40][:16]
    pictures = [np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in paths]
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.shared
def test_the_real_caffe_weights_are_found_and_load_into_ssp(
    shared: Path, photographs: Tensor
) -> None:
    found = resolve_weights(parse("ssp"), folders=[shared / "weights"])
    assert (found.backbone, found.pretrained) == ("resnet50-caffe", shared / "weights" / CAFFE)
    net = build("ssp", backbone=found.backbone)
    load_weights(net, found)
    with torch.no_grad():
        features = net.encode(photographs[:2]).tensors["layer3"]
    assert features.shape == (2, 1024, 28, 28)
    assert bool(features.isfinite().all())
    assert float(features.std()) > 0.1


@pytest.mark.shared
def test_the_statistics_of_real_photographs_are_those_that_the_real_caffe_weights_expect(
    shared: Path, photographs: Tensor
) -> None:
    backbone = build_backbone("resnet50-caffe", until="semantic")
    path = shared / "weights" / CAFFE
    tensors = read_checkpoint(path).tensors
    load_into(backbone, tensors, path=path, unused=backbone.unused_keys, complete=True)
    correlations: list[float] = []

    def compare(module: nn.Module, inputs: tuple[Tensor]) -> None:
        expected = module.get_buffer("running_var").log()
        pair = torch.stack((inputs[0].var((0, 2, 3)).log(), expected))
        correlations.append(float(torch.corrcoef(pair)[0, 1]))

    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.register_forward_pre_hook(compare)
    with torch.no_grad():
        backbone(photographs)
    assert len(correlations) == len(norms) == 43
    assert sum(correlations) / 43 > 0.9
    assert min(correlations) > 0.8


@pytest.mark.shared
def test_the_real_caffe_weights_end_too_early_for_hsnet(shared: Path, folder: Path) -> None:
    shutil.copy(shared / "weights" / CAFFE, folder / "resnet50.safetensors")
    base = folder / "resnet50.safetensors"
    put_trained(folder, on="resnet50", trained_as="hsnet", base=base)
    net = build("hsnet", backbone="resnet50")
    with pytest.raises(WeightsError) as caught:
        load_weights(net, resolve_weights(parse("hsnet"), folders=[folder]))
    assert f"{folder / 'resnet50.safetensors'} lacks 'layer4.0.conv1.weight'" in str(caught.value)


@pytest.mark.shared
def test_the_real_mobilenet_weights_load_into_hsnets_backbone(
    shared: Path, photographs: Tensor
) -> None:
    found = find_pretrained("mobilenet_v2", [shared / "weights"])
    assert found is not None
    assert found[0].name == "mobilenet_v2_features.safetensors"
    net = build("hsnet", backbone="mobilenet_v2")
    backbone = net.backbone
    tensors = read_checkpoint(found[0]).tensors
    load_into(backbone, tensors, path=found[0], unused=backbone.unused_keys, complete=True)
    with torch.no_grad():
        rows = net.encode(photographs[:2])
    for key, tensor in rows.tensors.items():
        assert bool(tensor.isfinite().all()), key
        assert float(tensor.std()) > 0.1, key
