"""DINOv2 and DINOv3: sizes, positions, reading blocks, layers, and the hosts that run on them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.errors import CompositionError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.card import BACKBONES, build_backbone
from cdfss_bench.methods.backbones.dino import V2_PLANS, V3_PLANS, DinoPlan, DINOv2, DINOv3
from cdfss_bench.methods.backbones.transformer import Transformer
from cdfss_bench.methods.backbones.vit import ViT, ViTPlan
from cdfss_bench.methods.controls.prototype import Prototype
from cdfss_bench.methods.registry.build import accepted

from ...support.contract import as_a, episodes, seeded
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")

NETS = ("vit", "v2", "v2-reg", "v3")


def made(name: str) -> Transformer:
    """Three blocks of sixteen channels, with values in every entry."""
    plan = DinoPlan(16, 2, 3, registers=name == "v2-reg")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: Transformer = (
            ViT(ViTPlan(16, 2, 3, 3, patch=14, grid=4))
            if name == "vit"
            else DINOv3(plan)
            if name == "v3"
            else DINOv2(plan)
        )
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


def images(net: Transformer, rows: int = 3, columns: int = 4) -> Tensor:
    return normal(2, 3, rows * net.patch, columns * net.patch)


@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_reading_gives_what_walking_gives(name: str) -> None:
    net = made(name)
    stages = list(net.walk(images(net)))
    found = net.read(images(net), blocks=(0, 1, 2), residuals=True)
    for index in (0, 1):
        torch.testing.assert_close(found.map(index), stages[1 + index].output)
    torch.testing.assert_close(found.normed, stages[-1].output)
    normed = net.norm(found.map(2).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (3, 4))
    torch.testing.assert_close(found.normed, normed)
    assert found.special.shape == (2, net.prefix, 16)
    assert found.residuals is not None
    assert found.residuals.shape == (2, 3, 16, 3, 4)


@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_a_block_can_be_computed_in_parts(name: str) -> None:
    net = made(name)
    found = net.read(images(net), blocks=(-1, 0, 1, 2), residuals=True)
    assert found.residuals is not None
    rotation = net.rotation(found.size)
    for index in range(3):
        before, block = found.tokens[index - 1], net.block(index)
        queries, keys, values = block.attn.parts(block.norm1(before), rotation)
        weights = block.attn.weights(queries, keys)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        branch = block.ls1(block.attn.merged(weights @ values))
        torch.testing.assert_close(branch, block.attended(before, rotation), rtol=1e-4, atol=1e-5)
        expected = net.closed(branch, found.size)
        torch.testing.assert_close(found.residuals[:, index], expected, rtol=1e-4, atol=1e-4)
        middle = before + branch
        behind = middle + block.mixed(middle)
        torch.testing.assert_close(behind, found.tokens[index], rtol=1e-4, atol=1e-4)
    last = net.continued(found.tokens[0], 1, found.size)
    torch.testing.assert_close(last, found.tokens[2])


def test_a_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CompositionError, match="DINOv2 has blocks 0 to 2 here, not 3"):
        made("v2").read(normal(1, 3, 28, 28), blocks=[3])


@torch.no_grad()
def test_dinov2_resizes_to_the_next_multiples_of_14() -> None:
    net, given = made("v2"), normal(1, 3, 30, 55)
    larger = F.interpolate(given, (42, 56), mode="bilinear", align_corners=False)
    for one, two in zip(net(given), net(larger), strict=True):
        assert one.shape[-2:] == (3, 4)
        assert torch.equal(one, two)


@torch.no_grad()
def test_dinov3_leaves_out_what_fills_no_patch() -> None:
    net, given = made("v3"), normal(1, 3, 47, 66)
    for one, two in zip(net(given), net(given[:, :, :32, :64]), strict=True):
        assert torch.equal(one, two)


@torch.no_grad()
def test_another_input_size_is_a_whole_number_of_patches() -> None:
    net, given = made("v2"), normal(1, 3, 28, 28)
    net.resize_to(56)
    assert net(given)[-1].shape[-2:] == (4, 4)
    with pytest.raises(CompositionError, match="500 pixels are no whole number of patches") as no:
        net.resize_to(500)
    assert no.value.hint == "use a multiple of 14, such as 490 or 504"


def test_the_cards_say_what_is_seen() -> None:
    seen = {name: BACKBONES.card(name).seen_size(400) for name in (*V2_PLANS, *V3_PLANS)}
    assert seen == {**dict.fromkeys(V2_PLANS, 406), **dict.fromkeys(V3_PLANS, 400)}
    assert BACKBONES.card("dinov2-b14").seen_size(518) == 518
    assert BACKBONES.card("dinov3-b16").seen_size(410) == 400
    assert BACKBONES.card("resnet50").seen_size(401) == 401
    for name in BACKBONES.names():
        with torch.device("meta"):
            net = build_backbone(name, until=BACKBONES.card(name).stages[0])
        assert BACKBONES.card(name).patch == getattr(net, "patch", 1), name


@torch.no_grad()
def test_registers_get_no_position() -> None:
    net = as_a(DINOv2, made("v2-reg"))
    maps = normal(1, 16, 3, 4)
    tokens, positions = net.tokens(maps), net.positions((3, 4))
    assert torch.equal(tokens[:, :1], net.cls_token + positions[:, :1])
    assert torch.equal(tokens[:, 1:5], net.register_tokens)
    assert torch.equal(net.placed(tokens, (3, 4)).flatten(2).transpose(1, 2), tokens[:, 5:])
    assert torch.equal(tokens[:, 5:], maps.flatten(2).transpose(1, 2) + positions[:, 1:])


@torch.no_grad()
def test_rotation_turns_patches_by_place_and_keeps_lengths_and_special_tokens() -> None:
    net = as_a(DINOv3, made("v3"))
    rotation, heads = net.rotation((3, 4)), normal(1, 2, 5 + 12, 8)
    turned = rotation.of(heads)
    assert torch.equal(turned[:, :, :5], heads[:, :, :5])
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
    # The dot product of two patches depends on how far they are apart and not on where they are.
    one, other = normal(8), normal(8, seed=1)
    everywhere = rotation.of(torch.stack((one, other))[None, :, None].expand(1, 2, 12, 8))
    first, second = everywhere[0].unflatten(1, (3, 4))
    right = (first[:, :-1] * second[:, 1:]).sum(-1)
    torch.testing.assert_close(right, right[:1, :1].expand(3, 3))


def test_hosts_that_ask_for_a_semantic_stage_take_every_backbone() -> None:
    for host in ("ssp", "loec", "ssp+apm-s", "prototype"):
        assert set(accepted(parse(host))) == set(BACKBONES.names()), host
    transformers = {name for name in BACKBONES.names() if not BACKBONES.card(name).pyramid}
    assert set(accepted(parse("ssp-vit"))) == transformers
    assert parse("ssp").host.card.backbones[0] == "resnet50-deep"


@pytest.mark.parametrize("method", ["prototype", "ssp"])
@pytest.mark.parametrize(
    ("backbone", "layer", "stage"),
    [
        ("vit-mini", "2", "blocks.2"),
        ("vit-mini", "blocks.2", "blocks.2"),
        ("resnet-mini", "layer2", "layer2"),
        ("resnet-mini", "layer2.0", "layer2.0"),
        ("resnet-mini", "", "layer3"),
    ],
)
@torch.no_grad()
def test_a_layer_is_read(method: str, backbone: str, layer: str, stage: str) -> None:
    net = seeded(build(f"{method}[layer={layer}]" if layer else method, backbone=backbone))
    assert isinstance(net, Prototype)
    given = episodes(1, 1, 64)
    (name, maps), *others = net.encode(given.query_images).tensors.items()
    assert (name, others) == (stage, [])
    head, _, tap = stage.rpartition(".")
    for part in net.backbone.walk(given.query_images):
        if part.stage.name == stage:
            torch.testing.assert_close(maps, part.taps[-1])
        elif part.stage.name == head:
            torch.testing.assert_close(maps, part.taps[int(tap)])
    assert net.adaptable(net.backbone).name == stage
    assert net.predict(*given.inputs).shape == (1, 64, 64)


def test_plug_ins_act_on_the_layer_that_is_read() -> None:
    net = seeded(build("ssp[layer=layer2.1]+apm-s", backbone="resnet-mini"))
    given = episodes(1, 1, 64)
    rows = net.encode(given.query_images)
    changed = net.apply_feature_plugins(rows, given.query_images[:, 0] > 0)
    assert not torch.equal(rows.tensors["layer2.1"], changed.tensors["layer2.1"])


@pytest.mark.parametrize("backbone", ["resnet-mini", "vit-mini", "convnext-mini"])
@torch.no_grad()
def test_the_input_size_is_the_backbones_and_the_mask_has_the_images(backbone: str) -> None:
    given = episodes(1, 1, 64)
    net = seeded(build("ssp[size=96]", backbone=backbone))
    plain = seeded(build("ssp", backbone=backbone))
    plain.load_state_dict(net.state_dict())
    larger = F.interpolate(given.query_images, (96, 96), mode="bilinear", align_corners=False)
    stage = net.backbone.semantic
    found = net.encode(given.query_images).tensors[stage]
    assert torch.equal(found, plain.encode(larger).tensors[stage])
    assert net.predict(*given.inputs).shape == (1, 64, 64)
