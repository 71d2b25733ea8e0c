"""Backbones: what they say of themselves, what they hand out, and their published keys."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError, UserError
from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.base import Backbone, StageMaps
from cdfss_bench.methods.backbones.card import BACKBONES, build_backbone

pytestmark = pytest.mark.usefixtures("one_thread")

Stride = Literal[8, 16, 32]

STRIDES: tuple[Stride, ...] = (8, 16, 32)
SMALL = ("resnet-mini", "mobilenet_v2", "vgg16", "convnext-mini")
"""One of each module, small enough to compute."""

every = pytest.mark.parametrize("name", BACKBONES.names())
small = pytest.mark.parametrize("name", SMALL)


def shapeless(name: str, **options: Any) -> Backbone:
    """A backbone of which only the shapes are computed."""
    with torch.device("meta"):
        return build_backbone(name, **options)


def walked(backbone: Backbone, height: int = 224, width: int = 448) -> list[StageMaps]:
    device = next(backbone.parameters()).device
    return list(backbone.walk(torch.empty(2, 3, height, width, device=device)))


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def made(name: str, **options: Any) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_backbone(name, **options)


def shapes(backbone: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in backbone.state_dict().items()}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# -- stages ----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("output_stride", STRIDES)
def test_every_stage_describes_itself_truthfully(name: str, output_stride: Stride) -> None:
    backbone = shapeless(name, output_stride=output_stride)
    maps = walked(backbone)
    assert [part.stage for part in maps] == list(backbone.stages)
    for part in maps:
        stage = part.stage
        size = (2, stage.channels, 224 // stage.stride, 448 // stage.stride)
        assert part.output.shape == size, stage
        assert len(part.taps) == stage.taps
        if stage.name != "pool5":
            assert all(tap.shape == size for tap in part.taps), stage


@every
def test_the_card_lists_the_stages(name: str) -> None:
    listed = list(BACKBONES.card(name).stages)
    built = [stage.name for stage in shapeless(name, until=listed[-1]).stages]
    assert built == listed


def test_the_card_says_whether_there_is_a_pyramid() -> None:
    for name in BACKBONES.names():
        assert BACKBONES.card(name).pyramid == bool(shapeless(name).pyramid), name


@pytest.mark.parametrize("name", [n for n in BACKBONES.names() if BACKBONES.card(n).pyramid])
def test_the_pyramid_is_at_strides_8_16_and_32(name: str) -> None:
    backbone = shapeless(name)
    assert [backbone.stage(stage).stride for stage in backbone.pyramid] == [8, 16, 32]
    assert all(backbone.stage(stage).taps > 0 for stage in backbone.pyramid)


@every
def test_the_semantic_stage_keeps_the_output_stride_where_the_network_can_be_dilated(
    name: str,
) -> None:
    for output_stride in STRIDES:
        backbone = shapeless(name, until="semantic", output_stride=output_stride)
        assert backbone.stages[-1].name == backbone.semantic
        assert backbone.stages[-1].taps > 0
        is_fixed = name == "vgg16" or not backbone.pyramid
        patch = BACKBONES.card(name).patch
        fixed = 8 if name == "sam-mini" else 16 if patch == 1 else patch
        expected = fixed if is_fixed else min(16, output_stride)
        assert backbone.stages[-1].stride == expected


@every
@pytest.mark.parametrize("output_stride", STRIDES)
def test_dilation_changes_no_parameter(name: str, output_stride: Stride) -> None:
    assert shapes(shapeless(name, output_stride=output_stride)) == shapes(shapeless(name))


@every
def test_nothing_behind_the_last_stage_is_built(name: str) -> None:
    whole = shapeless(name, until=BACKBONES.card(name).stages[-1])
    complete = shapes(whole)
    seen = set(shapes(shapeless(name, until=whole.stages[1].name)))
    for index in range(2, len(whole.stages)):
        cut = shapeless(name, until=whole.stages[index].name)
        assert cut.stages == whole.stages[: index + 1]
        own = {key for part in cut.stage_modules(index) for key in _keys(cut, part)}
        own |= {key for key, _ in cut.named_parameters(recurse=False)}
        assert set(shapes(cut)) == seen | own
        assert shapes(cut).items() <= complete.items()
        seen |= own
    assert seen == set(complete)


def _keys(backbone: Backbone, module: nn.Module) -> Iterator[str]:
    """As published, which need not be the modules' names."""
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    state = backbone.state_dict(keep_vars=True)
    yield from (key for key, tensor in state.items() if id(tensor) in own)


