"""The vision transformer and the methods that use it: sizes, files, draws, losses, plug-ins."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.backbones.dino import V2_PLANS, V3_PLANS
from cdfss_bench.methods.backbones.vit import PLANS, ViT, ViTPlan
from cdfss_bench.methods.blocks.boundary import boundary_weights, weighted_cross_entropy
from cdfss_bench.methods.blocks.pairs import pairwise_loss
from cdfss_bench.methods.blocks.purifier import Purifier, dropped
from cdfss_bench.methods.blocks.regions import background, region_means, regions
from cdfss_bench.methods.hosts.fptrans import FPTrans
from cdfss_bench.methods.plugins.lcm import LCM
from cdfss_bench.methods.plugins.lem import LEM
from cdfss_bench.methods.weights.checkpoints import load_into, read_checkpoint
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import pretrained_for, resolve_weights

from ...support.contract import as_a, composition, episodes, fresh, network, same_tensors, seeded
from ...support.draws import generator, normal, regrid

pytestmark = pytest.mark.usefixtures("one_thread")

HOSTS = ("ssp-vit", "fptrans")


def transformer(plan: ViTPlan | None = None) -> ViT:
    """Two blocks of eight channels, 4-pixel patches, with values in every entry."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ViT(plan or ViTPlan(8, 2, 2, 3, patch=4, grid=4)).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return net


# -- the backbone ----------------------------------------------------------------------------------


def test_positions_of_the_grid_they_were_trained_on_are_taken_as_they_are() -> None:
    net = transformer()
    assert net.positions((4, 4)) is net.pos_embed
    assert net.positions((2, 6)).shape == (1, 13, 8)
    assert torch.equal(net.positions((2, 6))[:, 0], net.pos_embed[:, 0])


def test_another_size_is_the_same_network_with_resampled_positions() -> None:
    net, other = transformer(), transformer()
    regrid(other, 6)
    images = normal(2, 3, 24, 24)
    with torch.no_grad():
        for one, two in zip(net(images), other(images), strict=True):
            torch.testing.assert_close(one, two)


def test_images_that_do_not_divide_into_patches_are_refused() -> None:
    with pytest.raises(UserError, match="24x26 pixels do not divide into patches of 4x4"):
        list(transformer().walk(normal(1, 3, 24, 26)))


def test_an_edit_replaces_the_patch_tokens_and_leaves_the_class_token() -> None:
    net = transformer()
    images = normal(1, 3, 16, 16)
    seen: list[Tensor] = []
    net.blocks[1].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))

    def doubled(index: int, output: Tensor) -> Tensor:
        return 2 * output if index == 1 else output

    with torch.no_grad():
        plain, edited = list(net.walk(images)), list(net.walk(images, doubled))
    before, after = seen
    assert torch.equal(before[:, 0], after[:, 0])
    assert torch.equal(2 * before[:, 1:], after[:, 1:])
    assert torch.equal(edited[1].taps[0], plain[1].output)
    assert torch.equal(edited[1].output, 2 * plain[1].output)
    assert not torch.allclose(edited[2].output, plain[2].output)


def test_an_edit_of_the_patch_embedding_acts_before_positions_and_class_token() -> None:
    net = transformer()
    seen: list[Tensor] = []
    net.blocks[0].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    with torch.no_grad():
        list(net.walk(normal(1, 3, 16, 16), lambda _index, output: torch.zeros_like(output)))
    expected = torch.cat((net.cls_token, torch.zeros(1, 16, 8)), dim=1) + net.pos_embed
    assert torch.equal(seen[0], expected)


def test_the_last_map_is_normalised_and_the_others_are_not() -> None:
    net = transformer()
    with torch.no_grad():
        maps = list(net.walk(normal(1, 3, 16, 16)))
        tokens = net.tokens(maps[0].output)
        for block in net.blocks:
            tokens = block(tokens)
        last = net.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    assert torch.equal(maps[-1].output, last)
    assert torch.equal(maps[-1].taps[0], last)


def test_a_distilled_transformer_has_two_special_tokens() -> None:
    plan = ViTPlan(8, 2, 2, 3, patch=4, grid=4, distilled=True)
    net = transformer(plan)
    maps = normal(1, 8, 4, 4)
    tokens = net.tokens(maps) - net.pos_embed
    torch.testing.assert_close(tokens[:, :1], net.cls_token)
    torch.testing.assert_close(tokens[:, 1:2], net.dist_token)
    torch.testing.assert_close(net.placed(tokens, (4, 4)), maps)


