"""Pretraining of the mini suite's backbones: what ImageNet is to ResNet-50, the source is to them.

Every pixel of the source is classified from the deepest stages by linear heads, which are thrown
away. A SAM learns instead to segment what it is prompted for (`prompting`). Pictures are mirrored,
shifted and zoomed, their colours are disturbed and sometimes taken away, so that edges and textures
count and no colour decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.canonical import file_sha256, seed_of
from cdfss_bench.datasets import Domain
from cdfss_bench.datasets.core.domain import Item
from cdfss_bench.datasets.core.transforms import IMAGE_MEAN, IMAGE_STD
from cdfss_bench.methods.backbones.base import Backbone
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.sam import SAM
from cdfss_bench.methods.weights.card import WeightsCard
from cdfss_bench.methods.weights.checkpoints import write_checkpoint

from ..records.code_hash import code_hash
from ..records.environment import packages
from .prompting import PromptedSegmentation

VOID = 255


@dataclass(frozen=True, slots=True)
class Pretraining:
    """The recipe.

    Attributes:
        epochs: passes over all pictures.
        batch: pictures per step.
        optimizer: `sgd` with momentum 0.9, or `adamw`, without which transformers hardly learn.
        lr: peak learning rate, one cosine down to zero.
        weight_decay: L2, decoupled with AdamW.
        seed: of everything drawn.
    """

    epochs: int = 100
    batch: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.05
    weight_decay: float = 5e-4
    seed: int = 0


def recipe_for(backbone: str) -> Pretraining:
    """How the mini suite pretrains the backbone of that name."""
    if backbone == "vit-mini":
        return Pretraining(epochs=60, optimizer="adamw", lr=1e-3, weight_decay=0.05)
    if backbone == "sam-mini":
        return Pretraining(epochs=10, batch=16, optimizer="adamw", lr=2e-3, weight_decay=0.05)
    if backbone == "convnext-mini":
        return Pretraining(epochs=50, optimizer="adamw", lr=2e-3, weight_decay=0.05)
    return Pretraining()


class Probe(nn.Module):
    """Linear classifiers on the stages of the pyramid, or of half and full depth without one."""

    def __init__(self, backbone: Backbone, classes: int):
        super().__init__()
        self.backbone = backbone
        deep = [backbone.stages[len(backbone.stages) // 2].name, backbone.semantic]
        self.stages = backbone.pyramid or tuple(deep)
        self.heads = nn.ModuleList(
            [nn.Conv2d(backbone.stage(name).channels, classes + 1, 1) for name in self.stages]
        )

    def loss(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Mean cross entropy over stages; [N, 3, H, W] and [N, H, W] with 255 ignored.

        Every fourth pixel of the truth is asked: the finest map is no finer. Nothing is drawn.
        """
        del rng
        total = images.new_zeros(())
        truth = labels[:, 2::4, 2::4]
        for maps in self.backbone.walk(images):
            if maps.stage.name in self.stages:
                logits = self.heads[self.stages.index(maps.stage.name)](maps.output)
                full = F.interpolate(logits, truth.shape[-2:], mode="bilinear", align_corners=True)
                total = total + F.cross_entropy(full, truth, ignore_index=VOID)
        return total / len(self.stages)


