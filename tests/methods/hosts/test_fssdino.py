"""FSSDINO beside its reference vectors: classes without tokens, sizes, the backbones it reads."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.transformer import Transformer
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.fssdino import FSSDINO, NO_TOKENS

from ...support.contract import as_a, episodes

pytestmark = pytest.mark.usefixtures("one_thread")


def host(backbone: str = "vit-mini", size: int = 0) -> FSSDINO:
    return as_a(FSSDINO, seeded(build("fssdino", backbone=backbone, size=size)))


@pytest.fixture(scope="module")
def net() -> FSSDINO:
    return host()


@torch.no_grad()
def test_a_transformer_is_read_before_its_final_normalisation(net: FSSDINO) -> None:
    images = episodes(1, 1, 64).query_images
    trunk = as_a(Transformer, net.backbone)
    last = trunk.read(images, blocks=[5])
    tokens = net.encode(images).tensors["tokens"]
    assert torch.equal(tokens, last.map(5))
    normed = trunk.norm(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(normed, last.normed)
    assert not torch.allclose(tokens, last.normed)


@torch.no_grad()
def test_a_convolutional_network_is_read_before_the_last_activation() -> None:
    net, images = host("resnet-mini"), episodes(1, 1, 64).query_images
    tokens = net.encode(images).tensors["tokens"]
    expected = net.walked(images, last_taps=["layer3"]).tensors["layer3"]
    assert torch.equal(tokens, expected)
    assert bool((tokens < 0).any())


@torch.no_grad()
def test_a_class_without_tokens_loses_everywhere(net: FSSDINO) -> None:
    given = episodes(1, 2, 64)
    for value, other in ((0, 1), (1, 0)):
        masks = torch.full_like(given.support_masks, value)
        scores = net.logits(given.query_images, given.support_images, masks)
        assert bool((scores[0, 0, other] == NO_TOKENS).all())
        assert bool((net.decide(scores, given.size) == value).all())


@torch.no_grad()
def test_few_tokens_are_their_own_centres(net: FSSDINO) -> None:
    tokens = torch.randn(4, 96, generator=torch.Generator().manual_seed(0))
    few, several = net.centres([tokens, torch.cat((tokens, tokens))])
    assert torch.equal(few, tokens)
    assert several.shape == (5, 96)


@torch.no_grad()
def test_a_support_shown_twice_weighs_no_more_than_once(net: FSSDINO) -> None:
    given = episodes(1, 1, 128)
    once = net.logits(*given.inputs)
    twice = net.logits(
        given.query_images,
        given.support_images.repeat(1, 2, 1, 1, 1),
        given.support_masks.repeat(1, 2, 1, 1),
    )
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fssdino", "rsrm"])
def test_size_changes_what_the_encoder_sees_and_not_the_mask(name: str) -> None:
    given = episodes(1, 1, 64)
    plain, larger = (seeded(build(f"{name}{o}", backbone="vit-mini")) for o in ("", "[size=96]"))
    assert tokens(plain, given.query_images).shape[-2:] == (4, 4)
    assert tokens(larger, given.query_images).shape[-2:] == (6, 6)
    found = larger.encode(given.query_images)
    assert found.size == given.size
    assert larger.predict(*given.inputs).shape == (1, *given.size)
    enlarged = torch.nn.functional.interpolate(given.query_images, (96, 96), mode="bilinear")
    assert torch.equal(tokens(plain, enlarged), tokens(larger, given.query_images))


def tokens(net: object, images: Tensor) -> Tensor:
    """The first tensor of the features, [N, ..., h, w]."""
    encode = getattr(net, "encode")  # noqa: B009
    rows = as_a(FeatureBatch, encode(images))
    return next(iter(rows.tensors.values()))
