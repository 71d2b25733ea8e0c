"""Training with kept outputs of frozen stages: the same losses and gradients up to rounding."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.bench.training import frozen_stages
from cdfss_bench.bench.training.conduct import Conduct
from cdfss_bench.bench.training.frozen_stages import FrozenStages
from cdfss_bench.bench.training.shared_cosines import SharedCosines
from cdfss_bench.bench.training.trainer import initialised, train
from cdfss_bench.errors import UserError
from cdfss_bench.methods.conformance.probe import episodes
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast import trained as fast_trained
from cdfss_bench.methods.fast import trained_spectra
from cdfss_bench.methods.fast.trained_spectra import wide_convolutions
from cdfss_bench.methods.fast.trained_tiles import tiled_convolution
from cdfss_bench.methods.hosts.dra import DRA

from ...support.trainings import job_of, trained, written


def gradients(network: Method) -> tuple[float, dict[str, torch.Tensor]]:
    drawn = episodes(2, 1, 64)
    rng = torch.Generator().manual_seed(0)
    dtype = next(network.parameters()).dtype
    query, support = drawn.query_images.to(dtype), drawn.support_images.to(dtype)
    batch = EpisodeBatch(query, drawn.query_masks, support, drawn.support_masks, rng)
    network.zero_grad(set_to_none=True)
    loss = network.loss(batch)
    loss.backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("ssp", {}),
        ("ssp+lem", {}),
        ("ssp+lem[stage=2]", {}),
        ("ssp+lem[stage=3]", {}),
        ("ssp", {"freeze": ["1"]}),
        ("ssp", {"freeze": ["1-3"]}),
        ("ssp", {"freeze": ["none"]}),
        ("ifa", {}),
        ("dra", {}),
    ],
)
def test_losses_and_gradients_are_the_plain_ones_and_each_image_is_computed_once(
    method: str, changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_spectra, "_WIDE", 3)
    monkeypatch.setattr(trained_spectra, "_MANY", 1)
    network = initialised(job_of(tmp_path, method, **changed)[0])
    if isinstance(network, DRA):
        assert len(wide_convolutions(network)) == 9
        network.begin_round(1, batch=2, rng=torch.Generator().manual_seed(0))
    compare(network)


def test_losses_and_gradients_of_large_maps_are_the_plain_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled: list[torch.Size] = []

    def seen(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        tiled.append(x.shape)
        return tiled_convolution(x, weight, bias, dilation)

    monkeypatch.setattr(frozen_stages, "_LARGE", 0)
    monkeypatch.setattr(fast_trained, "_TILED", 0)
    monkeypatch.setattr(fast_trained, "tiled_convolution", seen)
    compare(initialised(job_of(tmp_path, "ssp+lem")[0]))
    assert tiled


def test_large_maps_that_a_plugin_changed_lie_channels_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_stages, "_LARGE", 0)
    kept = FrozenStages(initialised(job_of(tmp_path, "ssp")[0]), 2**30, "cpu")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    walk = kept.walk(images, lambda index, maps: (1 + maps).contiguous() if not index else maps)
    for maps in walk:
        assert maps.output.is_contiguous(memory_format=torch.channels_last)


def compare(network: Method) -> None:
    network.double()  # in single precision a rounding can carry a position over a threshold
    loss, expected = gradients(network)
    kept = FrozenStages(network, 2**30, "cpu")
    for known in (0, 4):
        with kept.in_place():
            fast, found = gradients(network)
        assert kept.found == (known if kept.count else 0)
        assert fast == pytest.approx(loss, rel=1e-9)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)
    assert "walk" not in vars(network.backbone)


def test_no_more_is_kept_than_the_budget(tmp_path: Path) -> None:
    network = initialised(job_of(tmp_path, "ssp")[0])
    kept = FrozenStages(network, 2**30, "cpu")
    list(kept.walk(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))))
    one = 2**30 - kept.left
    kept = FrozenStages(network, 2 * one, "cpu")
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    list(kept.walk(images))
    list(kept.walk(images))
    assert (kept.left, kept.found, kept.asked) == (0, 2, 6)


def test_the_budget_changes_no_weight_and_the_losses_are_the_plain_ones(tmp_path: Path) -> None:
    none, losses = trained(tmp_path / "none", "ssp+lem", memory=0)
    whole, _ = trained(tmp_path / "all", "ssp+lem", 2**30, memory=1)
    _, plain = trained(tmp_path / "plain", "ssp+lem")
    assert none.read_bytes() == whole.read_bytes()
    assert len(losses) == 6
    assert losses[:2] == pytest.approx(plain[:2], rel=1e-5)
    # Later a rounding may carry a position over a threshold of the self-support.
    assert losses == pytest.approx(plain, rel=1e-2)
    _, card = written(whole)
    assert card.deviations["folded"] == (None, True)


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(step: Any) -> None:
        if step.number == 3:
            raise Stopped

    whole, first = job_of(tmp_path / "whole", "ssp", memory=1)
    train(whole, first, Conduct(memory=2**30))
    parts, second = job_of(tmp_path / "parts", "ssp", memory=1)
    with pytest.raises(Stopped):
        train(parts, second, Conduct(memory=2**30, save_every=2, listener=stop))
    train(parts, second, Conduct(memory=2**30, save_every=2))
    assert second.read_bytes() == first.read_bytes()


def test_features_inside_a_frozen_stage_are_refused(tmp_path: Path) -> None:
    network = initialised(job_of(tmp_path, "hsnet", freeze=["1-3"])[0])
    with (
        pytest.raises(UserError, match="features inside the frozen layer2 are read"),
        FrozenStages(network, 0, "cpu").in_place(),
    ):
        gradients(network)


@pytest.mark.parametrize(("method", "freeze"), [("hsnet", "none"), ("ssp-vit", "1")])
def test_a_backbone_without_frozen_convolutions_is_refused(
    method: str, freeze: str, tmp_path: Path
) -> None:
    network = initialised(job_of(tmp_path, method, freeze=[freeze])[0])
    with pytest.raises(UserError, match="has none"):
        FrozenStages(network, 0, "cpu")


def test_shared_cosines_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 4, 3, generator=generator)
    maps[0, :, 0, 0] = 0
    for shape in ((2, 5, 1, 1), (2, 5, 4, 3), (1, 5, 1, 1)):
        others = torch.randn(shape, generator=generator)
        expected = F.cosine_similarity(maps, others, dim=1)
        with SharedCosines():
            torch.testing.assert_close(F.cosine_similarity(maps, others, dim=1), expected)
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(F.cosine_similarity(maps, others, dim=1), expected)
