"""Source training: what it starts from, what it writes, and what of it is on the record."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from cdfss_bench.bench.training.conduct import Conduct, Step
from cdfss_bench.bench.training.job import Job, reproduction
from cdfss_bench.bench.training.trainer import initialised, train
from cdfss_bench.canonical import file_sha256
from cdfss_bench.cards import validated
from cdfss_bench.datasets import open_domain
from cdfss_bench.errors import WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.hosts.dra import DRA
from cdfss_bench.methods.plugins.lem import LEM
from cdfss_bench.methods.registry.card import Recipe
from cdfss_bench.methods.registry.name_grammar import METHODS
from cdfss_bench.methods.weights.checkpoints import read_checkpoint
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import initial_for, pretrained_for, resolve_weights
from cdfss_bench.methods.weights.search import PACKAGED

MINI = "resnet-mini"


def job(name: str, *, init: Path | None = None, **changed: Any) -> Job:
    """Two episodes per step on the mini source, the card's recipe otherwise."""
    composition = parse(name).in_miniature()
    recipe = METHODS.card(composition.host.card.name).mini.recipe
    assert recipe is not None
    values = {**recipe.model_dump(), "batch": 2, "episodes": 4, **changed}
    weights = pretrained_for(composition, backbone=MINI, folders=())
    domain = open_domain("mini-source")
    return Job(composition, weights, domain, validated(Recipe, values, "test"), init=init)


SSP = PACKAGED / "ssp-resnet-mini.safetensors"


@pytest.fixture(scope="module")
def dra(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path, list[Step]]:
    """A short training of DR-Adapter: a step that looks, and one in each later round."""
    path = tmp_path_factory.mktemp("dra") / "dra.safetensors"
    given = job("dra", init=SSP, rounds=2)
    steps: list[Step] = []
    train(given, path, Conduct(listener=steps.append))
    return given, path, steps


def test_the_first_round_of_dra_looks_and_the_second_learns(
    dra: tuple[Job, Path, list[Step]],
) -> None:
    _, _, (first, second) = dra
    assert first.loss is None
    assert not first.terms
    assert second.loss is not None
    assert set(second.terms) == {"first", "query_self", "support_self", "style"}


def test_a_step_that_perturbs_nothing_changes_nothing_where_only_adapters_are_trained(
    tmp_path: Path,
) -> None:
    steps: list[Step] = []
    given = job("dra", init=SSP, rounds=1, freeze="all", episodes=16)
    train(given, tmp_path / "dra.safetensors", Conduct(listener=steps.append))
    perturbed = [step.terms["style"] > 0 for step in steps]
    assert any(perturbed)
    assert not all(perturbed)


def test_a_training_starts_from_the_checkpoint_that_it_names() -> None:
    trained = read_checkpoint(SSP).tensors
    state = initialised(job("dra", init=SSP)).state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.items())
    bare = initialised(job("dra")).state_dict()
    assert not all(torch.equal(bare[name], value) for name, value in trained.items())
    adapters = [name for name in state if name.startswith("DR_Adapter.")]
    assert all(torch.equal(state[name], bare[name]) for name in adapters)


def test_what_was_written_is_the_whole_network_and_its_card_says_where_it_began(
    dra: tuple[Job, Path, list[Step]],
) -> None:
    given, path, _ = dra
    checkpoint = read_checkpoint(path)
    assert checkpoint.card is not None
    assert checkpoint.card.init == file_sha256(SSP)
    assert checkpoint.card.recipe["init"] == "ssp"
    weights = resolve_weights(given.composition, backbone=MINI, folders=[path.parent])
    assert weights.checkpoint == path
    net = build(given.composition, backbone=MINI)
    load_weights(net, weights)
    assert isinstance(net, DRA)
    state = net.state_dict()
    adapters = {name for name in state if name.startswith("DR_Adapter.")}
    assert adapters <= set(checkpoint.tensors)
    assert all(torch.equal(state[name], value) for name, value in checkpoint.tensors.items())
    began = initialised(given).state_dict()
    changed = {name for name in adapters if not torch.equal(state[name], began[name])}
    assert changed == adapters
    # Normalisation learned and counted too.
    assert not torch.equal(state["bn1.running_mean"], began["bn1.running_mean"])


