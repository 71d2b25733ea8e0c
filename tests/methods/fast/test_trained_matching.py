"""SSP's matching of a training step beside the plain one: the same terms and gradients."""

import gc
import weakref

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.training.frozen_stages import FrozenStages
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.blocks import self_support
from cdfss_bench.methods.blocks.self_support import confident
from cdfss_bench.methods.conformance.probe import episodes, seeded
from cdfss_bench.methods.core.contract import LossTerm
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast import trained_matching
from cdfss_bench.methods.fast.trained_matching import trained_terms
from cdfss_bench.methods.hosts.ssp import SSP

SIDE = 9


@pytest.fixture(autouse=True)
def _small_maps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_matching, "_LARGE", 0)


def network(text: str = "ssp") -> Method:
    return seeded(build(parse(text), backbone="resnet-mini"))


def features(signal: float) -> tuple[Tensor, Tensor]:
    """Of two queries and four supports, [N, 16, 9, 9], whose foreground differs by `signal`."""
    rng = torch.Generator().manual_seed(0)
    drawn = episodes(2, 2, SIDE * 8)
    direction = torch.randn(16, 1, 1, generator=rng)
    found: list[Tensor] = []
    for masks in (drawn.query_masks, drawn.support_masks.flatten(0, 1)):
        inside = (masks[:, None, ::8, ::8] == 1).double()
        noise = torch.randn(len(masks), 16, SIDE, SIDE, generator=rng).double()
        found.append(noise + signal * direction * (2 * inside - 1))
    return found[0], found[1]


def outcome(
    terms: dict[str, LossTerm], *given: Tensor
) -> tuple[dict[str, float], tuple[Tensor, ...]]:
    loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    return {n: float(t.value.detach()) for n, t in terms.items()}, torch.autograd.grad(loss, given)


@pytest.mark.parametrize("text", ["ssp", "ssp[refine=false]"])
@pytest.mark.parametrize("signal", [0.0, 0.3, 3.0])
def test_terms_and_gradients_are_the_plain_ones(text: str, signal: float) -> None:
    compare(text, signal)


def compare(text: str, signal: float) -> None:
    plain = network(text)
    assert isinstance(plain, SSP)
    fast = trained_terms(plain)
    assert fast is not None
    drawn = episodes(2, 2, SIDE * 8)
    query, support = (maps.requires_grad_() for maps in features(signal))
    masks = (drawn.query_masks, drawn.support_masks)
    expected, gradients = outcome(plain.matching_terms(query, support, *masks), query, support)
    terms = fast(query, support, *masks)
    found, slopes = outcome(terms, query, support)
    assert found == pytest.approx(expected, rel=1e-9)
    for slope, gradient in zip(slopes, gradients, strict=True):
        torch.testing.assert_close(slope, gradient, rtol=1e-6, atol=1e-9)


def test_features_are_gone_with_the_graph() -> None:
    plain = network()
    fast = trained_terms(plain)
    assert fast is not None
    drawn = episodes(2, 2, SIDE * 8)
    query, support = (maps.requires_grad_() for maps in features(0.3))
    terms = fast(query, support, drawn.query_masks, drawn.support_masks)
    made = [weakref.ref(o) for o in gc.get_objects() if type(o).__name__ == "_Unit"]
    torch.stack([term.value for term in terms.values()]).sum().backward()
    assert len(made) == 6
    assert all(unit() is not None for unit in made)
    del terms
    assert all(unit() is None for unit in made)


def test_columns_that_leave_the_selection_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn features only add columns in the second round, so the least probable ones are taken."""
    selections: list[Tensor] = []

    def least(probability: Tensor, threshold: float) -> Tensor:
        selections.append(confident(1 - probability, threshold))
        return selections[-1]

    for module in (self_support, trained_matching):
        monkeypatch.setattr(module, "confident", least)
    compare("ssp", 0.0)
    _, before, _, after = selections[:4]  # the foreground and the background of both rounds
    assert bool((before & ~after).any())


def test_a_host_that_matches_otherwise_keeps_its_own_terms() -> None:
    assert trained_terms(network("ifa")) is None
    assert trained_terms(network("hsnet")) is None


def test_the_terms_are_replaced_for_the_time_of_a_step_only() -> None:
    plain = network()
    plain.backbone.freeze(2)
    plain.eval()
    form = FrozenStages(plain, 0, "cpu")
    with form.in_place():
        assert "matching_terms" in vars(plain)
    assert "matching_terms" not in vars(plain)


def test_mixed_precision_matches_as_the_plain_form() -> None:
    plain = network()
    assert isinstance(plain, SSP)
    fast = trained_terms(plain)
    assert fast is not None
    drawn = episodes(2, 2, SIDE * 8)
    query, support = (maps.float() for maps in features(0.3))
    masks = (drawn.query_masks, drawn.support_masks)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain.matching_terms(query, support, *masks)
        found = fast(query, support, *masks)
    assert {n: float(t.value) for n, t in found.items()} == {
        n: float(t.value) for n, t in expected.items()
    }


def test_small_maps_are_matched_by_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    plain = network()
    fast = trained_terms(plain)
    assert fast is not None
    monkeypatch.setattr(trained_matching, "_terms", None)
    drawn = episodes(2, 2, SIDE * 8)
    assert set(fast(*features(0.3), drawn.query_masks, drawn.support_masks)) == {
        "refined",
        "first",
        "query_self",
        "support_self",
    }
