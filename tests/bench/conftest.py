"""Weights for the mini suite that are seeded instead of trained, and runs that take seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.evaluation.runner import Outcome, Runner
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.canonical import file_sha256
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.registry.name_grammar import parse
from cdfss_bench.methods.weights.card import WeightsCard
from cdfss_bench.methods.weights.checkpoints import write_checkpoint
from cdfss_bench.methods.weights.search import trained_name


@pytest.fixture(scope="session")
def seeded_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a seeded resnet-mini and a seeded HSNet head on it."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone("resnet-mini")
        composition = parse("hsnet").with_defaults({"hsnet": {"widths": "8-16-32"}})
        network = build(composition, backbone="resnet-mini")
    path = folder / "resnet-mini.safetensors"
    card = WeightsCard(trained_as="backbone", backbone="resnet-mini", selection="last")
    write_checkpoint(path, backbone.state_dict(), card)
    head = {k: v for k, v in network.state_dict().items() if k.startswith("hpn_learner.")}
    # Half of the pixels shall be foreground: otherwise every mask is empty and nothing is tested.
    head["hpn_learner.decoder2.2.bias"] = torch.tensor([0.0, 0.02])
    trained = WeightsCard(
        trained_as=trained_name(composition),
        backbone="resnet-mini",
        selection="last",
        base=file_sha256(path),
        source={"domain": "seeded"},
    )
    write_checkpoint(folder / "hsnet-resnet-mini.safetensors", head, trained)
    return folder


@pytest.fixture
def run_mini(seeded_weights: Path, tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Runs a selection of the mini suite with the seeded weights."""

    def run(results: Path | None = None, **selected: object) -> list[Outcome]:
        values = {"suite": "mini", "weights_dirs": (seeded_weights,), "episodes": 6, **selected}
        selection = Selection.model_validate(values)
        runner = Runner(results or tmp_path / "results", with_cost=False)
        return list(runner.run(plan(selection)))

    return run
