"""PATNet: the rank-2 form against the dense one, and which anchors a tap uses."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.anchors import (
    coordinates,
    in_plane,
    normalised,
    prototype_basis,
    transformed,
)
from cdfss_bench.methods.blocks.correlation import hypercorrelation
from cdfss_bench.methods.blocks.prototypes import resized_masks
from cdfss_bench.methods.hosts.patnet import PATNet, prototypes

from ...support.contract import as_a, composition, episodes, seeded
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")


def dense(features: Tensor, back: Tensor, fore: Tensor, anchors: Tensor) -> Tensor:
    """`P f` with `P = (pinv(C) R)^T`, in double precision."""
    rows = normalised(torch.stack((back, fore), dim=1).double())
    matrix = (torch.linalg.pinv(rows) @ normalised(anchors.double())).transpose(1, 2)
    return (matrix @ features.double().flatten(2)).unflatten(2, features.shape[-2:])


@pytest.mark.parametrize("mask", ["object", "nothing", "everything"])
def test_two_coordinates_are_the_dense_transformation(mask: str) -> None:
    query, support, anchors = (
        normal(2, 12, 5, 4),
        normal(2, 12, 5, 4, seed=1),
        normal(2, 12, seed=2),
    )
    masks = (normal(2, 20, 16, seed=3) > 0).float()
    masks = {"object": masks, "nothing": 0 * masks, "everything": 0 * masks + 1}[mask]
    back, fore = prototypes(support, masks)
    seen = resized_masks(masks, support)
    basis = prototype_basis(back, fore)
    plain = [dense(f, back, fore, anchors).float() for f in (query, support * seen)]
    short = [coordinates(basis, query), coordinates(basis, support) * seen]
    for whole, z in zip(plain, short, strict=True):
        torch.testing.assert_close(transformed(z, anchors), whole)
    planes = [[in_plane(z, anchors)] for z in short]
    expected = hypercorrelation(*([whole] for whole in plain))
    torch.testing.assert_close(hypercorrelation(*planes), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0])
def test_parallel_anchors_make_a_line_of_the_plane(factor: float) -> None:
    back = normal(8)
    anchors = torch.stack((back, factor * back)).requires_grad_()
    found = in_plane(normal(1, 2, 3, 3, seed=1), anchors)
    assert float(found[:, 1].detach().abs().max()) < 1e-5
    found.sum().backward()
    assert anchors.grad is not None
    assert bool(anchors.grad.isfinite().all())


def test_a_gradient_passes_where_the_mask_left_nothing() -> None:
    anchors = normal(2, 8).requires_grad_()
    basis = prototype_basis(normal(1, 8, seed=1), normal(1, 8, seed=2))
    seen = coordinates(basis, normal(1, 8, 3, 3, seed=3)) * torch.eye(3)
    asked = coordinates(basis, normal(1, 8, 3, 3, seed=4))
    hypercorrelation([in_plane(asked, anchors)], [in_plane(seen, anchors)]).sum().backward()
    assert anchors.grad is not None
    assert bool(anchors.grad.isfinite().all())
    assert bool(anchors.grad.any())


def test_a_prediction_depends_on_a_pair_of_anchors_through_their_cosine_alone() -> None:
    net = as_a(PATNet, seeded(build(composition("patnet"), backbone="resnet-mini")))
    given = episodes(1, 1, 128)
    with torch.no_grad():
        before = net.logits(*given.inputs)
        pair = net.reference_layer2.weight
        axes = torch.linalg.qr(normal(pair.shape[1], 2, seed=9)).Q.T
        cosine = torch.cosine_similarity(pair[0], pair[1], dim=0)
        sine = (1 - cosine**2).sqrt()
        pair.copy_(torch.stack((3 * axes[0], cosine * axes[0] + sine * axes[1])))
        torch.testing.assert_close(net.logits(*given.inputs), before, rtol=0, atol=1e-4)
        pair[1] = -pair[1]
        assert not torch.allclose(net.logits(*given.inputs), before, rtol=0, atol=1e-3)


def test_swapping_the_roles_of_object_and_background_in_the_anchors_changes_nothing() -> None:
    net = seeded(build(composition("patnet"), backbone="resnet-mini"))
    given = episodes(1, 1, 128)
    assert isinstance(net, PATNet)
    with torch.no_grad():
        before = net.logits(*given.inputs)
        for layer in (net.reference_layer1, net.reference_layer2, net.reference_layer3):
            layer.weight.copy_(layer.weight.flip(0))
        torch.testing.assert_close(net.logits(*given.inputs), before, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "backbone", "first"),
    [
        ("patnet", "resnet50", 4),
        ("patnet[anchors=stage]", "resnet50", 4),
        ("patnet", "resnet101", 4),
        ("patnet", "vgg16", 4),
        ("patnet[anchors=stage]", "vgg16", 3),
    ],
)
def test_how_many_taps_use_the_first_pair(name: str, backbone: str, first: int) -> None:
    net = as_a(PATNet, build(name, backbone=backbone))
    assert len(net.lowest_taps) == first
    used = {
        id(net.anchors(f"{s}.{i}")) for s in net.stages for i in range(net.backbone.stage(s).taps)
    }
    idle = name == "patnet" and backbone == "vgg16"
    assert len(used) == (2 if idle else 3)


def test_a_support_is_kept_small() -> None:
    net = build(composition("patnet"), backbone="resnet-mini")
    given = episodes(1, 1, 128)
    with torch.no_grad():
        support = net.encode(given.support_images[0])
        state = net.encode_support(support, given.support_masks[0])[0]
    assert state.nbytes < support.nbytes / 4
