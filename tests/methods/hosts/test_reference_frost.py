"""FROST against what the published code computes."""

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.blocks.density_ratio import best_bandwidth, log_ratio, margins
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.frost import FROST

from ...support.dino_vectors import NewVectors
from ...support.given_maps import GivenMaps
from ...support.recipes import pictures, token_maps
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

KDE = ("kde0", "kde1")

reference = stored_vectors(NewVectors, "frost.npz")


@pytest.mark.parametrize("case", ["injected maps, 1-shot", "injected maps, 5-shot"])
def test_given_maps(case: str, reference: NewVectors) -> None:
    spec = reference.cases[case]
    recipe, name = spec["inputs"][0], spec["name"]
    masks, maps, black = token_maps(reference, recipe)
    shots, shape = recipe["K"], maps.shape[1:]
    noise = reference.input(f"{name}.flipnoise", (shots, *shape))
    height, width = masks.shape[-2:]
    blocks = F.avg_pool2d(reference.input(f"{name}.rgb", (1, 3, height, width)), 8)
    query = 8 * blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    images = torch.randn((shots, 3, height, width), generator=torch.Generator())
    encoder = GivenMaps(
        torch.cat((images, images.flip(-1), query)),
        torch.cat((maps[:shots], maps[:shots].flip(-1) + 0.3 * noise, maps[shots:])),
        black,
    )
    net = FROST(encoder, svd=spec["parameters"]["svd_components"]).eval()
    check(reference, case, net, query, images, masks[:shots])


@pytest.mark.parametrize("shots", [1, 5])
def test_a_filled_dino(shots: int, reference: NewVectors) -> None:
    case = f"DINOv3 ViT-S filled, {shots}-shot"
    spec = reference.cases[case]
    support, query = spec["inputs"][:2]
    images, masks = pictures(reference, support)
    asked, _ = pictures(reference, query)
    encoder = reference.filled_dino("dinov3-s16")
    net = FROST(encoder, svd=spec["parameters"]["svd_components"]).eval()
    check(reference, case, net, asked, images, masks)


def check(
    reference: NewVectors, case: str, net: FROST, query: Tensor, images: Tensor, masks: Tensor
) -> None:
    """Every stored output of a case from one query [1, ...] and its supports [K, ...]."""
    with torch.no_grad():
        rows, shown = net.encode(query), net.encode(images)
        states = cast("list[FeatureBatch]", net.encode_support(shown, masks))
        (found,) = net.decisions([net.query(rows)], [net.references(states)])
        mask = net.predict(query, images[None], masks[None])[0]
    assert found.density is not None
    size = found.gate.shape
    outputs = {
        "whitened_target": found.whitened.unflatten(1, size),
        "candidates": found.candidates.unflatten(0, size),
        "sigma": torch.tensor([found.density.bandwidth]),
        "margin": torch.tensor([found.density.margin]),
        "log_ratio": found.density.ratio,
        "smoothed": found.density.smoothed.unflatten(0, size),
        "gate": found.gate,
        "mask": mask,
    }
    name = reference.cases[case]["name"]
    stored = [o["array"].removeprefix(f"{name}.") for o in reference.cases[case]["outputs"]]
    assert sorted(stored) == sorted(outputs)
    for array in stored:
        reference.check(case, f"{name}.{array}", outputs[array])


@pytest.mark.parametrize("name", KDE)
def test_bandwidth_and_density_ratio(name: str, reference: NewVectors) -> None:
    case = f"bandwidth and density ratio alone ({name})"
    offset = 0.0 if name == "kde0" else 0.35
    rows = {
        key: reference.input(f"{name}.{key}", (count, 16))
        for key, count in (("fg", 40), ("bg", 60), ("t", 30))
    }
    rows["fg"] = rows["fg"] + offset
    fore, back, points = (F.normalize(rows[key], dim=1) for key in ("fg", "bg", "t"))
    bandwidth, _ = best_bandwidth(fore, back)
    reference.check(case, f"{name}.margins", margins(fore, back))
    reference.check(case, f"{name}.sigma", torch.tensor([bandwidth]))
    reference.check(case, f"{name}.log_ratio", log_ratio(points, fore, back, bandwidth))