@every
def test_each_parameter_belongs_to_one_stage(name: str) -> None:
    backbone = shapeless(name)
    owned = [id(p) for i in range(len(backbone.stages)) for p in backbone.stage_parameters(i)]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in backbone.parameters()}


def test_an_unknown_backbone_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown backbone 'resnet5'") as caught:
        build_backbone("resnet5")
    assert "resnet50" in (caught.value.hint or "")


@small
def test_a_stage_is_found_by_name_and_by_number(name: str) -> None:
    backbone = shapeless(name)
    for number, stage in enumerate(backbone.stages, start=1):
        assert backbone.stage(stage.name) is stage
        assert backbone.numbered(number) is stage


def test_a_stage_that_was_not_built_is_refused_with_those_that_were() -> None:
    backbone = shapeless("resnet50", until="layer2")
    sentence = "^ResNet has no stage 'layer3' here; it has stem, layer1, layer2$"
    with pytest.raises(CompositionError, match=sentence):
        backbone.stage("layer3")


@pytest.mark.parametrize("number", [-1, 0, 4])
def test_a_number_without_a_stage_is_refused(number: int) -> None:
    backbone = shapeless("resnet50", until="layer2")
    with pytest.raises(CompositionError, match=f"^ResNet has stages 1 to 3 here, not {number}$"):
        backbone.numbered(number)


# -- walking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet-mini", "vgg16"])
def test_taps_are_before_the_activation_and_outputs_after_it(name: str) -> None:
    with torch.no_grad():
        maps = list(made(name).walk(images()))
    tapped = [part for part in maps if part.taps and part.stage.name != "pool5"]
    assert len(tapped) >= 4
    for part in tapped:
        for tap in part.taps:
            assert float(tap.min()) < 0
        assert torch.equal(F.relu(part.taps[-1]), part.output)


def test_pool5_is_tapped_after_activation_and_pooling() -> None:
    with torch.no_grad():
        *_, conv5, pool5 = made("vgg16").walk(images())
    assert (conv5.stage.name, pool5.stage.name) == ("conv5", "pool5")
    assert torch.equal(pool5.taps[0], F.max_pool2d(conv5.output, 2))
    assert torch.equal(pool5.output, pool5.taps[0])


def test_a_linear_bottlenecks_output_is_its_tap() -> None:
    with torch.no_grad():
        stem, *maps = made("mobilenet_v2").walk(images())
    assert stem.taps == []
    for part in maps:
        assert torch.equal(part.taps[-1], part.output)
        assert float(part.output.min()) < 0


@small
def test_walking_ends_when_nobody_asks_for_more(name: str) -> None:
    backbone = made(name)
    third = (m for module in backbone.stage_modules(2) for m in module.modules())
    calls: list[int] = []
    first = next(m for m in third if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda *_: calls.append(1))
    walk = backbone.walk(images())
    next(walk)
    next(walk)
    assert calls == []
    next(walk)
    assert calls == [1]


@small
def test_an_edit_replaces_what_the_next_stage_sees(name: str) -> None:
    backbone = made(name)
    seen: list[tuple[int, tuple[int, ...]]] = []

    def doubled(index: int, output: Tensor) -> Tensor:
        seen.append((index, tuple(output.shape)))
        return output * 2 if index == 1 else output

    with torch.no_grad():
        plain, edited = list(backbone.walk(images())), list(backbone.walk(images(), doubled))
    assert seen == [(i, tuple(part.output.shape)) for i, part in enumerate(plain)]
    for before, after in zip(plain[:2], edited[:2], strict=True):
        for a, b in zip(before.taps, after.taps, strict=True):
            assert torch.equal(a, b)
    assert torch.equal(edited[0].output, plain[0].output)
    assert torch.equal(edited[1].output, plain[1].output * 2)
    assert not torch.allclose(edited[2].output, plain[2].output)


