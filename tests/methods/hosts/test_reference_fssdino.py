"""FSSDINO against what its published code computes, first centres and refills as injected there."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.kmeans import Initial
from cdfss_bench.methods.blocks.voting import foreground
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.fssdino import FSSDINO, class_tokens, combined, similarity_maps

from ...support.dino_vectors import NewVectors
from ...support.recipes import pictures, stated_mask, token_maps
from ...support.vectors import stored_vectors

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("one_thread")]

vectors = stored_vectors(NewVectors, "fssdino.npz")


def drawn(vectors: NewVectors, name: str) -> Initial:
    """The first centres of the c-th call, as the vectors inject them."""
    calls = iter(range(2))

    def initial(tokens: Tensor, count: int) -> Tensor:
        rng = vectors.fill.rng(f"{name}.init.{next(calls)}", vectors.seed)
        return torch.from_numpy(rng.permutation(len(tokens))[:count])

    return initial


def injected(vectors: NewVectors, name: str, recipe: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Maps [K + 1, C, h, w] and the supports' masks [K, H, W] of a case without a backbone."""
    shots, channels, height, width = (recipe[key] for key in ("K", "C", "h", "w"))
    maps = token_maps(vectors, recipe)
    masks, tokens = maps.masks[:shots], maps.tokens
    if "mask" in recipe:
        masks = stated_mask(recipe["mask"], 8 * height, 8 * width)[None]
    if "then" in recipe:
        three = (4 * vectors.input(f"{name}.three", (3, channels))).round()
        where = masks[0, ::8, ::8] == 1
        tokens[0, :, where] = three[torch.arange(int(where.sum())) % 3].T
    return tokens, masks


def check(vectors: NewVectors, case: str, backbone: str) -> None:
    spec = vectors.cases[case]
    name, size = spec["name"], (spec["parameters"]["image_size"],) * 2
    net = build("fssdino", backbone=backbone)
    assert isinstance(net, FSSDINO)
    net.initial = drawn(vectors, name)
    if spec["inputs"][0]["recipe"] == "tokens":
        tokens, masks = injected(vectors, name, spec["inputs"][0])
        query, shown = tokens[-1], FeatureBatch(size, {"tokens": tokens[:-1]})
    else:
        net.backbone = vectors.filled_dino(backbone)
        (support, masks), (wanted, _) = (pictures(vectors, recipe) for recipe in spec["inputs"])
        query, shown = net.encode(wanted).tensors["tokens"][0], net.encode(support)
    states = [s for s in net.support_states(shown, masks) if isinstance(s, FeatureBatch)]
    scores = check_classes(vectors, case, net, query, states, size)
    if f"{name}.scores0" in vectors.arrays:
        vectors.check(case, f"{name}.scores0", scores[0])
        assert (scores[1] < scores[0]).all()
    else:
        vectors.check(case, f"{name}.scores", scores)
    vectors.check(case, f"{name}.mask", foreground(scores))
    if len(states) == 1:
        net.initial = drawn(vectors, name)
        rows = FeatureBatch(size, {"tokens": query[None]})
        assert torch.equal(net.score(rows, states, shots=1)[0, 0], scores)


def check_classes(
    vectors: NewVectors,
    case: str,
    net: FSSDINO,
    query: Tensor,
    states: Sequence[FeatureBatch],
    size: tuple[int, int],
) -> Tensor:
    """Centres and maps of both classes; their scores [2, H, W]."""
    scores: list[Tensor] = []
    for number, tokens in enumerate(class_tokens(FeatureBatch.cat(states))):
        (centres,) = net.centres([tokens])
        maps = similarity_maps(query, tokens, centres)
        scores.append(combined(maps, size))
        name = vectors.cases[case]["name"]
        if len(tokens):
            vectors.check(case, f"{name}.centres{number}", centres)
            vectors.check(case, f"{name}.maps{number}", maps)
    return torch.stack(scores)


@torch.no_grad()
def test_every_case(vectors: NewVectors) -> None:
    assert len(vectors.cases) >= 7
    for case, spec in vectors.cases.items():
        injects = spec["inputs"][0]["recipe"] == "tokens"
        check(vectors, case, "vit-mini" if injects else "dinov3-s16")