def test_attention_is_the_textbook_formula() -> None:
    attention = transformer().blocks[0].get_submodule("attn")
    tokens = normal(2, 5, 8)
    weight, bias = attention.get_parameter("qkv.weight"), attention.get_parameter("qkv.bias")
    query, key, value = (tokens @ weight.T + bias).split(8, dim=2)
    heads: list[Tensor] = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(4)
        heads.append(scores.softmax(2) @ value[..., part])
    out = torch.cat(heads, dim=2) @ attention.get_parameter("proj.weight").T
    torch.testing.assert_close(attention(tokens), out + attention.get_parameter("proj.bias"))


def test_the_published_plans() -> None:
    plans = {name: (plan.width, plan.heads, plan.depth) for name, plan in PLANS.items()}
    assert plans["vit-b16"] == (768, 12, 10)
    assert plans["deit-b16"] == (768, 12, 11)
    cards = {name: BACKBONES.card(name) for name in BACKBONES.names()}
    assert set(plans) == {name for name, card in cards.items() if card.code == "vit:build"}
    dino = {name for name, card in cards.items() if card.code.startswith("dino:")}
    assert {*V2_PLANS, *V3_PLANS} == dino


# -- files -----------------------------------------------------------------------------------------


def test_a_file_may_hold_the_positions_of_any_square_grid(tmp_path: Path) -> None:
    net, other = transformer(), transformer()
    regrid(other, 6)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    tensors = read_checkpoint(tmp_path / "other.safetensors").tensors
    load_into(net, tensors, path=tmp_path / "other.safetensors", complete=True)
    assert torch.equal(net.pos_embed, other.pos_embed)


@pytest.mark.parametrize("shape", [(1, 12, 8), (1, 17, 9), (17, 8)])
def test_positions_of_no_square_grid_or_another_width_are_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    net = transformer()
    path = tmp_path / "odd.safetensors"
    save_file({**net.state_dict(), "pos_embed": torch.zeros(shape)}, path)
    with pytest.raises(WeightsError, match="pos_embed"):
        load_into(net, read_checkpoint(path).tensors, path=path, complete=True)


@pytest.mark.parametrize("name", HOSTS)
def test_a_whole_networks_file_may_hold_another_grid(name: str) -> None:
    net, other = fresh(name), fresh(name)
    trunk = as_a(ViT, other.backbone)
    regrid(trunk, 5)
    load_into(net, other.state_dict(), path=Path("whole.pth"), complete=True)
    assert torch.equal(net.backbone.get_parameter("pos_embed"), trunk.pos_embed)


