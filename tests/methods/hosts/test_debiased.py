"""INSID3 and FROST: the basis that is removed, and what holds of both whatever the features."""

import copy
from typing import cast

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build, parse
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.debiased import MAP, Debiased, unit_columns
from cdfss_bench.methods.hosts.frost import FROST
from cdfss_bench.methods.hosts.insid3 import INSID3, average_linkage, cosine_distances

from ...support.contract import as_a, episodes, seeded
from ...support.given_maps import GivenMaps

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = pytest.mark.parametrize("name", ["insid3", "frost"])


def network(name: str, backbone: str = "vit-mini", **options: float) -> Debiased:
    return as_a(Debiased, seeded(build(name, backbone=backbone, **options)))


def basis_of(net: Debiased, side: int = 64) -> Tensor:
    found = net.basis((side, side), torch.empty(0))
    assert found is not None
    return found


@BOTH
def test_the_basis_is_orthonormal_and_nothing_of_it_is_left(name: str) -> None:
    net = network(name)
    basis = basis_of(net)
    own = {"insid3": round(96 * 500 / 1024), "frost": round(96 * 250 / 1024)}[name]
    # A map of 4 x 4 positions has 16 directions at most.
    assert basis.shape == (96, min(own, 16))
    torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[1]), rtol=0, atol=1e-5)
    with torch.no_grad():
        unit = unit_columns(net.encode(episodes(1, 1, 64).query_images).tensors[MAP])
    found = net.debiased(unit, (64, 64))
    torch.testing.assert_close(
        basis.mT @ found[0], torch.zeros(basis.shape[1], 16), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 16))


@BOTH
def test_without_directions_features_stay_as_they_are(name: str) -> None:
    net = network(name, svd=0)
    assert net.basis((64, 64), torch.empty(0)) is None
    unit = torch.randn(1, 96, 16)
    assert net.debiased(unit, (64, 64)) is unit


@BOTH
def test_a_convolutional_network_keeps_its_features_unless_asked(name: str) -> None:
    assert network(name, "resnet-mini").directions == 0
    asked = network(name, "resnet-mini", svd=90)
    basis = basis_of(asked)
    # The map of a black image varies at the borders alone: few directions are more than rounding.
    assert 0 < basis.shape[1] < 90


@BOTH
def test_the_basis_is_computed_once_for_each_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(name)
    seen: list[tuple[int, ...]] = []
    plain = net.backbone.walk

    def counted(images: Tensor, *rest: object) -> object:
        if bool((images == images[..., :1, :1]).all()):
            seen.append(tuple(images.shape[-2:]))
        return plain(images, *rest)  # pyright: ignore

    monkeypatch.setattr(net.backbone, "walk", counted)
    with torch.no_grad():
        for side in (64, 64, 96, 64, 96):
            net.predict(*episodes(1, 1, side).inputs)
    assert seen == [(64, 64), (96, 96)]


@BOTH
def test_the_basis_follows_the_weights(name: str) -> None:
    net = network(name)
    before = basis_of(net)
    assert basis_of(net) is before
    seeded(net, seed=1)
    after = basis_of(net)
    assert not torch.equal(after, before)
    assert torch.equal(after, basis_of(seeded(network(name), seed=1)))  # pyright: ignore
    with torch.no_grad():
        next(iter(net.backbone.parameters())).add_(1)
    assert not torch.equal(basis_of(net), after)


@BOTH
def test_the_basis_is_no_part_of_the_state_and_survives_copies(name: str) -> None:
    net = network(name)
    keys = set(net.state_dict()) | {n for n, _ in net.named_buffers()}
    before = basis_of(net)
    assert set(net.state_dict()) | {n for n, _ in net.named_buffers()} == keys
    copied = copy.deepcopy(net)
    seeded(copied, seed=1)
    assert not torch.equal(basis_of(copied), before)
    assert torch.equal(basis_of(net), before)


@BOTH
def test_the_folded_form_has_its_own_basis_and_the_same_masks(name: str) -> None:
    plain = network(name, "resnet-mini", svd=20)
    given = episodes(2, 2, 128)
    with torch.inference_mode():
        expected = plain.predict(*given.inputs)
        found = plain.optimized_for("cpu").predict(*given.inputs)
    assert expected.any()
    # A position on the edge of a decision may fall to either side.
    assert (found != expected).float().mean() <= 0.01
    assert not basis_of(plain, 128).is_inference()