@small
def test_the_next_stage_sees_the_edit_and_nothing_else(name: str) -> None:
    backbone = made(name)
    constant = torch.ones_like(walked(backbone, 64, 64)[1].output[:1])

    def replaced(index: int, output: Tensor) -> Tensor:
        return constant.expand_as(output) if index == 1 else output

    with torch.no_grad():
        *_, last = backbone.walk(images(), replaced)
        *_, other = backbone.walk(-3 * images(), replaced)
    assert torch.equal(last.output, other.output)


@small
def test_calling_a_backbone_gives_the_outputs_of_all_stages(name: str) -> None:
    backbone = made(name)
    with torch.no_grad():
        outputs, maps = backbone(images()), list(backbone.walk(images()))
    assert len(outputs) == len(backbone.stages)
    for output, part in zip(outputs, maps, strict=True):
        assert torch.equal(output, part.output)


@every
def test_a_backbone_is_built_in_eval_mode(name: str) -> None:
    assert not any(module.training for module in shapeless(name).modules())


# -- freezing --------------------------------------------------------------------------------------


@every
def test_freezing_takes_the_first_stages_out_of_training_and_no_others(name: str) -> None:
    backbone = shapeless(name)
    for frozen in range(len(backbone.stages) + 2):
        backbone.requires_grad_()
        backbone.freeze(frozen)
        for index in range(len(backbone.stages)):
            asks = {p.requires_grad for p in backbone.stage_parameters(index)}
            assert asks <= {index >= frozen}, (frozen, index)
    assert not any(p.requires_grad for p in backbone.parameters())


def test_freezing_two_stages_of_ssps_trunk_freezes_the_stem_and_layer1() -> None:
    net = build("ssp", backbone="resnet-mini")
    net.backbone.freeze(2)
    parameters = net.backbone.named_parameters()
    frozen = {key.split(".")[0] for key, p in parameters if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}


# -- published keys, shapes and counts -------------------------------------------------------------


def normalisation(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{key}": (channels,) for key in vectors} | {
        f"{prefix}.num_batches_tracked": ()
    }


def bottlenecks(inside: int, blocks: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """torchvision's `layerL.B.convI`, `.bnI`, `.downsample.0` and `.1`."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, count in enumerate(blocks, start=1):
        width = 32 * 2**layer
        for block in range(count):
            prefix = f"layer{layer}.{block}"
            convolutions = ((width, inside, 1), (width, width, 3), (4 * width, width, 1))
            for number, (out, into, side) in enumerate(convolutions, start=1):
                found[f"{prefix}.conv{number}.weight"] = (out, into, side, side)
                found |= normalisation(f"{prefix}.bn{number}", out)
            if block == 0:
                found[f"{prefix}.downsample.0.weight"] = (4 * width, inside, 1, 1)
                found |= normalisation(f"{prefix}.downsample.1", 4 * width)
            inside = 4 * width
    return found


def torchvision_resnet(blocks: Sequence[int]) -> dict[str, tuple[int, ...]]:
    stem = {"conv1.weight": (64, 3, 7, 7)} | normalisation("bn1", 64)
    return stem | bottlenecks(64, blocks)


def deep_resnet(blocks: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """SSP's keys: `layer0.0.{0,3,6}` are convolutions, `layer0.0.{1,4}` and `layer0.1` norms."""
    convolutions = {"layer0.0.0": (64, 3), "layer0.0.3": (64, 64), "layer0.0.6": (128, 64)}
    found = {f"{key}.weight": (*sizes, 3, 3) for key, sizes in convolutions.items()}
    for key, channels in (("layer0.0.1", 64), ("layer0.0.4", 64), ("layer0.1", 128)):
        found |= normalisation(key, channels)
    return found | bottlenecks(128, blocks)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet50", (3, 4, 6, 3)),
        ("resnet50-caffe", (3, 4, 6, 3)),
        ("resnet101", (3, 4, 23, 3)),
    ],
)
def test_a_resnet_has_torchvisions_keys_and_shapes(name: str, blocks: Sequence[int]) -> None:
    assert shapes(shapeless(name)) == torchvision_resnet(blocks)


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet50-deep", (3, 4, 6, 3)), ("resnet101-deep", (3, 4, 23, 3))]
)
def test_a_deep_stem_resnet_has_ssps_keys_and_shapes(name: str, blocks: Sequence[int]) -> None:
    assert shapes(shapeless(name)) == deep_resnet(blocks)
    assert shapes(shapeless(name, until="semantic")) == deep_resnet(blocks[:3])


