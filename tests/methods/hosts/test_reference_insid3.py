"""INSID3 against what the published code computes."""

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.debiased import MAP, unit_columns
from cdfss_bench.methods.hosts.insid3 import INSID3, matched

from ...support.dino_vectors import NewVectors
from ...support.given_maps import GivenMaps
from ...support.recipes import pictures, token_maps
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]


CASES = (
    "injected maps, 1-shot, svd 0",
    "injected maps, 1-shot, svd 20",
    "injected maps, 5-shot, svd 0",
    "injected maps, 5-shot, svd 20",
    "reference mask vanishing at token resolution (thin)",
    "reference mask vanishing at token resolution (near)",
    "no candidates",
)

reference = stored_vectors(NewVectors, "insid3.npz")


def changed(
    case: dict[str, Any], maps: Tensor, masks: Tensor, reference: NewVectors
) -> tuple[Tensor, Tensor]:
    """Maps and masks as the words of a case change them."""
    (recipe,) = case["inputs"]
    masks = masks.clone()
    if "mask" in recipe:
        masks[0] = 0
        if case["name"] == "tiny_thin":
            masks[0, 57, 40] = 1
        else:
            masks[0, 56, 40:100] = 1
    if "then" in recipe:
        size = (maps.shape[-2], maps.shape[-1])
        low = F.interpolate(masks[:1, None], size, mode="bilinear", align_corners=False)[0, 0] > 0.5
        common = reference.input(f"{recipe['N']}.basis", (6, maps.shape[1]))[5]
        first = maps[0] - 3 * common[:, None, None] * low
        outside = first[:, ~low].mean(1)[:, None, None]
        maps = torch.stack((first, outside + 0.05 * maps[1]))
    return maps, masks


@pytest.mark.parametrize("case", CASES)
def test_given_maps(case: str, reference: NewVectors) -> None:
    spec = reference.cases[case]
    (recipe,) = spec["inputs"]
    all_masks, given, black = token_maps(reference, recipe)
    maps, masks = changed(spec, given, all_masks, reference)
    shots = recipe["K"]
    images = torch.randn((shots + 1, 3, *masks.shape[-2:]), generator=torch.Generator())
    encoder = GivenMaps(images, maps, black)
    net = INSID3(encoder, svd=spec["parameters"]["svd_components"]).eval()
    check(reference, case, net, images[shots:], images[:shots], masks[:shots])


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("svd", [0, 100])
def test_a_filled_dino(shots: int, svd: int, reference: NewVectors) -> None:
    case = f"DINOv3 ViT-S filled, {shots}-shot, svd {svd}"
    spec = reference.cases[case]
    support, query = spec["inputs"][:2]
    images, masks = pictures(reference, support)
    asked, _ = pictures(reference, query)
    options = spec["parameters"]
    encoder = reference.filled_dino("dinov3-s16")
    net = INSID3(encoder, svd=svd, tau=options["tau"], alpha=options["alpha"]).eval()
    check(reference, case, net, asked, images, masks)


def check(
    reference: NewVectors, case: str, net: INSID3, query: Tensor, images: Tensor, masks: Tensor
) -> None:
    """Every stored output of a case from one query [1, ...] and its supports [K, ...]."""
    with torch.no_grad():
        rows, shown = net.encode(query), net.encode(images)
        states = net.encode_support(shown, masks)
        unit = unit_columns(rows.tensors[MAP])[0]
        own = FeatureBatch.cat(cast("list[FeatureBatch]", states)).tensors
        tokens = net.debiased(unit, rows.size)
        (found,) = net.decisions([matched(unit, tokens, own["tokens"], own["seen"])])
        mask = net.predict(query, images[None], masks[None])[0]
    size = rows.tensors[MAP].shape[-2:]
    outputs = {
        "prototype": found.matched.prototype,
        "forward_similarity": found.matched.similarity.unflatten(0, size),
        "candidates": found.matched.candidates.unflatten(0, size),
        "token_mask": found.mask.unflatten(0, size),
        "mask": mask,
    }
    if found.clusters is not None:
        outputs |= {
            "clusters": found.clusters.labels.unflatten(0, size),
            "cluster_prototypes": found.clusters.prototypes,
            "scores": found.clusters.scores,
        }
    name = reference.cases[case]["name"]
    stored = {o["array"].removeprefix(f"{name}.") for o in reference.cases[case]["outputs"]}
    assert stored <= outputs.keys()
    for array in stored:
        reference.check(case, f"{name}.{array}", outputs[array])
