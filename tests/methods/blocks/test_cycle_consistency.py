"""Cycle-consistent selection: shifted pairs, ties, parts, and classes without a cell."""

import pytest
import torch

from cdfss_bench.methods.blocks import cycle_consistency
from cdfss_bench.methods.blocks.cycle_consistency import matched


def test_a_shifted_support_is_found_where_it_went() -> None:
    support = torch.randn(16, 12, 12, generator=torch.Generator().manual_seed(0))
    query = support.roll((2, 3), dims=(1, 2))
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[3:7, 2:8] = True
    inside = mask.flatten()
    found = matched(support.flatten(1).t(), query.flatten(1).t(), inside)
    shifted = mask.roll((2, 3), dims=(0, 1)).flatten()
    assert torch.equal(found.kept(inside), shifted)
    assert torch.equal(found.kept(~inside), ~shifted)
    assert torch.allclose(found.likeness[shifted], torch.ones(24))
    assert float(found.likeness[~shifted].max()) < 0.9


def test_a_cell_that_leads_to_the_other_class_is_not_kept() -> None:
    support = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    query = torch.tensor([[0.1, 1.0]])
    inside = torch.tensor([True, False, False])
    found = matched(support, query, inside)
    # The object's only cell reaches the query's, whose best match is background.
    assert found.to_support.tolist() == [1]
    assert found.kept(inside).tolist() == [False]
    assert found.kept(~inside).tolist() == [True]


def test_of_equally_similar_cells_the_first_counts() -> None:
    cells = torch.tensor([[1.0, 0.0]]).expand(5, 2)
    found = matched(cells, cells, torch.ones(5, dtype=torch.bool))
    assert found.to_query.tolist() == [0] * 5
    assert found.to_support.tolist() == [0] * 5


@pytest.mark.parametrize("at_once", [1, 7 * 20, 10**9])
def test_the_parts_in_which_cosines_are_computed_do_not_matter(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = torch.Generator().manual_seed(1)
    # Whole numbers with norms that are equal, so that there are ties in plenty.
    support, query = (torch.randint(0, 2, (n, 4), generator=rng) * 2.0 - 1 for n in (30, 20))
    inside = torch.rand(30, generator=rng) > 0.5
    monkeypatch.setattr(cycle_consistency, "_AT_ONCE", at_once)
    found = matched(support, query, inside)
    cosines = support @ query.t() / 4
    assert torch.equal(found.to_query, cosines.argmax(1))
    assert torch.equal(found.to_support, cosines.argmax(0))
    assert torch.allclose(found.likeness, cosines[inside].amax(0))


def test_a_class_without_a_cell_keeps_none() -> None:
    cells = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    nothing = torch.zeros(6, dtype=torch.bool)
    found = matched(cells, cells, nothing)
    assert not found.kept(nothing).any()
    assert not found.likeness.any()