def test_vgg16_has_torchvisions_keys_and_shapes() -> None:
    widths = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
    expected: dict[str, tuple[int, ...]] = {}
    inside, position = 3, 0
    for width in widths:
        if width:
            expected[f"features.{position}.weight"] = (width, inside, 3, 3)
            expected[f"features.{position}.bias"] = (width,)
            inside, position = width, position + 2
        else:
            position += 1
    assert position == 31
    assert shapes(shapeless("vgg16")) == expected


def test_mobilenet_v2_has_torchvisions_keys_and_shapes() -> None:
    def conv_norm(key: str, out: int, inside: int, side: int) -> dict[str, tuple[int, ...]]:
        return {f"{key}.0.weight": (out, inside, side, side)} | normalisation(f"{key}.1", out)

    expected = conv_norm("features.0", 32, 3, 3)
    inside, position = 32, 1
    groups = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for expansion, out, count in groups:
        for _ in range(count):
            key, hidden, layer = f"features.{position}.conv", inside * expansion, 0
            if expansion > 1:
                expected |= conv_norm(f"{key}.{layer}", hidden, inside, 1)
                layer += 1
            expected |= conv_norm(f"{key}.{layer}", hidden, 1, 3)
            expected[f"{key}.{layer + 1}.weight"] = (out, hidden, 1, 1)
            expected |= normalisation(f"{key}.{layer + 2}", out)
            inside, position = out, position + 1
    assert position == 18
    assert shapes(shapeless("mobilenet_v2", until="c320")) == expected


@pytest.mark.parametrize(
    ("name", "until", "count", "entries"),
    [
        ("resnet50", "pyramid", 23_508_032, 318),
        ("resnet50-deep", "semantic", 8_667_072, 270),
        ("resnet101-deep", "semantic", 27_659_200, 576),
        ("vgg16", "pyramid", 14_714_688, 26),
        ("mobilenet_v2", "c320", 1_811_712, 306),
        ("vit-b16", "semantic", 71_914_752, 126),
        ("deit-b16", "semantic", 79_004_160, 139),
        ("convnext-tiny", "pyramid", 27_818_592, 178),
    ],
)
def test_a_backbone_has_as_many_parameters_as_published(
    name: str, until: str, count: int, entries: int
) -> None:
    backbone = shapeless(name, until=until)
    assert parameters(backbone) == count
    assert len(backbone.state_dict()) == entries


@pytest.mark.parametrize(
    ("method", "backbone", "count"),
    [
        ("hsnet", "resnet50", 28_130_826 - (2048 * 1000 + 1000)),
        ("hsnet", "vgg16", 14_714_688 + 2_570_018),
        ("hsnet+lcm", "resnet50", 23_508_032 + 2_573_794),
        ("ssp", "resnet50-deep", 8_667_072),
        ("loec", "resnet50-deep", 8_667_072),
        ("ssp", "resnet101-deep", 27_659_200),
        ("prototype", "resnet50-deep", 8_667_072),
    ],
)
def test_a_method_has_as_many_parameters_as_published(
    method: str, backbone: str, count: int
) -> None:
    with torch.device("meta"):
        assert parameters(build(method, backbone=backbone)) == count


def test_ssps_state_dict_has_the_published_keys_without_a_prefix() -> None:
    with torch.device("meta"):
        assert shapes(build("ssp")) == deep_resnet((3, 4, 6))


def test_hsnets_state_dict_has_the_published_prefixes() -> None:
    with torch.device("meta"):
        found = shapes(build("hsnet"))
    trunk = {f"backbone.{key}": size for key, size in torchvision_resnet((3, 4, 6, 3)).items()}
    assert trunk.items() <= found.items()
    assert {key.split(".")[0] for key in found.keys() - trunk.keys()} == {"hpn_learner"}


# -- stride and dilation ---------------------------------------------------------------------------


def convolutions(backbone: Backbone, block: str) -> dict[str, tuple[int, int, int]]:
    """(stride, dilation, padding) of each convolution of a block."""
    found = backbone.get_submodule(block).named_modules()
    return {
        key: (module.stride[0], module.dilation[0], int(module.padding[0]))
        for key, module in found
        if isinstance(module, nn.Conv2d)
    }


