"""Parts of INSID3 and FROST against their definitions, written out plainly."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods.blocks import candidates, density_ratio
from cdfss_bench.methods.blocks.candidates import agreeing, alike, mean_prototype
from cdfss_bench.methods.blocks.density_ratio import BANDWIDTHS, log_ratio, margins
from cdfss_bench.methods.blocks.grid_smoothing import smoothed
from cdfss_bench.methods.blocks.positional_basis import black_images, positional_basis, without
from cdfss_bench.methods.blocks.token_masks import token_masks
from cdfss_bench.methods.blocks.whitening import products, whitening

from ...support.draws import normal


def test_a_large_object_is_seen_by_bilinear_interpolation() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[:, :33, :40] = 1
    found = token_masks(mask, (8, 8))[0]
    assert found.sum() == 20
    assert found[:4, :5].all()


@pytest.mark.parametrize(
    ("image", "size", "pixel", "cell"),
    [
        ((112, 112), (14, 14), (57, 41), (7, 5)),
        ((400, 400), (29, 29), (399, 399), (28, 28)),  # no whole number of pixels per position
        ((64, 96), (4, 6), (63, 1), (3, 0)),
    ],
)
def test_an_object_of_one_pixel_is_seen_at_its_place(
    image: tuple[int, int], size: tuple[int, int], pixel: tuple[int, int], cell: tuple[int, int]
) -> None:
    masks = torch.zeros(2, *image, dtype=torch.uint8)
    masks[0, pixel[0], pixel[1]] = 1
    found = token_masks(masks, size)
    assert found[0].nonzero().tolist() == [list(cell)]
    assert not found[1].any()


def test_a_black_image_is_zero_before_it_is_normalised() -> None:
    image = black_images((2, 3), device=torch.device("cpu"), dtype=torch.float32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(
        image * std[:, None, None] + mean[:, None, None], torch.zeros(1, 3, 2, 3)
    )


def test_the_basis_has_the_largest_directions_and_no_more_than_there_are() -> None:
    rows = torch.linalg.qr(normal(12, 3)).Q
    maps = rows @ torch.diag(torch.tensor([5.0, 1.0, 1e-4])) @ normal(3, 40, seed=1) + 0.3
    two = positional_basis(maps, 9, least=1e-3)
    assert two.shape == (12, 2)
    torch.testing.assert_close(two @ (two.mT @ rows[:, :2]), rows[:, :2], rtol=0, atol=1e-3)
    assert positional_basis(maps, 1).shape == (12, 1)
    assert positional_basis(maps, 99).shape == (12, 12)
    left = without(two, F.normalize(normal(4, 12, 7), dim=1))
    torch.testing.assert_close(two.mT @ left, torch.zeros(4, 2, 7), rtol=0, atol=1e-6)


def test_positions_above_zero_are_alike_or_the_highest_tenth() -> None:
    some = torch.tensor([-0.5, 0.0, 0.2, 0.7])
    assert alike(some).tolist() == [False, False, True, True]
    none = -torch.arange(1.0, 12.0)
    assert alike(none).nonzero()[:, 0].tolist() == [0]
    assert not alike(torch.zeros(5)).any()


@pytest.mark.parametrize(("neighbours", "least"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("references", [1, 2, 5])
def test_half_of_the_references_must_agree(
    neighbours: int, least: int, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, others = normal(6, 30), normal(references, 6, 20, seed=1)
    seen = normal(references, 20, seed=2) > 0
    among = normal(30, seed=3) > -0.5
    monkeypatch.setattr(candidates, "CHUNK", 7)
    found = agreeing(query, others, seen, among, neighbours=neighbours, least=least)
    for position in range(30):
        votes = 0
        for reference, mask in zip(others, seen, strict=True):
            order = np.argsort(-(query[:, position] @ reference).numpy())[:neighbours]
            votes += int(mask[order.copy()].sum()) >= least
        expected = bool(among[position]) and votes >= math.ceil(references / 2)
        assert bool(found[position]) == expected


def test_of_equal_matches_the_first_counts() -> None:
    query = torch.ones(1, 1)
    seen = torch.tensor([[False, True, True]])
    everywhere = torch.ones(1, dtype=torch.bool)
    assert not agreeing(query, torch.ones(1, 1, 3), seen, everywhere).any()


def test_the_prototype_is_a_mean_of_means_and_empty_references_have_none() -> None:
    tokens, seen = normal(3, 4, 9), torch.zeros(3, 9, dtype=torch.bool)
    seen[0, :2] = True
    seen[2, 3:] = True
    expected = (tokens[0, :, :2].mean(1) + tokens[2, :, 3:].mean(1)) / 2
    torch.testing.assert_close(mean_prototype(tokens, seen), expected)
    assert not mean_prototype(tokens, torch.zeros_like(seen)).any()


def plain_margin(fore: Tensor, back: Tensor, bandwidth: float) -> float:
    def density(point: Tensor, anchors: Tensor) -> Tensor:
        return ((anchors @ point - 1) / bandwidth).exp().mean().log()

    def ratios(own: Tensor, other: Tensor) -> Tensor:
        return torch.stack(
            [
                density(own[i], torch.cat((own[:i], own[i + 1 :]))) - density(own[i], other)
                for i in range(len(own))
            ]
        )

    return float(ratios(fore, back).mean() + ratios(back, fore).mean())


@pytest.mark.parametrize("chunk", [4, 1000])
def test_margins_leave_each_anchor_out(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fore = F.normalize(normal(9, 5, seed=1) + 0.5, dim=1)
    back = F.normalize(normal(14, 5, seed=2), dim=1)
    monkeypatch.setattr(density_ratio, "CHUNK", chunk)
    expected = [plain_margin(fore.double(), back.double(), h) for h in BANDWIDTHS]
    torch.testing.assert_close(
        margins(fore, back), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5
    )


def test_a_single_anchor_has_no_margin_of_its_own() -> None:
    fore, back = F.normalize(normal(1, 5), dim=1), F.normalize(normal(6, 5, seed=1), dim=1)
    assert margins(fore, back).isfinite().all()
    assert margins(back, fore).isfinite().all()


def test_the_ratio_compares_mean_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    points, fore, back = (F.normalize(normal(n, 5, seed=n), dim=1) for n in (8, 3, 11))
    monkeypatch.setattr(density_ratio, "CHUNK", 3)
    found = log_ratio(points, fore, back, 0.2)
    one, other = (((points @ a.mT - 1) / 0.2).exp().mean(1) for a in (fore, back))
    torch.testing.assert_close(found, (one / other).log())


def test_whitening_is_the_inverse_root_of_the_shrunk_covariance_within_classes() -> None:
    tokens, seen = normal(3, 4, 50) * torch.tensor([3.0, 1.0, 1.0, 0.2])[:, None], normal(3, 50) > 0
    counts = [int(seen.sum()), int((~seen).sum())]
    matrix = whitening(products(tokens, seen), counts)
    assert matrix is not None
    matrix = matrix.float()
    rows = tokens.mT
    centred = torch.cat([rows[m] - rows[m].mean(0) for m in (seen, ~seen)])
    covariance = centred.mT @ centred / (150 - 2)
    shrunk = 0.05 * covariance + 0.95 * covariance.diagonal().mean() * torch.eye(4)
    torch.testing.assert_close(matrix @ shrunk @ matrix, torch.eye(4), rtol=1e-4, atol=1e-5)
    turned = whitening(products(tokens.flip(0), seen.flip(0)), counts)
    assert turned is not None
    torch.testing.assert_close(turned.float(), matrix)


@pytest.mark.parametrize("value", [True, False])
def test_one_class_alone_is_not_whitened(value: bool) -> None:
    parts = products(normal(1, 4, 9), torch.full((1, 9), value))
    assert whitening(parts, (9, 0) if value else (0, 9)) is None


def test_scores_spread_among_near_and_similar_neighbours() -> None:
    size = (2, 19)
    scores, colours = normal(38), normal(3, 38, seed=1).sigmoid()
    unit = F.normalize(normal(6, 38, seed=2), dim=0)
    weights = torch.zeros(38, 38)
    for i in range(38):
        for j in range(38):
            apart = math.dist(divmod(i, 19), divmod(j, 19))
            if i != j and apart <= 16:
                difference = (scores[i] - scores[j]) / (scores.std() + 1e-6)
                weights[i, j] = math.exp(
                    float(unit[:, i] @ unit[:, j]) / 0.2
                    - float((colours[:, i] - colours[:, j]).square().sum()) / 0.05
                    - float(difference) ** 2
                )
    weights /= weights.sum(1, keepdim=True).clamp(min=1e-6)
    expected = scores
    for _ in range(10):
        expected = 0.3 * scores + 0.7 * weights @ expected
    torch.testing.assert_close(smoothed(scores, unit, colours, size), expected)
