"""DINOv2 and DINOv3 against vectors of the published implementations."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.backbones.dino import DINOv2, DINOv3
from cdfss_bench.methods.backbones.transformer import Transformer

from ...support.dino_vectors import NewVectors
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

NAMES = {
    "dinov2_vits14": "dinov2-s14",
    "dinov2_vits14_reg": "dinov2-s14-reg",
    "dinov3_vits16": "dinov3-s16",
}
"""Ours, by the published ones."""

vectors = stored_vectors(NewVectors, "dino_backbones.npz")


@pytest.fixture(scope="module", params=list(NAMES))
def published(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def net(published: str, vectors: NewVectors) -> Transformer:
    return vectors.filled_dino(NAMES[published])


def test_every_case(published: str, net: Transformer, vectors: NewVectors) -> None:
    cases = [case for case in vectors.cases if case.partition(".")[0] == published]
    assert len(cases) >= 2
    for case in cases:
        (spec,) = vectors.cases[case]["inputs"]
        images = vectors.input(spec["name"], spec["shape"])
        with torch.no_grad():
            found = outputs(net, images)
            stages = [maps.output for maps in net.walk(images)]
        for stored in vectors.cases[case]["outputs"]:
            vectors.check(case, stored["array"], found[stored["array"].removeprefix(f"{case}.")])
        vectors.check(case, f"{case}.map", stages[-1])
        vectors.check(case, f"{case}.block0", stages[1].flatten(2).transpose(1, 2))


def outputs(net: Transformer, images: Tensor) -> dict[str, Tensor]:
    """Everything that the vectors hold, by their names."""
    read = net.read(images, blocks=(-1, 0, 5, 11), residuals=True)
    assert read.residuals is not None
    named = {"tokens": read.tokens[-1], "map": read.normed, "A": read.residuals}
    named |= {f"block{i}": read.map(i).flatten(2).transpose(1, 2) for i in (0, 5, 11)}
    named |= {"cls": read.special[:, 0], "reg": read.special[:, 1:]}
    if isinstance(net, DINOv2):
        named["pos"] = net.positions(read.size)
    if isinstance(net, DINOv3):
        rotation = net.rotation(read.size)
        named |= {"sin": rotation.sin, "cos": rotation.cos}
    return named


def test_the_keys_are_the_published_ones(
    published: str, net: Transformer, vectors: NewVectors
) -> None:
    stated = next(
        case["state_dict"]
        for name, case in vectors.cases.items()
        if name.partition(".")[0] == published and "state_dict" in case
    )
    own = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert {k: v for k, v in stated.items() if k != "mask_token"} == own
    assert "mask_token" in net.unused_keys
