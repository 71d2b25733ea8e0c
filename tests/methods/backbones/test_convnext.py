"""ConvNeXt against its definition, computed with functions from a state dict of published keys."""

import re
from collections.abc import Mapping
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.convnext import PLANS
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights

from ...support.contract import composition, episodes, same_tensors, seeded

pytestmark = pytest.mark.usefixtures("one_thread")

Stride = Literal[8, 16, 32]
DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        key: 0.3 * torch.randn(shape, generator=rng) + (0.7 if key.endswith("gamma") else 0.0)
        for key, shape in shapes.items()
    }


def published(depths: tuple[int, ...], widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """timm's keys and shapes without the head, written down from its ConvNeXt-T."""

    def pair(key: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{key}.weight": shape, f"{key}.bias": shape[:1]}

    found = pair("stem.0", widths[0], 3, 4, 4) | pair("stem.1", widths[0])
    for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if i:
            found |= pair(f"stages.{i}.downsample.0", widths[i - 1])
            found |= pair(f"stages.{i}.downsample.1", width, widths[i - 1], 2, 2)
        for j in range(depth):
            block = f"stages.{i}.blocks.{j}"
            found |= pair(f"{block}.conv_dw", width, 1, 7, 7) | pair(f"{block}.norm", width)
            found |= pair(f"{block}.mlp.fc1", 4 * width, width)
            found |= pair(f"{block}.mlp.fc2", width, 4 * width)
            found[f"{block}.gamma"] = (width,)
    return found


def by_definition(state: Mapping[str, Tensor], images: Tensor, stride: int) -> list[Tensor]:
    """Every tap in float64, one operation after the other."""
    values = {key: tensor.double() for key, tensor in state.items()}

    def norm(x: Tensor, key: str) -> Tensor:
        mean = x.mean(1, keepdim=True)
        scale = ((x - mean).square().mean(1, keepdim=True) + 1e-6).sqrt()
        weight, bias = (values[f"{key}.{name}"][:, None, None] for name in ("weight", "bias"))
        return (x - mean) / scale * weight + bias

    def linear(x: Tensor, key: str) -> Tensor:
        mixed = torch.einsum("oc,nchw->nohw", values[f"{key}.weight"], x)
        return mixed + values[f"{key}.bias"][:, None, None]

    def conv(x: Tensor, key: str, **options: int) -> Tensor:
        return F.conv2d(x, values[f"{key}.weight"], values[f"{key}.bias"], **options)

    x = norm(conv(images.double(), "stem.0", stride=4), "stem.1")
    taps: list[Tensor] = []
    reached, dilation = 4, 1
    for i in range(4):
        if i:
            x = norm(x, f"stages.{i}.downsample.0")
            if reached < stride:
                x = conv(x, f"stages.{i}.downsample.1", stride=2)
                reached *= 2
            else:
                before = dilation // 2
                x = F.pad(x, (before, dilation - before, before, dilation - before))
                x = conv(x, f"stages.{i}.downsample.1", dilation=dilation)
                dilation *= 2
        j = 0
        while f"stages.{i}.blocks.{j}.gamma" in values:
            block = f"stages.{i}.blocks.{j}"
            groups = len(values[f"{block}.gamma"])
            branch = conv(
                x, f"{block}.conv_dw", padding=3 * dilation, dilation=dilation, groups=groups
            )
            branch = linear(norm(branch, f"{block}.norm"), f"{block}.mlp.fc1")
            branch = 0.5 * branch * (1 + torch.erf(branch / 2**0.5))
            branch = linear(branch, f"{block}.mlp.fc2")
            x = x + values[f"{block}.gamma"][:, None, None] * branch
            taps.append(x)
            j += 1
    return taps


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96)])
def test_every_tap_is_what_the_definition_gives(stride: Stride, height: int, width: int) -> None:
    plan = PLANS["convnext-mini"]
    state = drawn(published(plan.depths, plan.widths))
    backbone = build_backbone("convnext-mini", output_stride=stride)
    backbone.load_state_dict(state)
    images = torch.randn((2, 3, height, width), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = [tap for maps in backbone.walk(images) for tap in maps.taps]
    expected = by_definition(state, images, stride)
    assert len(found) == len(expected) == sum(plan.depths)
    for tap, truth in zip(found, expected, strict=True):
        scale = float(truth.abs().max())
        torch.testing.assert_close(tap.double(), truth, rtol=0, atol=1e-5 * scale)


def test_the_tiny_one_has_timms_keys_shapes_and_number_of_parameters() -> None:
    with torch.device("meta"):
        backbone = build_backbone("convnext-tiny")
    found = {key: tuple(tensor.shape) for key, tensor in backbone.state_dict().items()}
    assert found == published(DEPTHS, WIDTHS)
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == 27_818_592
    head = 2 * 768 + 768 * 1000 + 1000  # head.norm and head.fc, which are not built
    assert count + head == 28_589_128


@pytest.mark.parametrize(
    ("method", "prefix"), [("ssp", ""), ("prototype", "backbone."), ("hsnet", "backbone.")]
)
def test_a_methods_state_dict_has_the_published_keys_and_goes_round(
    method: str, prefix: str
) -> None:
    net = seeded(build(composition(method), backbone="convnext-mini"))
    state = net.state_dict()
    trunk = {key for key in state if key.startswith((f"{prefix}stem.", f"{prefix}stages."))}
    own = {key for key in state if key.startswith("hpn_learner.")}
    assert trunk | own == set(state)
    assert not any("levels" in key for key in state)
    other = seeded(build(composition(method), backbone="convnext-mini"), seed=1)
    other.load_state_dict(state)
    same_tensors(other.state_dict(), state)


def test_a_whole_published_file_is_read_and_its_head_left_out() -> None:
    backbone = build_backbone("convnext-tiny", until="semantic")
    unbuilt = {key for key in published(DEPTHS, WIDTHS) if key not in backbone.state_dict()}
    assert {key.split(".")[1] for key in unbuilt} == {"3"}
    foreign = unbuilt | {"head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias"}
    assert all(key.startswith(backbone.unused_keys) for key in foreign)
    assert not any(key.startswith(backbone.unused_keys) for key in backbone.state_dict())


def test_at_stride_8_the_depthwise_convolutions_are_dilated_by_2_and_by_4() -> None:
    with torch.device("meta"):
        backbone = build_backbone("convnext-tiny", output_stride=8)
    found = {
        match[1]: (module.stride[0], module.dilation[0])
        for key, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d)
        and (match := re.search(r"(\d\.(?:downsample|blocks\.0))", key))
    }
    assert found == {
        "0.blocks.0": (1, 1),
        "1.downsample": (2, 1),
        "1.blocks.0": (1, 1),
        "2.downsample": (1, 1),
        "2.blocks.0": (1, 2),
        "3.downsample": (1, 2),
        "3.blocks.0": (1, 4),
    }


@pytest.mark.parametrize(
    "name", ["prototype+lcm[auto]", "ssp+lem+lcm", "ssp+lem[stage=2]", "hsnet+lcm", "hsnet+apm-s"]
)
def test_methods_run_and_train_on_it(name: str) -> None:
    net = seeded(build(composition(name), backbone="convnext-mini"))
    given = episodes(1, 2, 64)
    scores = net.logits(*given.inputs)
    assert scores.shape[-2:] == (64, 64)
    assert bool(scores.isfinite().all())
    if name.startswith("ssp"):
        net.train().loss(given.batch()).backward()
        touched = {key for key, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        assert any(key.startswith("backbone.levels.2.") for key in touched)


def test_the_mini_weights_come_with_the_package_and_are_small() -> None:
    weights = resolve_weights(composition("prototype"), backbone="convnext-mini")
    assert weights.pretrained is not None
    assert weights.pretrained.stat().st_size <= 300_000
    net = build("prototype", backbone="convnext-mini")
    load_weights(net, weights)
    gammas = [p for key, p in net.backbone.named_parameters() if key.endswith("gamma")]
    assert len(gammas) == 5  # of 6: the last stage is not built
    assert all(float(gamma.detach().std()) > 0.01 for gamma in gammas)
