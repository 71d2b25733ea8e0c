"""Pretraining of the mini suite's backbones: what is asked of which stages, and by which recipe."""

import pytest
import torch

from cdfss_bench.bench.training.pretrain import (
    Pretraining,
    Probe,
    objective_of,
    optimizer_of,
    recipe_for,
)
from cdfss_bench.methods.backbones.card import build_backbone


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet-mini", ("layer2", "layer3", "layer4")),
        ("vit-mini", ("blocks.2", "blocks.5")),
        ("convnext-mini", ("stages.1", "stages.2", "stages.3")),
    ],
)
def test_linear_heads_ask_the_deep_stages_and_train_the_whole_backbone(
    name: str, stages: tuple[str, ...]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        probe = Probe(build_backbone(name), classes=3)
    assert probe.stages == stages
    rng = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, 64, 64), generator=rng)
    labels = torch.randint(4, (2, 64, 64), generator=rng)
    labels[:, :20] = 255
    loss = probe.loss(images, labels, rng)
    loss.backward()
    assert 0.5 < float(loss.detach()) < 5
    assert all(p.grad is not None and bool(p.grad.any()) for p in probe.parameters())


@pytest.mark.parametrize("name", ["vit-mini", "convnext-mini", "sam-mini"])
def test_what_normalises_layers_is_pretrained_with_adamw(name: str) -> None:
    assert recipe_for("resnet-mini") == Pretraining()
    recipe = recipe_for(name)
    with torch.random.fork_rng(devices=[]):
        probe = objective_of(build_backbone(name), classes=3)
    optimizer = optimizer_of(probe, recipe)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["lr"] == recipe.lr
    assert isinstance(optimizer_of(probe, Pretraining()), torch.optim.SGD)