def pretrain(
    name: str,
    domain: Domain,
    output: Path,
    recipe: Pretraining,
    *,
    device: str = "cpu",
    listener: Callable[[int, int, float], None] | None = None,
) -> str:
    """Trains the backbone `name` on the source and writes its weights; their sha256.

    Raises:
        UserError: if the file cannot be written.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_number(recipe.seed, "initialisation"))
        backbone = build_backbone(name)
        _initialise(backbone)
        probe = objective_of(backbone, len(domain.card.classes)).to(device).train()
        probe = probe.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    pictures = list({i.image: i for c in domain.classes for i in c.items}.values())
    images = torch.from_numpy(np.stack([domain.image(item) for item in pictures]))
    labels = torch.from_numpy(np.stack([_labels(domain, item) for item in pictures]))
    steps = recipe.epochs * (len(pictures) // recipe.batch)
    optimizer = optimizer_of(probe, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    for step, chosen in enumerate(_batches(len(pictures), recipe)):
        rng = torch.Generator().manual_seed(_number(recipe.seed, "step", step))
        batch = augmented(images[chosen], labels[chosen], rng)
        pictured = batch[0].to(device, memory_format=torch.channels_last)
        loss = probe.loss(pictured, batch[1].to(device), rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if listener is not None:
            listener(step + 1, steps, float(loss.detach()))
    card = WeightsCard(
        trained_as="backbone",
        backbone=name,
        selection="last",
        source={"domain": domain.title, "fingerprint": domain.fingerprint},
        recipe={
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "optimizer": recipe.optimizer,
            "lr": recipe.lr,
        },
        seed=recipe.seed,
        code=code_hash("cdfss_bench.bench.training.pretrain"),
        command=f"cdfss-bench train --pretrain --source mini --backbone {name} "
        f"--seed {recipe.seed} --epochs {recipe.epochs} --batch {recipe.batch} --lr {recipe.lr:g}",
        versions=packages(),
    )
    # Half precision halves the package; evaluation computes in float32 from these values.
    tensors = {key: _half(tensor.cpu()) for key, tensor in backbone.state_dict().items()}
    write_checkpoint(output, tensors, card)
    return file_sha256(output)


def augmented(images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """uint8 [N, S, S, 3] and [N, S, S] as disturbed, normalised float [N, 3, S, S] and int64."""
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    angle = uniform(-0.35, 0.35, count)
    zoom = uniform(0.6, 1.15, count)
    mirror = torch.where(torch.rand(count, generator=rng) < 0.5, -1.0, 1.0)
    shift = uniform(-0.25, 0.25, count, 2)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    matrix = torch.stack(
        (
            torch.stack((cos * mirror, -sin, shift[:, 0]), 1),
            torch.stack((sin * mirror, cos, shift[:, 1]), 1),
        ),
        1,
    )
    pixels = images.movedim(-1, 1).float() / 255
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    shifted = labels[:, None].float() + 1
    moved = F.grid_sample(shifted, grid, mode="nearest", align_corners=False)[:, 0].long()
    # What was outside the picture reads 0 after the shift by one: undecided.
    truth = torch.where(moved == 0, VOID, moved - 1)
    gain = uniform(0.6, 1.4, count, 3, 1, 1) * uniform(0.7, 1.3, count, 1, 1, 1)
    offset = uniform(-0.15, 0.15, count, 1, 1, 1)
    pixels = (pixels - 0.5) * gain + 0.5 + offset
    grey = pixels.mean(1, keepdim=True).expand_as(pixels)
    colourless = torch.rand((count, 1, 1, 1), generator=rng) < 0.2
    pixels = torch.where(colourless, grey, pixels)
    noise = torch.randn(pixels.shape, generator=rng) * uniform(0, 0.06, count, 1, 1, 1)
    pixels = (pixels + noise).clamp(0, 1)
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (pixels - mean) / std, truth


def objective_of(backbone: Backbone, classes: int) -> Probe | PromptedSegmentation:
    """What the backbone is pretrained for."""
    if isinstance(backbone, SAM):
        return PromptedSegmentation(backbone)
    return Probe(backbone, classes)


def optimizer_of(probe: nn.Module, recipe: Pretraining) -> torch.optim.Optimizer:
    """The recipe's optimiser over backbone and heads."""
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(probe.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        probe.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay
    )


def _labels(domain: Domain, item: Item) -> np.ndarray:
    return np.array(domain.read_labels(item).array)


def _batches(count: int, recipe: Pretraining) -> Sequence[Tensor]:
    batches: list[Tensor] = []
    for epoch in range(recipe.epochs):
        rng = torch.Generator().manual_seed(_number(recipe.seed, "epoch", epoch))
        order = torch.randperm(count, generator=rng)
        whole = count // recipe.batch * recipe.batch
        batches.extend(torch.split(order[:whole], recipe.batch))
    return batches


def _initialise(backbone: Backbone) -> None:
    for module in backbone.modules():
        # Torch counts a depthwise convolution's fan as if it were a full one's.
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _number(seed: int, *axes: object) -> int:
    return seed_of("/".join(map(str, ("pretrain", seed, *axes))).encode())