@BOTH
def test_reduced_precision_has_its_own_basis(name: str) -> None:
    net = network(name)
    exact = basis_of(net)
    net.precision = "bf16"
    reduced = basis_of(net)
    assert reduced.dtype == torch.float32
    assert not torch.equal(reduced, exact)
    with torch.no_grad():
        assert net.predict(*episodes(1, 1, 64).inputs).shape == (1, 64, 64)
    net.precision = "fp32"
    assert basis_of(net) is exact


@BOTH
def test_with_a_size_the_encoder_sees_it_and_masks_keep_theirs(name: str) -> None:
    net = network(name, size=96)
    given = episodes(1, 2, 64)
    with torch.no_grad():
        rows = net.encode(given.query_images)
        assert rows.size == (64, 64)
        assert rows.tensors[MAP].shape[-2:] == (6, 6)
        (state, *_) = net.encode_support(
            net.encode(given.support_images[0]), given.support_masks[0]
        )
        assert cast("FeatureBatch", state).tensors["seen"].shape[-1] == 36
        assert net.predict(*given.inputs).shape == (1, 64, 64)


@BOTH
def test_supports_are_a_set(name: str) -> None:
    net, given = network(name), episodes(2, 3, 96)
    with torch.no_grad():
        mask = net.predict(*given.inputs)
        assert torch.equal(net.predict(*given.reordered([2, 0, 1]).inputs), mask)
        once = net.predict(*given.reordered([0]).inputs)
        assert torch.equal(net.predict(*given.reordered([0, 0]).inputs), once)


@BOTH
def test_supports_without_object_give_an_empty_mask_and_beside_others_do_not_count(
    name: str,
) -> None:
    net, given = network(name, "resnet-mini"), episodes(1, 2, 128)
    query, images, masks = given.inputs
    with torch.no_grad():
        assert not net.predict(query, images, torch.zeros_like(masks)).any()
        assert net.predict(query, images, masks).any()


def test_an_image_that_is_its_own_support_is_found() -> None:
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:40, 8:32] = 1
    low = mask[0, ::8, ::8]
    kinds = torch.randn((2, 24, 1, 1), generator=rng)
    maps = torch.where(low > 0, kinds[1], kinds[0]) + 0.05 * torch.randn((24, 8, 8), generator=rng)
    image = torch.randn((1, 3, 64, 64), generator=rng)
    images = torch.cat((image, image.flip(-1)))
    encoder = GivenMaps(images, torch.stack((maps, maps.flip(-1))), torch.zeros(24, 8, 8))
    for net in (INSID3(encoder, svd=0), FROST(encoder, svd=0)):
        with torch.no_grad():
            found = net.eval().predict(image, image[None], mask[None])[0].float()
        overlap = (found * mask[0]).sum() / torch.maximum(found, mask[0]).sum()
        assert overlap > 0.85, type(net).__name__


def test_clusters_are_cut_where_the_mean_distance_exceeds_the_threshold() -> None:
    angles = torch.tensor([0.0, 90.0, 10.0, 80.0, 0.0]).deg2rad()
    unit = torch.stack((angles.cos(), angles.sin()))
    apart = cosine_distances(unit)
    assert average_linkage(apart, 0.4).tolist() == [0, 1, 0, 1, 0]
    assert average_linkage(apart, 0.01).tolist() == [0, 1, 2, 3, 0]
    assert average_linkage(apart, 2.0).tolist() == [0] * 5
    assert average_linkage(apart[:1, :1], 0.4).tolist() == [0]


@BOTH
def test_both_are_made_for_dinov3_and_adapt_to_nothing(name: str) -> None:
    composition = parse(name)
    assert composition.host.card.backbones[0] == "dinov3-l16"
    assert composition.made_elsewhere("dinov3-l16") == ""
    assert composition.made_elsewhere("vit-b16") == "made for dinov3-l16, here vit-b16"
    assert network(name).adaptation == composition.adaptation == "none"
    assert not list(network(name).head())
