"""SSP against what the published code computes."""

from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest
import torch

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.prototypes import cosine_scores, fore_and_background, masked_mean
from cdfss_bench.methods.blocks.self_support import confident, local_prototypes, self_support
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.hosts.ssp import SSP, mean_prototypes, with_own_prototypes

from ...support.vectors import OpenScenes

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def ssp(fill: ModuleType, shared: Path) -> SSP:
    net = build("ssp")
    fill.fill(net, 0, "")
    assert isinstance(net, SSP)
    return net


@pytest.mark.parametrize("size", ["small", "full"])
def test_backbone(size: str, scenes: OpenScenes, ssp: SSP) -> None:
    reference = scenes("ssp_backbone.npz")
    spec = reference.spec["inputs"][size]
    batch, _, height, width = spec["shape"]
    image, _ = reference.scene(spec["name"], spec["cls"], batch, height, width)
    with torch.no_grad():
        for index, maps in enumerate(ssp.backbone.walk(image)):
            name = f"{size}_layer{index}"
            if name in reference.spec["outputs"]:
                # layer3 has no last ReLU
                reference.check(name, maps.taps[-1] if index == 3 else maps.output)


def test_masked_means(scenes: OpenScenes) -> None:
    reference = scenes("ssp_parts.npz")
    features = reference.array("ssp.map.f", (3, 6, 13, 17))
    mask = reference.array("ssp.map.mask", (3, 104, 136), "mask")
    mask[1] = 0
    mask[2, :8] = 255
    reference.check("map_fg", masked_mean(features, mask == 1))
    reference.check("map_bg", masked_mean(features, mask == 0))


def test_similarity(scenes: OpenScenes) -> None:
    reference = scenes("ssp_parts.npz")
    scores = cosine_scores(
        reference.array("ssp.fn.f", (2, 1024, 9, 11)),
        reference.array("ssp.fn.fg_proto", (2, 1024, 1, 1)),
        reference.array("ssp.fn.bg_proto", (2, 1024, 9, 11)),
    )
    reference.check("similarity", scores)


@pytest.mark.parametrize("branch", ["threshold", "top12", "mixed"])
def test_self_support(branch: str, scenes: OpenScenes) -> None:
    reference = scenes("ssp_parts.npz")
    features = reference.array("ssp.fn.f", (2, 1024, 9, 11))
    out = reference.array(f"ssp.fn.out.{branch}", (2, 2, 9, 11))
    out = out * (4 if branch == "threshold" else 0.05)
    if branch == "mixed":
        out[0, 1] += 3
        out[1, 0] += 3
    found = self_support(features, out)
    reference.check(f"{branch}_ssfp", found.fore)
    reference.check(f"{branch}_ssbp", found.back)
    reference.check(f"{branch}_asbp", found.local_back)
    chosen = confident(out.flatten(2).softmax(1)[:, 1], 0.7)
    local_fore = local_prototypes(features.flatten(2), chosen).reshape(features.shape)
    reference.check(f"{branch}_asfp", local_fore[..., None, None])