def test_what_training_leaves_alone_stands_in_the_backbones_file_only(tmp_path: Path) -> None:
    given = job("ssp", freeze="1-2")
    train(given, tmp_path / "ssp.safetensors")
    written = read_checkpoint(tmp_path / "ssp.safetensors").tensors
    assert written
    assert all(name.startswith(("layer2.", "layer3.")) for name in written)
    assert not any("bn" in name for name in written)


def test_a_checkpoint_that_is_not_there_is_named_with_the_command_that_makes_it(
    tmp_path: Path,
) -> None:
    weights = pretrained_for(parse("ssp"), backbone=MINI, folders=())
    with pytest.raises(WeightsError, match="starts from weights of ssp\\[refine=false\\]") as error:
        initial_for(parse("ssp[refine=false]"), weights, folders=[tmp_path])
    assert error.value.hint is not None
    assert "cdfss-bench train -m 'ssp[refine=false]' --backbone resnet-mini" in error.value.hint


def test_the_command_names_where_the_training_began_and_the_radius() -> None:
    given = job("dra", sam=0.05)
    words = shlex.split(reproduction(given))
    assert words[words.index("--init") + 1] == "ssp"
    assert words[words.index("--sam") + 1] == "0.05"
    words = shlex.split(
        reproduction(
            dataclasses.replace(given, recipe=given.recipe.model_copy(update={"init": ""}))
        )
    )
    assert words[words.index("--init") + 1] == "none"
    assert "--sam" not in shlex.split(reproduction(job("ssp")))
    assert "--init" not in shlex.split(reproduction(job("ssp")))


def test_sam_learns_something_else_and_is_not_taken_for_the_plain_weights(tmp_path: Path) -> None:
    plain, sharp = tmp_path / "plain.safetensors", tmp_path / "sharp.safetensors"
    train(job("ssp+lem"), plain)
    card = train(job("ssp+lem", sam=0.05), sharp)
    assert card.recipe["sam"] == 0.05
    one, other = read_checkpoint(plain).tensors, read_checkpoint(sharp).tensors
    assert one.keys() == other.keys()
    assert not any(torch.equal(one[name], other[name]) for name in one)
    found = resolve_weights(parse("ssp+lem"), backbone=MINI, folders=[tmp_path])
    assert found.checkpoint == plain
    named = resolve_weights(parse("ssp+lem"), checkpoint=sharp, folders=())
    assert named.description == "trained on mini-source with SAM 0.05 (batch 2, episodes 4)"


def test_both_passes_of_sam_see_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = job("ssp+lem", episodes=2, sam=0.05)
    seen: list[torch.Tensor] = []
    draw = LEM.draw

    def watched(self: LEM, channels: int, rng: torch.Generator) -> torch.Tensor:
        seen.append(draw(self, channels, rng))
        return seen[-1]

    monkeypatch.setattr(LEM, "draw", watched)
    train(given, tmp_path / "sharp.safetensors")
    first, second = seen
    assert torch.equal(first, second)


def test_ifa_is_trained_and_found_whatever_it_does_at_test(tmp_path: Path) -> None:
    steps: list[Step] = []
    train(job("ifa", episodes=2), tmp_path / "ifa.safetensors", Conduct(listener=steps.append))
    terms = ["refined", "first", "query_self", "support_self", "support_1"]
    assert [list(step.terms) for step in steps] == [terms]
    for name in ("ifa", "ifa[steps=3,lr=0.01]"):
        found = resolve_weights(parse(name), backbone=MINI, folders=[tmp_path])
        assert found.checkpoint == tmp_path / "ifa.safetensors"
    with pytest.raises(WeightsError, match="trained as ifa, not as ssp"):
        resolve_weights(parse("ssp"), checkpoint=tmp_path / "ifa.safetensors", folders=())
