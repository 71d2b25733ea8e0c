"""PATNet, its published fine-tuning loss and our repair against what was recorded."""

import copy
from functools import cache
from types import ModuleType

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.anchors import coordinates, prototype_basis, transformed
from cdfss_bench.methods.blocks.prototypes import resized_masks
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.patnet import PATNet, prototypes
from cdfss_bench.methods.plugins.tfi import divergence, transformed_divergence

from ...support.vectors import (
    Vectors,
    check_training,
    check_votes,
    check_whole_model,
    overridden,
    stored_vectors,
)

pytestmark = pytest.mark.shared

reference = stored_vectors(Vectors, "patnet.npz")
training = stored_vectors(Vectors, "training.npz")


@cache
def filled(fill: ModuleType, backbone: str) -> PATNet:
    net = build("patnet", backbone=backbone)
    fill.fill(net, 0, "").eval()
    assert isinstance(net, PATNet)
    return net


def whole(vectors: Vectors, fill: ModuleType, case: str, backbone: str = "resnet50") -> PATNet:
    return overridden(vectors, case, copy.deepcopy(filled(fill, backbone)))


def check_transformation(
    vectors: Vectors,
    case: str,
    stem: str,
    net: PATNet,
    taps: list[tuple[Tensor, Tensor]],
    masks: Tensor,
) -> None:
    """Prototypes and transformed features of (query, support) taps, as far as they are stored."""
    stored = {spec["array"] for spec in vectors.cases[case]["outputs"]}
    names = list(net._pairs)  # pyright: ignore[reportPrivateUsage]
    for number, (query, support) in enumerate(taps):
        back, fore = prototypes(support, masks)
        basis = prototype_basis(back, fore)
        anchors = net.anchors(names[number])
        seen = coordinates(basis, support) * resized_masks(masks, support)
        found = {
            "proto_f": fore,
            "proto_b": back,
            "tq": transformed(coordinates(basis, query), anchors),
            "ts": transformed(seen, anchors),
        }
        for name, value in found.items():
            if f"{stem}.{name}.{number}" in stored:
                vectors.check(case, f"{stem}.{name}.{number}", value)
                stored.discard(f"{stem}.{name}.{number}")
    assert not stored


def test_transformation_with_a_mask_that_vanishes(reference: Vectors, fill: ModuleType) -> None:
    inputs = reference.inputs("transformation")
    net = whole(reference, fill, "transformation")
    taps = [(inputs[f"pat.q.{i}"], inputs[f"pat.s.{i}"]) for i in range(13)]
    with torch.no_grad():
        check_transformation(reference, "transformation", "pat", net, taps, inputs["pat.mask"])


def test_features(reference: Vectors, fill: ModuleType) -> None:
    case = "pat200_features"
    net = whole(reference, fill, case)
    query_images, support_images, support_masks = reference.episode(case)
    with torch.no_grad():
        query, support = net.encode(query_images), net.encode(support_images[:, 0])
        taps = [
            pair
            for stage in net.stages
            for pair in zip(query.group(stage), support.group(stage), strict=True)
        ]
        check_transformation(reference, case, "pat200", net, taps, support_masks[:, 0])


@pytest.mark.parametrize(
    ("case", "backbone"), [("pat200", "resnet50"), ("pat200v", "vgg16"), ("pat400", "resnet50")]
)
def test_whole_model(case: str, backbone: str, reference: Vectors, fill: ModuleType) -> None:
    check_whole_model(reference, case, whole(reference, fill, case, backbone))


def test_five_shots_vote(reference: Vectors, fill: ModuleType) -> None:
    case = "pat200_5shot"
    check_votes(reference, case, whole(reference, fill, case))


def test_training_steps(training: Vectors, fill: ModuleType) -> None:
    case = "pat_train"
    net = whole(training, fill, case)
    net.train()
    check_training(training, case, net)


def predicted_prototypes(
    vectors: Vectors, case: str, net: PATNet
) -> tuple[FeatureBatch, FeatureBatch, Tensor, Tensor, int]:
    """Query and support features, support masks and query mask of a fine-tuning case, and K."""
    inputs = vectors.inputs(case)
    query_images, support_images, support_masks = vectors.episode(case)
    with torch.no_grad():
        query, support = net.encode(query_images), net.encode(support_images.flatten(0, 1))
    masks = support_masks.flatten(0, 1)
    return query, support, masks, inputs["query_mask"], support_images.shape[1]


@pytest.mark.parametrize("shots", [1, 5])
def test_the_released_fine_tuning_loss_reaches_no_anchor(
    shots: int, reference: Vectors, fill: ModuleType
) -> None:
    case = f"finetune_reference_{shots}shot"
    net = whole(reference, fill, case)
    query, support, masks, query_mask, _ = predicted_prototypes(reference, case, net)
    total = torch.zeros(())
    for tap in net.lowest_taps:
        _, fore = prototypes(support.tensors[tap], masks)
        _, asked = prototypes(query.tensors[tap], query_mask)
        total = total + divergence(fore, asked.repeat_interleave(shots, 0))
    reference.check(case, f"finetune_reference.{shots}", total[None] / shots)
    assert set(reference.cases[case]["gradient"].values()) == {None}
    assert not total.requires_grad


def test_the_repaired_fine_tuning_loss_reaches_the_first_pair(
    reference: Vectors, fill: ModuleType
) -> None:
    case = "tfi_repaired"
    net = whole(reference, fill, case)
    query, support, masks, query_mask, _ = predicted_prototypes(reference, case, net)
    loss = transformed_divergence(net, support, masks, query, query_mask)()
    loss.backward()
    reference.check(case, "tfi.loss", loss[None])
    gradient = net.reference_layer1.weight.grad
    assert gradient is not None
    reference.check(case, "tfi.grad.reference_layer1.weight", gradient)
    assert net.reference_layer2.weight.grad is None
