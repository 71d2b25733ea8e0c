"""Files of DINOv2 and DINOv3 as their authors publish them: found, loaded, refused, fetched."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.base import Backbone
from cdfss_bench.methods.backbones.card import BACKBONES, build_backbone
from cdfss_bench.methods.backbones.dino import DinoPlan, DINOv2, DINOv3
from cdfss_bench.methods.weights import fetch as fetching
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint
from cdfss_bench.methods.weights.fetch import fetch_pretrained
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights

from ...support.contract import same_tensors

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = DinoPlan(16, 2, 2)
"""Two blocks of sixteen channels."""
REGISTERS = DinoPlan(16, 2, 2, registers=True)

Net = DINOv2 | DINOv3


def seeded(net: Net) -> Net:
    rng = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng)
    return net.eval()


def made() -> dict[str, Net]:
    with torch.random.fork_rng(devices=[]):
        nets = {"v2": DINOv2(SMALL), "v2-reg": DINOv2(REGISTERS), "v3": DINOv3(SMALL)}
    return {name: seeded(net) for name, net in nets.items()}


def published(net: Net) -> dict[str, Tensor]:
    """As the hub's file: what is here and a mask token."""
    return {**net.state_dict(), "mask_token": torch.zeros(1, net.width)}


def loaded(net: Net, content: object, folder: Path) -> Mapping[str, Tensor]:
    path = folder / "file.pth"
    torch.save(content, path)
    load_into(net, read_checkpoint(path).tensors, path=path, unused=net.unused_keys, complete=True)
    return net.state_dict()


@pytest.mark.parametrize("name", ["v2", "v2-reg", "v3"])
@pytest.mark.parametrize("wrapping", ["", "teacher", "backbone."])
def test_a_published_file_loads_whole(name: str, wrapping: str, tmp_path: Path) -> None:
    net, other = made()[name], made()[name]
    for parameter in other.parameters():
        parameter.data.zero_()
    content: object = published(net)
    if wrapping == "teacher":
        content = {"teacher": content}
    elif wrapping:
        content = {f"{wrapping}{key}": value for key, value in published(net).items()}
    same_tensors(loaded(other, content, tmp_path), net.state_dict())


def test_stored_periods_count_and_not_the_constructed_ones(tmp_path: Path) -> None:
    net = made()["v3"]
    periods = torch.tensor([3.0, 7.0])
    state = loaded(made()["v3"], {**published(net), "rope_embed.periods": periods}, tmp_path)
    assert torch.equal(state["rope_embed.periods"], periods)


def test_a_mask_that_was_never_set_is_refused(tmp_path: Path) -> None:
    content = published(made()["v3"])
    content["blocks.1.attn.qkv.bias_mask"] = torch.full((48,), math.nan)
    with pytest.raises(WeightsError, match=r"'blocks\.1\.attn\.qkv\.bias_mask' holds values that"):
        loaded(made()["v3"], content, tmp_path)


def test_keys_have_no_bias_unless_the_file_says_so() -> None:
    net = made()["v3"]
    assert isinstance(net, DINOv3)
    x = torch.randn((1, 9, 16), generator=torch.Generator().manual_seed(1))
    attention = net.block(0).attn
    with torch.no_grad():
        _, before, _ = attention.parts(x)
        attention.get_parameter("qkv.bias")[16:32] += 5
        assert torch.equal(attention.parts(x)[1], before)
        attention.get_parameter("qkv.bias")[:16] += 5
        queries = attention.parts(x)[0]
        attention.get_parameter("qkv.bias")[:16] -= 5
        torch.testing.assert_close(queries, attention.parts(x)[0] + 5)


@pytest.mark.parametrize(
    ("into", "held", "sentence"),
    [
        ("v2", "v2-reg", "holds 'register_tokens', which DINOv2 does not have"),
        ("v2-reg", "v2", "lacks 'register_tokens', which DINOv2 needs"),
        ("v3", "v2", "lacks 'storage_tokens', 'blocks.0.attn.qkv.bias_mask',"),
    ],
)
def test_the_file_of_a_relative_is_refused(
    into: str, held: str, sentence: str, tmp_path: Path
) -> None:
    nets = made()
    with pytest.raises(WeightsError) as caught:
        loaded(nets[into], published(nets[held]), tmp_path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["dinov2-s14", "dinov2-s14-reg", "dinov3-s16"])
def test_a_file_under_its_published_name_is_found_and_runs(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        trunk = build_backbone(name)
    assert isinstance(trunk, DINOv2 | DINOv3)
    file = tmp_path / BACKBONES.card(name).pretrained[0].files[0]
    torch.save(published(trunk), file)
    found = resolve_weights(parse("prototype"), backbone=name, folders=[tmp_path])
    assert found.pretrained == file
    net = build("prototype", backbone=name)
    load_weights(net, found)
    images = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.isfinite(net.logits(images, images[None], torch.ones(1, 1, 64, 64))).all()


def test_dinov3_is_not_fetched_and_the_place_to_get_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch_pretrained("dinov3-l16", tmp_path)
    assert caught.value.problem == "the weights of dinov3-l16 have no public address"
    file = "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"
    page = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"
    assert caught.value.hint == f"put {file} from {page} (DINOv3 License (Meta AI)) into {tmp_path}"
    with pytest.raises(WeightsError) as caught:
        resolve_weights(parse("prototype"), backbone="dinov3-l16", folders=[tmp_path])
    assert (caught.value.hint or "").startswith(f"put {file} from {page} into the weights folder")


def test_a_fetched_file_without_a_published_hash_counts_if_it_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net = made()["v2"]
    source, target = tmp_path / "source.pth", tmp_path / "folder"
    asked: list[str] = []

    def small(name: str) -> Backbone:
        del name
        return DINOv2(SMALL)

    def download(url: str, path: Path, **how: object) -> Path:
        asked.append(url)
        damage = how["damage"]
        assert callable(damage)
        if wrong := damage(source):
            raise fetching.WrongBytes(f"what {url} sent is not the published file: {wrong}")
        return path

    monkeypatch.setattr(fetching, "build_backbone", small)
    monkeypatch.setattr(fetching, "download", download)
    torch.save(published(net), source)
    assert fetch_pretrained("dinov2-b14", target) == target / "dinov2_vitb14_pretrain.pth"
    assert asked == [
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth"
    ]
    torch.save({k: v for k, v in published(net).items() if k != "norm.bias"}, source)
    with pytest.raises(WeightsError, match=r"lacks 'norm\.bias'"):
        fetch_pretrained("dinov2-b14", target)
    source.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match="is not the published file"):
        fetch_pretrained("dinov2-b14", target)