@pytest.mark.parametrize("shots", [1, 5])
def test_matching_of_given_features(shots: int, scenes: OpenScenes, ssp: SSP) -> None:
    reference = scenes("ssp_parts.npz")
    u = reference.array("ssp.head.u", (1024,))[None, :, None, None]
    v = reference.array("ssp.head.v", (1024,))[None, :, None, None]

    def image(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        low = reference.array(f"{name}.lowmask", (2, 13, 17), "mask")
        noise = reference.array(f"{name}.noise", (2, 1024, 13, 17))
        feature = noise + low[:, None] * u + (1 - low[:, None]) * v
        return feature, low.repeat_interleave(8, 1).repeat_interleave(8, 2)

    query, query_mask = image("ssp.head.q")
    supports = [image(f"ssp.head.s{k}") for k in range(shots)]
    pairs = [fore_and_background(f, m) for f, m in supports]
    fore = torch.stack([pair[0] for pair in pairs]).mean(0)
    back = torch.stack([pair[1] for pair in pairs]).mean(0)
    scores = ssp.self_supported(query, fore, back)
    assert scores.refined is not None
    head = f"head_{shots}shot"
    reference.check(f"{head}_refined", scores.refined)
    reference.check(f"{head}_first", scores.first)
    reference.check(f"{head}_query_self", with_own_prototypes(query, query_mask))
    own = torch.cat([with_own_prototypes(f, m) for f, m in supports])
    reference.check(f"{head}_support_self", own)


@pytest.mark.parametrize("case", ["small_1shot", "small_5shot", "full_1shot", "full_5shot"])
def test_whole_network(case: str, scenes: OpenScenes, ssp: SSP) -> None:
    reference = scenes("ssp_episode.npz")
    query_images, _, images, masks = reference.episode(case)
    shots = images.shape[1]
    with torch.no_grad():
        query = ssp.encode(query_images)
        states = ssp.encode_support(ssp.encode(images.flatten(0, 1)), masks.flatten(0, 1))
        fore, back = ssp.averaged(states, shots=shots)
        features = query.tensors[ssp.stage]
        coarse = cosine_scores(features, fore[..., None, None], back[..., None, None])
        reference.check(f"{case}_support_match_low", coarse)
        scores = ssp.self_supported(features, fore, back)
        assert scores.refined is not None
        reference.check(f"{case}_first_low", scores.first)
        # out_2 = 0.7 second + 0.3 first
        reference.check(f"{case}_second_low", (scores.refined - 0.3 * scores.first) / 0.7)
        if f"{case}_ssfp" in reference.spec["outputs"]:
            own = self_support(features, coarse)
            reference.check(f"{case}_ssfp", own.fore)
            reference.check(f"{case}_ssbp", own.back)
            reference.check(f"{case}_asbp", own.local_back)
        full = ssp.logits(query_images, images, masks)[:, 0]
        reference.check(f"{case}_refined", full)
        first = upsampled(scores.first, query.size)
        reference.check(f"{case}_first", first)
        counts = torch.stack([(m.argmax(1) == 1).sum() for m in (full, first)])
        reference.check(f"{case}_foreground_pixels", counts)
        mask = ssp.predict(query_images, images, masks)
        assert torch.equal(mask, full.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("case", ["1shot_plain", "1shot_refine", "2shot_refine"])
def test_training_step(case: str, scenes: OpenScenes, fill: ModuleType) -> None:
    reference = scenes("ssp_train.npz")
    net = build("ssp", refine="refine" in case)
    fill.fill(net, 0, "")
    assert isinstance(net, SSP)
    net.train()
    query, query_mask, images, masks = reference.episode(case)
    query_mask[:, :8] = 255
    masks[..., :8] = 255
    trainable = reference.spec["trainable_in_order_of_grad_norms"]
    parameters = dict(net.get_submodule("backbone").named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trainable)
    optimizer = torch.optim.SGD(
        [parameters[name] for name in trainable], lr=1e-3, momentum=0.9, weight_decay=5e-4
    )
    batch = EpisodeBatch(query, query_mask, images, masks)
    terms = net.loss_terms(batch)
    loss = net.loss(batch)
    loss.backward()
    values = torch.stack([loss.detach(), *(term.value.detach() for term in terms.values())])
    reference.check(f"{case}_losses", values)
    norms = [cast("torch.Tensor", parameters[name].grad).norm() for name in trainable]
    reference.check(f"{case}_grad_norms", torch.stack(norms))
    for name in ("layer2.0.conv1.weight", "layer3.5.conv3.weight"):
        gradient = parameters[name].grad
        assert gradient is not None
        reference.check(f"{case}_grad_{name}", gradient)
    with torch.no_grad():
        features = net.encode(query).tensors[net.stage]
        support = net.encode(images.flatten(0, 1)).tensors[net.stage]
        scores = net.self_supported(features, *mean_prototypes(support, masks))
        maps = {
            "first": scores.first,
            "query_self": with_own_prototypes(features, query_mask),
            # published with all first shots first
            "support_self": with_own_prototypes(support, masks.flatten(0, 1))
            .unflatten(0, (-1, images.shape[1]))
            .transpose(0, 1)
            .flatten(0, 1),
        }
        if scores.refined is not None:
            maps["refined"] = scores.refined
    for name, found in maps.items():
        reference.check(f"{case}_{name}", upsampled(found, (query.shape[-2], query.shape[-1])))
    optimizer.step()
    after = parameters["layer3.5.conv3.weight"]
    reference.check(f"{case}_after_step_layer3.5.conv3.weight", after)
    assert np.isfinite(values.numpy()).all()
