"""Kept features of a frozen backbone: the same features, each computed once, within the budget."""

from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.training.frozen_features import FrozenFeatures
from cdfss_bench.bench.training.trainer import initialised
from cdfss_bench.errors import UserError

from ...support.trainings import job_of, trained, written


@pytest.mark.parametrize("method", ["hsnet", "patnet"])
def test_features_are_those_of_the_network_and_each_image_is_computed_once(
    method: str, tmp_path: Path
) -> None:
    network = initialised(job_of(tmp_path, method)[0])
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = network.features(images)
    kept = FrozenFeatures(network, 2**30, "cpu")
    with kept.in_place():
        first, again = network.features(images), network.features(images.flip(0))
    assert (kept.found, kept.asked) == (3, 6)
    for name, tensor in expected.tensors.items():
        torch.testing.assert_close(first.tensors[name], tensor, rtol=1e-3, atol=1e-4)
        assert torch.equal(again.tensors[name], first.tensors[name].flip(0))
    assert "features" not in vars(network)


def test_no_more_is_kept_than_the_budget(tmp_path: Path) -> None:
    network = initialised(job_of(tmp_path, "hsnet")[0])
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    kept = FrozenFeatures(network, network.features(images[:2]).nbytes, "cpu")
    kept(images)
    assert kept.left == 0
    kept(images)
    assert (kept.found, kept.asked) == (2, 6)


def test_the_budget_changes_no_weight_and_the_loss_is_that_of_the_plain_form(
    tmp_path: Path,
) -> None:
    none, losses = trained(tmp_path / "none", "hsnet", memory=0)
    whole, _ = trained(tmp_path / "all", "hsnet", 2**30, memory=1)
    _, plain = trained(tmp_path / "plain", "hsnet")
    assert none.read_bytes() == whole.read_bytes()
    assert losses == pytest.approx(plain, rel=1e-3)
    _, card = written(whole)
    assert card.deviations["folded"] == (None, True)


def test_features_that_are_trained_are_refused(tmp_path: Path) -> None:
    network = initialised(job_of(tmp_path, "hsnet", freeze=["none"])[0])
    with pytest.raises(UserError, match="depend on what is trained"):
        FrozenFeatures(network, 0, "cpu")(torch.zeros(1, 3, 64, 64))