def jax_arrays(net: ViT) -> dict[str, np.ndarray[Any, Any]]:
    """The entries of `net` as Google lays them out, written from the layout's definition."""
    width, heads = net.width, net.plan.heads
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    found = {
        "cls": state["cls_token"],
        "embedding/kernel": np.einsum("oihw->hwio", state["patch_embed.proj.weight"]),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": np.zeros((width, 10), np.float32),
    }
    for index in range(len(net.blocks)):
        ours, theirs = f"blocks.{index}", f"Transformer/encoderblock_{index}"
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        kernels = state[f"{ours}.attn.qkv.weight"].reshape(3, heads, width // heads, width)
        biases = state[f"{ours}.attn.qkv.bias"].reshape(3, heads, width // heads)
        for number, name in enumerate(("query", "key", "value")):
            found[f"{attention}/{name}/kernel"] = np.einsum("hki->ihk", kernels[number])
            found[f"{attention}/{name}/bias"] = biases[number]
        out = state[f"{ours}.attn.proj.weight"].reshape(width, heads, width // heads)
        found[f"{attention}/out/kernel"] = np.einsum("ohk->hko", out)
        found[f"{attention}/out/bias"] = state[f"{ours}.attn.proj.bias"]
        for number, name in ((1, "LayerNorm_0"), (2, "LayerNorm_2")):
            found[f"{theirs}/{name}/scale"] = state[f"{ours}.norm{number}.weight"]
            found[f"{theirs}/{name}/bias"] = state[f"{ours}.norm{number}.bias"]
            dense = f"{theirs}/MlpBlock_3/Dense_{number - 1}"
            found[f"{dense}/kernel"] = state[f"{ours}.mlp.fc{number}.weight"].T
            found[f"{dense}/bias"] = state[f"{ours}.mlp.fc{number}.bias"]
    return found


def test_googles_file_is_read_as_it_is_published(tmp_path: Path) -> None:
    net = transformer()
    arrays: dict[str, Any] = jax_arrays(net)
    np.savez(tmp_path / "vit.npz", **arrays)
    same_tensors(read_checkpoint(tmp_path / "vit.npz").tensors, net.state_dict())


def test_another_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weight=np.zeros(3, np.float32))
    with pytest.raises(WeightsError, match="not one of Google's vision transformers"):
        read_checkpoint(tmp_path / "other.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"is not a readable \.npz file"):
        read_checkpoint(tmp_path / "torn.npz")


def test_missing_weights_are_refused_with_the_page_that_has_them() -> None:
    with pytest.raises(WeightsError) as caught:
        resolve_weights(parse("ssp-vit"), backbone="vit-b16")
    assert caught.value.problem == (
        "no pretrained weights of vit-b16 for ssp-vit in no folder, and none that were trained as "
        "ssp-vit"
    )
    hint = caught.value.hint or ""
    assert hint.startswith("put B_16-i1k-300ep")
    assert "https://storage.googleapis.com/vit_models/augreg/" in hint
    with pytest.raises(WeightsError) as caught:
        resolve_weights(parse("fptrans"), backbone="deit-b16")
    assert (caught.value.hint or "").startswith("cdfss-bench weights fetch deit-b16")


def test_both_encoders_of_fptrans_begin_with_the_pretrained_values(tmp_path: Path) -> None:
    trunk = fresh("ssp-vit").backbone
    save_file(trunk.state_dict(), tmp_path / "vit-mini.safetensors")
    weights = pretrained_for(composition("fptrans"), backbone="vit-mini", folders=[tmp_path])
    net = fresh("fptrans")
    load_weights(net, weights)
    assert isinstance(net, FPTrans)
    for encoder in (net.trunk, net.original_encoder):
        same_tensors(encoder.state_dict(), trunk.state_dict())
    assert not any(p.requires_grad for p in net.original_encoder.parameters())


def test_loec_vit_is_ssp_on_a_transformer_with_both_modules() -> None:
    chosen = "stage=2,activation=relu,center=true,beta=mean"
    assert str(parse("loec-vit")) == str(parse(f"ssp-vit+lem+lcm[{chosen}]"))
    assert parse("loec-vit").host.card.mini.backbone == "vit-mini"


# -- LEM and LCM on both hosts ---------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("options", ["", "[stage=2]", "[conv=depthwise,rescale=std,on=both]"])
def test_lem_changes_the_loss_in_training_and_no_prediction(host: str, options: str) -> None:
    given = episodes(2, 1, 64)
    plain = fresh(f"{host}+lem")
    changed = seeded(build(composition(f"{host}+lem{options}"), backbone="vit-mini"))
    changed.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(changed.logits(*given.inputs), network(host).logits(*given.inputs))
        quiet = seeded(build(composition(f"{host}+lem[prob=0]"), backbone="vit-mini")).train()
        losses = [float(net.loss(given.batch())) for net in (quiet, changed.train())]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("host", HOSTS)
def test_lem_sees_the_tokens_of_the_supports_only(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = fresh(f"{host}+lem").train()
    lem = as_a(LEM, net.stage_plugins[0])
    shapes: list[tuple[int, ...]] = []
    perturb = lem.perturb

    def noted(features: Tensor, theta: Tensor) -> Tensor:
        shapes.append(tuple(features.shape))
        return perturb(features, theta)

    monkeypatch.setattr(lem, "perturb", noted)
    net.loss(episodes(2, 2, 64).batch())
    assert shapes == [(4, 96, 4, 4)]


@pytest.mark.parametrize("host", HOSTS)
def test_lcm_of_weight_zero_is_the_identity(host: str) -> None:
    given = episodes(2, 2, 64)
    net = seeded(build(composition(f"{host}+lcm[w=0]"), backbone="vit-mini"))
    with torch.no_grad():
        assert torch.equal(net.logits(*given.inputs), network(host).logits(*given.inputs))


@pytest.mark.parametrize("host", HOSTS)
def test_lcms_anchors_lie_in_the_predicted_foreground_and_its_features_have_no_scale(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = episodes(2, 1, 128)
    net = fresh(f"{host}+lcm")
    lcm = as_a(LCM, net.score_plugins[0])
    calls: list[tuple[Tensor, Tensor, tuple[int, int]]] = []
    calibrate = lcm.calibrate

    def noted(logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
        calls.append((logits, low, size))
        return calibrate(logits, low, size)

    monkeypatch.setattr(lcm, "calibrate", noted)
    with torch.no_grad():
        net.logits(*given.inputs)
        trunk = as_a(ViT, net.backbone)
        for row, (logits, low, size) in enumerate(calls):
            assert torch.equal(low, trunk.embedded(given.query_images[row : row + 1]))
            maps = logits.flatten(0, 1)
            difference = F.adaptive_avg_pool2d(maps[:, 1:] - maps[:, :1], (8, 8)).flatten(1)
            chosen = difference.gather(1, lcm.anchors(maps, (8, 8)))
            enough = int((difference > 0).sum()) >= lcm.k
            assert enough == bool((chosen > 0).all())
            torch.testing.assert_close(
                calibrate(logits, 7 * low, size), calibrate(logits, low, size)
            )
    assert len(calls) == 2


# -- the purifier ----------------------------------------------------------------------------------


def test_the_purifier_drops_in_training_only_and_by_the_steps_generator() -> None:
    with torch.random.fork_rng(devices=[]):
        net = Purifier(8, hidden=16, dropout=0.5)
    maps = normal(2, 8, 3, 3)
    assert net.eval()(maps).shape == (2, 8, 6, 6)
    quiet = net(maps)
    net.train()
    assert torch.equal(net(maps, generator(1)), net(maps, generator(1)))
    assert not torch.equal(net(maps, generator(1)), net(maps, generator(2)))
    assert not torch.equal(net(maps, generator(1)), quiet)
    with pytest.raises(ValueError, match="give the training batch a generator"):
        net(maps)


def test_dropout_keeps_the_mean() -> None:
    found = dropped(torch.ones(200, 200), 0.25, generator())
    assert sorted(found.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert float(found.mean()) == pytest.approx(1, abs=0.02)


# -- FPTrans: regions, draws -----------------------------------------------------------------------


def test_regions_cut_the_background_by_the_nearest_of_five_centres() -> None:
    mask = torch.zeros(6, 10)
    mask[2:4, 3:6] = 1
    back = background(mask)
    found = regions(back, 17)
    assert torch.equal(found.sum(0), back.long())
    places = back.nonzero().tolist()
    centres = [places[17]]
    while len(centres) < 5:
        reach = [min(math.dist(p, c) for c in centres) for p in places]
        centres.append(places[reach.index(max(reach))])
    for y, x in places:
        distances = [math.dist((y, x), centre) for centre in centres]
        assert int(found[:, y, x].long().argmax()) == distances.index(min(distances))


@pytest.mark.parametrize("places", [0, 3])
def test_a_mask_with_hardly_any_background_gets_its_first_five_positions(places: int) -> None:
    mask = torch.ones(4, 4)
    mask.view(-1)[10 : 10 + places] = 0
    back = background(mask)
    expected = (mask == 0).view(-1)
    expected[:5] = True
    assert torch.equal(back.view(-1), expected)
    assert bool(regions(back, 0).flatten(1).any(1).all())


def test_undecided_positions_are_no_background() -> None:
    mask = torch.zeros(4, 4)
    mask[0] = 255
    assert torch.equal(background(mask), mask == 0)


def test_region_means() -> None:
    features = normal(1, 3, 2, 2)
    found = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    found[0, 0, 0] = True
    means = region_means(features, found)
    torch.testing.assert_close(means[0, 0], features[0, :, 0].mean(1))
    assert torch.equal(means[0, 1], torch.zeros(3))


def fptrans() -> FPTrans:
    return as_a(FPTrans, network("fptrans"))


def test_prompt_groups_belong_to_the_supports_and_not_to_their_order() -> None:
    net = fptrans()
    seeds = [31, 7, 19]
    drawn = net.groups(seeds)
    assert len(set(drawn.tolist())) == 16
    again = net.groups([19, 31, 7])
    assert drawn[0] == again[0]
    own, others = drawn[1:].unflatten(0, (3, 5)), again[1:].unflatten(0, (3, 5))
    assert torch.equal(own[[2, 0, 1]], others)
    assert not torch.equal(net.groups([31, 7, 20]), drawn)


def test_more_groups_than_the_bank_holds_are_refused() -> None:
    with pytest.raises(UserError, match="40 episodes of 1 supports take 240 groups of prompts"):
        fptrans().drawn_groups(1, generator(), episodes=40)


def test_a_support_draws_the_same_in_every_episode_and_another_image_draws_otherwise() -> None:
    net, given = fptrans(), episodes(2, 1, 64)
    rows = net.encode(given.support_images[:, 0])
    one, two = net.encode_support(rows, given.support_masks[:, 0])
    again = net.encode_support(rows[1:2], given.support_masks[1])[0]
    number = [state.tensors["seed"] for state in (one, two, again)]  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(number[1], number[2])
    assert not torch.equal(number[0], number[1])


def test_other_than_the_trained_number_of_supports_is_the_mean_of_one_shot_logits() -> None:
    net, given = network("fptrans"), episodes(1, 3, 64)
    with torch.no_grad():
        together = net.logits(*given.inputs)
        alone = [net.logits(*given.reordered([k]).inputs) for k in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=0, atol=1e-4)


def test_as_many_supports_as_it_was_trained_for_are_seen_together() -> None:
    net = seeded(build(composition("fptrans[shots=3]"), backbone="vit-mini"))
    assert net.get_parameter("prompt_tokens").shape == (20 * 16, 12, 96)
    given = episodes(1, 3, 64)
    with torch.no_grad():
        together = net.logits(*given.inputs)
        swapped = net.logits(*given.reordered([2, 0, 1]).inputs)
        alone = [net.logits(*given.reordered([k]).inputs) for k in range(3)]
    assert not torch.allclose(together, torch.stack(alone).mean(0), atol=1e-2)
    torch.testing.assert_close(swapped, together, rtol=0, atol=1e-4)


def test_fptrans_needs_a_generator_to_train() -> None:
    batch = replace(episodes(1, 1, 64).batch(), rng=None)
    with pytest.raises(ValueError, match="give the training batch a generator"):
        fresh("fptrans").loss_terms(batch)


# -- FPTrans: losses -------------------------------------------------------------------------------


def test_boundary_weights_are_the_distance_to_the_border_by_brute_force() -> None:
    masks = torch.zeros(2, 9, 12)
    masks[0, 2:6, 3:8] = 1
    masks[0, 0] = 255
    found = boundary_weights(masks)
    inside = masks[0] == 1
    border: list[tuple[int, int]] = []
    for y in range(9):
        for x in range(12):
            around = inside[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if bool(around.any()) and not bool(around.all()):
                border.append((y, x))
    for y in range(9):
        for x in range(12):
            nearest = min(math.dist((y, x), place) for place in border)
            assert float(found[0, y, x]) == pytest.approx(1 + math.exp(-nearest / 25), abs=1e-6)
    assert torch.equal(found[1], torch.ones(9, 12))


def test_a_weighted_cross_entropy_with_equal_weights_is_the_plain_one() -> None:
    logits, truth = normal(2, 2, 5, 5), (normal(2, 5, 5, seed=1) > 0).long()
    truth[0, 0] = 255
    plain = F.cross_entropy(logits, truth, ignore_index=255)
    torch.testing.assert_close(weighted_cross_entropy(logits, truth, torch.ones(2, 5, 5)), plain)
    weights = torch.rand((2, 5, 5), generator=generator())
    each = F.cross_entropy(logits, truth, ignore_index=255, reduction="none")
    known = truth != 255
    expected = (each * weights)[known].sum() / weights[known].sum()
    torch.testing.assert_close(weighted_cross_entropy(logits, truth, weights), expected)


def test_the_pairwise_loss_by_hand() -> None:
    query, support = normal(1, 4, 1, 3), normal(1, 2, 4, 1, 2, seed=1)
    truth = torch.tensor([[[1.0, 0.0, 255.0]]])
    masks = torch.tensor([[[[1.0, 0.0]], [[255.0, 1.0]]]])
    terms: list[Tensor] = []
    for shot in range(2):
        for x in range(2):
            for y in range(3):
                labels = (float(masks[0, shot, 0, x]), float(truth[0, 0, y]))
                if 255 in labels or sum(labels) == 0:
                    continue
                pair = (support[0, shot, :, 0, x], query[0, :, 0, y])
                logit = 10 * F.cosine_similarity(*pair, dim=0)
                equal = torch.tensor(float(labels[0] == labels[1]))
                terms.append(F.binary_cross_entropy_with_logits(logit, equal))
    assert len(terms) == 5
    torch.testing.assert_close(
        pairwise_loss(query, truth, support, masks), torch.stack(terms).mean()
    )
