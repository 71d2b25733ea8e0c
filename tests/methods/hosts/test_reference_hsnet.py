"""Backbone taps, HSNet and its evaluation against what the published code computes."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.blocks.conv4d import CenterPivotConv4d
from cdfss_bench.methods.blocks.correlation import hypercorrelation
from cdfss_bench.methods.blocks.hpn import HPNLearner
from cdfss_bench.methods.blocks.voting import foreground, upsampled, vote
from cdfss_bench.methods.hosts.hsnet import HSNet

from ...support.vectors import (
    Vectors,
    check_training,
    check_votes,
    check_whole_model,
    overridden,
    stored_vectors,
)

pytestmark = pytest.mark.shared

reference = stored_vectors(Vectors, "hsnet.npz")
backbones = stored_vectors(Vectors, "backbones.npz")
training = stored_vectors(Vectors, "training.npz")


def filled(fill: ModuleType, module: torch.nn.Module, prefix: str = "") -> torch.nn.Module:
    return fill.fill(module, 0, prefix).eval()


@pytest.mark.parametrize(("case", "name"), [("resnet50_taps", "resnet50"), ("vgg16_taps", "vgg16")])
def test_backbone_taps(case: str, name: str, backbones: Vectors, fill: ModuleType) -> None:
    backbone = build_backbone(name)
    filled(fill, backbone)
    with torch.no_grad():
        stages = list(backbone.walk(backbones.inputs(case)["image"]))
    if name == "vgg16":
        stages = [maps for maps in stages if maps.stage.name in backbone.pyramid]
    taps = [tap for maps in stages for tap in maps.taps]
    stem = "r50" if name == "resnet50" else "vgg16"
    assert len(taps) == len(backbones.cases[case]["outputs"])
    for index, tap in enumerate(taps):
        backbones.check(case, f"{stem}.tap.{index}", tap)


@pytest.mark.parametrize(
    ("case", "sizes"), [("k3s2", (3, 5, 3, 2)), ("k5s4", (2, 4, 5, 4)), ("k3s1", (3, 4, 3, 1))]
)
def test_conv4d(
    case: str, sizes: tuple[int, int, int, int], reference: Vectors, fill: ModuleType
) -> None:
    module = filled(fill, CenterPivotConv4d(*sizes), f"conv4d.{case}.")
    inputs = reference.inputs(f"conv4d_{case}")
    reference.check(f"conv4d_{case}", f"conv4d.{case}.y", module(inputs[f"conv4d.{case}.x"]))


def test_hypercorrelation(reference: Vectors) -> None:
    inputs = reference.inputs("correlation")
    for layer, taps in ((4, range(10, 13)), (3, range(4, 10)), (2, range(4))):
        query = [inputs[f"corr.q.{i}"] for i in taps]
        support = [inputs[f"corr.s.{i}"] for i in taps]
        reference.check("correlation", f"corr.layer{layer}", hypercorrelation(query, support))


@pytest.mark.parametrize(
    ("case", "taps"), [("r50", (3, 6, 4)), ("r50_50", (3, 6, 4)), ("vgg", (1, 3, 3))]
)
def test_learner(
    case: str, taps: tuple[int, int, int], reference: Vectors, fill: ModuleType
) -> None:
    learner = HPNLearner(taps)
    filled(fill, learner, "hpn_learner.")
    inputs = reference.inputs(f"learner_{case}")
    correlations = [inputs[f"hpn.{case}.layer{layer}"] for layer in (4, 3, 2)]
    seen: dict[str, Tensor] = {}
    for name in ("encoder_layer4to3", "encoder_layer3to2", "decoder1"):

        def keep(_module: torch.nn.Module, _inputs: object, out: Tensor, name: str = name) -> None:
            seen[name] = out

        learner.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        squeezed = learner.squeeze(correlations)
        encoded = learner.mix(*squeezed)
        seen |= {f"squeeze{n}": part for n, part in zip((4, 3, 2), squeezed, strict=True)}
        seen |= {"encoded": encoded, "logits": learner.decode(encoded)}
    for spec in reference.cases[f"learner_{case}"]["outputs"]:
        name = spec["array"].rpartition(".")[2]
        reference.check(f"learner_{case}", spec["array"], seen[name])


def whole(vectors: Vectors, fill: ModuleType, case: str, backbone: str) -> HSNet:
    net = build("hsnet", backbone=backbone)
    filled(fill, net)
    assert isinstance(net, HSNet)
    return overridden(vectors, case, net)


@pytest.mark.parametrize(
    ("case", "backbone"), [("hs200", "resnet50"), ("hs200v", "vgg16"), ("hs400", "resnet50")]
)
def test_whole_model(case: str, backbone: str, reference: Vectors, fill: ModuleType) -> None:
    check_whole_model(reference, case, whole(reference, fill, case, backbone))


def test_five_shots_vote(reference: Vectors, fill: ModuleType) -> None:
    case = "hs200_5shot"
    check_votes(reference, case, whole(reference, fill, case, "resnet50"))


def test_vote_alone(reference: Vectors) -> None:
    logits = torch.stack([reference.inputs("vote")[f"vote.logits.{s}"] for s in range(5)], dim=1)
    logits[0, :, 1] -= 1.6
    logits[1, :, 1] -= 100
    logits[2, 4, 1] -= 100
    masks = foreground(logits)
    assert torch.equal(masks, logits.argmax(2) == 1)
    reference.check("vote", "vote.votes", masks.sum(1))
    reference.check("vote", "vote.mask", vote(masks))
    reference.check("vote", "vote.mask3", vote(masks[:, :3]))


def test_objective(reference: Vectors) -> None:
    inputs = reference.inputs("objective")
    logits = inputs["loss.logits"].requires_grad_()
    loss = F.cross_entropy(logits, inputs["loss.gt"].long())
    loss.backward()
    reference.check("objective", "loss.value", loss[None])
    assert logits.grad is not None
    reference.check("objective", "loss.grad", logits.grad)


def test_training_steps(training: Vectors, fill: ModuleType) -> None:
    case = "hs_train"
    net = build("hsnet", backbone="resnet50")
    fill.fill(net, 0, "")
    net.train()
    check_training(training, case, net)


def test_upsampling_is_the_published_one() -> None:
    logits = torch.randn(2, 3, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(logits[:, 1], (20, 33), mode="bilinear", align_corners=True)
    assert torch.equal(upsampled(logits, (20, 33))[:, 1], expected)
