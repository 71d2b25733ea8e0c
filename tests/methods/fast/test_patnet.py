"""How threads share the supports of an episode."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.fast.mixing import Part
from cdfss_bench.methods.fast.patnet import FastPATNet

from ...support.contract import as_a, episodes, network, same_scores, side


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("shots", [1, 5])
def test_scores_are_those_of_the_plain_form(threads: int, shots: int) -> None:
    same_scores(network("patnet"), "cpu", *episodes(1, shots, side("patnet")).inputs)


def test_supports_that_are_left_over_are_mixed_by_all_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = as_a(FastPATNet, network("patnet").optimized_for("cpu"))
    assert method.sparse is not None
    used: list[int] = []
    mixer = method.sparse.mixer

    def watched(parts: Sequence[Part]) -> Tensor:
        used.append(torch.get_num_threads())
        return mixer(parts)

    monkeypatch.setattr(method.sparse, "mixer", watched)
    given = episodes(1, 5, side("patnet"))
    with torch.inference_mode():
        query = method.encode(given.query_images)
        support = method.encode(given.support_images.flatten(0, 1))
        states = method.encode_support(support, given.support_masks.flatten(0, 1))
        method.match_states(query, states, shots=5)
    assert sorted(used) == {1: [1] * 5, 2: [1] * 4 + [2], 3: [1] * 5, 8: [1] * 5}[threads]
    assert torch.get_num_threads() == threads
