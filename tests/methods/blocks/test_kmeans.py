"""The two k-means rules, and the first centres that need no random numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.blocks.kmeans import (
    ITERATIONS,
    Initial,
    cosine_kmeans,
    euclidean_kmeans,
    farthest_points,
)

from ...support.draws import normal

Rule = Callable[[Tensor, int, Initial], Tensor]


def at(*places: int) -> Initial:
    return lambda tokens, count: torch.tensor(places[:count])


def test_the_first_point_is_central_and_the_others_far_from_those_before() -> None:
    tokens = torch.tensor([[5.0, 0.0], [0.1, 0.0], [-3.0, 0.0], [-3.1, 0.1], [0.0, -4.0]])
    assert farthest_points(tokens, 4).tolist() == [1, 0, 4, 3]


def test_the_farthest_points_do_not_depend_on_the_order_of_the_tokens() -> None:
    tokens, order = normal(200, 8), torch.randperm(200, generator=torch.Generator().manual_seed(1))
    chosen = tokens[farthest_points(tokens, 9)]
    assert torch.equal(tokens[order][farthest_points(tokens[order], 9)], chosen)
    assert len(chosen.unique(dim=0)) == 9


@pytest.mark.parametrize("kmeans", [cosine_kmeans, euclidean_kmeans])
def test_both_rules_find_separate_clusters(kmeans: Rule) -> None:
    directions = 10 * torch.eye(6)[:4]
    tokens = directions.repeat_interleave(30, 0) + 0.1 * normal(120, 6)
    expected = torch.stack([part.mean(0) for part in tokens.split(30)])
    found = kmeans(tokens, 4, farthest_points)
    assert found.shape == (4, 6)
    for centre in expected:
        assert float((found - centre).norm(dim=1).min()) < 1e-5


def test_one_rule_groups_by_direction_and_the_other_by_distance() -> None:
    lengths = torch.tensor([1.0, 1.1, 9.0, 10.0])
    tokens = (lengths[:, None, None] * torch.eye(2)).flatten(0, 1)
    by_direction = cosine_kmeans(tokens, 2, at(6, 7))
    assert torch.equal(by_direction, lengths.mean() * torch.eye(2))
    by_distance = euclidean_kmeans(tokens, 3, at(0, 6, 7))
    assert torch.equal(by_distance, torch.tensor([[0.525, 0.525], [9.5, 0], [0, 9.5]]))


def test_an_empty_cluster_is_refilled_with_one_token_after_the_other() -> None:
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 1)
    # Two directions for three centres: one cluster stays empty, so that the rounds are used up.
    found = cosine_kmeans(tokens, 3, at(0, 1, 3))
    assert torch.equal(found[:2], tokens[:2])
    assert torch.equal(found[2], tokens[(ITERATIONS - 1) % len(tokens)])


def test_an_empty_cluster_of_the_euclidean_rule_is_dropped() -> None:
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 1) + 5
    found = euclidean_kmeans(tokens, 3, at(0, 1, 2))
    assert torch.equal(found, tokens[:2])


def test_the_euclidean_rule_gives_an_empty_cluster_a_second_chance_at_the_origin() -> None:
    tokens = torch.tensor([[9.0], [9.0], [8.0], [0.4], [0.6]])
    # The second centre equals the first and is left empty; at zero it collects the last two.
    found = euclidean_kmeans(tokens, 2, at(0, 1))
    assert sorted(found[:, 0].tolist()) == pytest.approx([0.5, 26 / 3])


@pytest.mark.parametrize("kmeans", [cosine_kmeans, euclidean_kmeans])
def test_equal_tokens_give_finite_centres(kmeans: Rule) -> None:
    for tokens in (torch.ones(7, 3), torch.zeros(7, 3)):
        found = kmeans(tokens, 5, farthest_points)
        assert bool(found.isfinite().all())
        assert len(found) >= 1