def test_ssps_trunk_keeps_dilation_1_in_the_first_block_of_layer3_and_has_2_after_it() -> None:
    backbone = shapeless("resnet50-deep", until="semantic", output_stride=8)
    assert convolutions(backbone, "layer2.0")["conv2"] == (2, 1, 1)
    assert convolutions(backbone, "layer2.3")["conv2"] == (1, 1, 1)
    assert convolutions(backbone, "layer3.0")["conv2"] == (1, 1, 1)
    assert convolutions(backbone, "layer3.0")["downsample.0"] == (1, 1, 0)
    for block in range(1, 6):
        assert convolutions(backbone, f"layer3.{block}")["conv2"] == (1, 2, 2)


def test_layer4_at_stride_8_begins_with_dilation_2_and_goes_on_with_4() -> None:
    backbone = shapeless("resnet50", output_stride=8)
    assert convolutions(backbone, "layer4.0")["conv2"] == (1, 2, 2)
    assert convolutions(backbone, "layer4.1")["conv2"] == (1, 4, 4)
    sixteen = shapeless("resnet50", output_stride=16)
    assert convolutions(sixteen, "layer3.1")["conv2"] == (1, 1, 1)
    assert convolutions(sixteen, "layer4.0")["conv2"] == (1, 1, 1)
    assert convolutions(sixteen, "layer4.1")["conv2"] == (1, 2, 2)


def test_a_dilated_mobilenet_keeps_the_previous_dilation_in_the_first_block() -> None:
    backbone = shapeless("mobilenet_v2", output_stride=8)
    depthwise = [
        (module.stride[0], module.dilation[0], int(module.padding[0]))
        for module in backbone.modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1
    ]
    before = [(1, 1, 1), (2, 1, 1), (1, 1, 1), (2, 1, 1), (1, 1, 1), (1, 1, 1)]
    c64, c96, c160 = (
        [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2)],
        [(1, 2, 2)] * 3,
        [(1, 2, 2), (1, 4, 4), (1, 4, 4)],
    )
    assert depthwise == [*before, *c64, *c96, *c160]


@pytest.mark.parametrize(
    ("name", "first", "second"), [("resnet50", 1, 2), ("resnet50-caffe", 2, 1)]
)
def test_the_stride_sits_on_the_3x3_convolution_or_in_caffe_on_the_first_1x1(
    name: str, first: int, second: int
) -> None:
    backbone = shapeless(name)
    for layer in (2, 3, 4):
        found = convolutions(backbone, f"layer{layer}.0")
        assert (found["conv1"][0], found["conv2"][0]) == (first, second)
        assert found["downsample.0"][0] == 2
        assert convolutions(backbone, f"layer{layer}.1")["conv2"][0] == 1


def test_caffes_pooling_has_no_padding_and_rounds_up() -> None:
    stem = next(shapeless("resnet50-caffe").walk(torch.empty(1, 3, 100, 102, device="meta")))
    assert stem.output.shape[-2:] == (25, 25)
    stem = next(shapeless("resnet50").walk(torch.empty(1, 3, 100, 102, device="meta")))
    assert stem.output.shape[-2:] == (25, 26)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet50", {"layer2": 50, "layer3": 25, "layer4": 13}),
        ("vgg16", {"conv4": 50, "conv5": 25, "pool5": 12}),
    ],
)
def test_the_pyramid_at_400_pixels_is_the_published_one(name: str, sizes: dict[str, int]) -> None:
    found = {part.stage.name: part for part in walked(shapeless(name), 400, 400)}
    for stage, side in sizes.items():
        assert all(tap.shape[-2:] == (side, side) for tap in found[stage].taps)
    expected = [4, 6, 3] if name == "resnet50" else [3, 3, 1]
    assert [found[stage].stage.taps for stage in sizes] == expected


def test_ssps_features_at_400_pixels_are_50_by_50_with_1024_channels() -> None:
    backbone = shapeless("resnet50-deep", until="semantic", output_stride=8)
    found = [(part.stage.channels, part.output.shape[-1]) for part in walked(backbone, 400, 400)]
    assert found == [(128, 100), (256, 100), (512, 50), (1024, 50)]
