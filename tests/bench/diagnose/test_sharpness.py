"""Noise: a stage that was made sharp without changing the function must be found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.diagnose.finding import Finding, NotApplicable
from cdfss_bench.bench.diagnose.perturbing import filter_direction, moved, noised, noisy_stage
from cdfss_bench.bench.diagnose.probing import probed
from cdfss_bench.bench.diagnose.running import carried_out
from cdfss_bench.bench.diagnose.sharpness import OPTIONS, diagnose, radii_of
from cdfss_bench.bench.diagnose.subject import Subject
from cdfss_bench.errors import UserError
from cdfss_bench.methods.backbones.base import EditStage, StageMaps
from cdfss_bench.methods.core.method import Method

from .test_finding import mini


def sharpen(network: Method, stage: int, factor: float) -> None:
    """Between `stage` and the next, channels are shown as their common part plus small differences.

    What the next stage computes from clean features is the same; noise in units of a channel's
    standard deviation is `factor` times as large for it.
    """
    plain: Any = type(network.backbone)

    def walk(self: Any, images: Tensor, edit: EditStage | None = None) -> Iterator[StageMaps]:
        def shown(index: int, output: Tensor) -> Tensor:
            if edit is None:
                return output
            if index != stage:
                return edit(index, output)
            common = factor * output.mean(1, keepdim=True)
            return edit(index, output + common) - common

        return plain.walk(self, images, shown)

    network.backbone.__class__ = type("Sharpened", (plain,), {"walk": walk})


def found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, planted: int | None = None
) -> Finding:
    options = {name: option.default for name, option in OPTIONS.items()}
    options |= {"radii": "0.3", "points": 3, "grid": 3, "grid-episodes": 1}
    selection = mini(domains=("mini-objects",), episodes=10, seeds=(0,))
    subject = Subject(selection, tmp_path, options=options)
    network = subject.network()
    if planted is not None:
        sharpen(network, planted, factor=100.0)
    monkeypatch.setattr(subject, "network", lambda _name=None: network)
    monkeypatch.setattr(subject, "variants", lambda: {"without LEM": "ssp"})
    return diagnose(subject)


@pytest.mark.parametrize(("stage", "name"), [(0, "stem"), (1, "layer1")])
def test_a_stage_that_was_sharpened_is_found(
    stage: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = found(tmp_path, monkeypatch, planted=stage)
    assert f"costs most in stage {name}" in finding.sentences[0]
    assert f"sharpest in {name}, a shallow stage" in finding.sentences[1]
    assert "significantly more than in" in finding.sentences[1]
    assert "not significantly" not in finding.sentences[1]


def test_without_it_no_shallow_stage_is_called_sharp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = found(tmp_path, monkeypatch)
    assert (
        "shallow stage" not in finding.sentences[1] or "not significantly" in finding.sentences[1]
    )
    assert "There is nothing to compare LEM with" in finding.sentences[2]
    landscape = finding.tables["landscape"]
    assert landscape.groupby("domain").size().to_dict() == {"mini-objects": 9, "mini-source": 9}


def test_sharpening_leaves_the_function_alone(tmp_path: Path) -> None:
    subject = Subject(mini(domains=("mini-chest",), episodes=2), tmp_path)
    network = subject.network()
    (domain,) = subject.targets
    before = probed(network, domain, subject.episodes(domain), "cpu")
    sharpen(network, 0, factor=100.0)
    after = probed(network, domain, subject.episodes(domain), "cpu")
    np.testing.assert_allclose(after.losses, before.losses, rtol=1e-3)


@pytest.mark.parametrize("method", ["ssp", "hsnet", "ssp+apm-m[steps=2]"])
def test_probing_counts_as_the_evaluator_does(method: str, tmp_path: Path) -> None:
    subject = Subject(mini(method, domains=("mini-landcover",), episodes=3), tmp_path)
    (domain,) = subject.targets
    network, episodes = subject.network(), subject.episodes(domain)
    probe = probed(network, domain, episodes, "cpu")
    if network.adaptation == "none":
        assert list(probe.rows) == subject.rows(network, domain, episodes)
    assert (probe.losses > 0).all()
    again = probed(network, domain, episodes[1:], "cpu")
    assert again.losses.tolist() == probe.losses[1:].tolist()


def test_noise_is_gone_afterwards_and_belongs_to_the_image(tmp_path: Path) -> None:
    subject = Subject(mini("hsnet", domains=("mini-chest",), episodes=2), tmp_path)
    network = subject.network()
    images = subject.images(subject.targets[0], 2)
    with torch.no_grad():
        clean = network.encode(images).tensors
        with noisy_stage(network, 3, 0.5, seed=0):
            noisy = network.encode(images).tensors
            alone = network.encode(images[1:]).tensors
        after = network.encode(images).tensors
    early, late = sorted(clean)[0], sorted(clean)[-1]
    assert torch.equal(clean[early], noisy[early])
    assert not torch.equal(clean[late], noisy[late])
    assert torch.equal(noisy[late][1:], alone[late])
    assert all(torch.equal(clean[name], after[name]) for name in clean)


def test_noise_is_measured_in_the_channels_own_deviations() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 2, 64, 64, generator=rng) * torch.tensor([1.0, 50.0])[None, :, None, None]
    change = noised(maps, 0.2, [torch.Generator().manual_seed(1)]) - maps
    relative = change.std((2, 3)) / maps.std((2, 3))
    assert relative[0].tolist() == pytest.approx([0.2, 0.2], rel=0.05)


def test_weight_noise_has_each_filters_norm_and_can_be_taken_back(tmp_path: Path) -> None:
    network = Subject(mini(), tmp_path).network()
    parameters = list(network.backbone.parameters())
    kept = [parameter.detach().clone() for parameter in parameters]
    steps = filter_direction(parameters, torch.Generator().manual_seed(0))
    for parameter, step in zip(kept, steps, strict=True):
        if parameter.ndim < 2:
            assert not step.any()
        else:
            norms = [t.flatten(1).norm(dim=1) for t in (step, parameter)]
            torch.testing.assert_close(*norms)
    with moved(parameters, [0.1 * step for step in steps]):
        assert not torch.equal(parameters[0], kept[0])
    assert all(torch.equal(p, k) for p, k in zip(parameters, kept, strict=True))


def test_radii_are_numbers() -> None:
    assert radii_of("0.4-0.1") == (0.1, 0.4)
    for text in ("", "a", "0-1", "inf"):
        with pytest.raises(UserError, match="radii"):
            radii_of(text)


def test_a_host_that_is_not_walked_by_stages_is_refused(tmp_path: Path) -> None:
    selection = mini("fptrans", domains=("mini-chest",), episodes=1, seeds=(0,))
    with pytest.raises(NotApplicable, match="does not reach the predictions of fptrans"):
        carried_out("sharpness", selection, tmp_path)
