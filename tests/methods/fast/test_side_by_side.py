"""Parts of an episode in threads of their own: the same results, and torch is left as it was."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods.fast.side_by_side import side_by_side

from ...support.contract import episodes, network, same_scores, side


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_share_the_threads(threads: int) -> None:
    def state(item: int) -> tuple[int, int, bool]:
        return item, torch.get_num_threads(), torch.is_inference_mode_enabled()

    with torch.inference_mode():
        found = side_by_side(state, range(4))
    many = min(threads, 4)
    assert found == [(item, threads // many, True) for item in range(4)]
    assert torch.get_num_threads() == threads
    begun: list[int] = []
    later = threading.Thread(target=lambda: begun.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert begun == [threads]


def test_autocast_and_the_absence_of_gradients_hold_in_every_thread(threads: int) -> None:
    weight = torch.ones(2, 2, requires_grad=True)

    def product(item: int) -> Tensor:
        return weight @ torch.full((2, 2), float(item))

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = side_by_side(product, [1, 2, 3])
    assert [(one.dtype, one.requires_grad) for one in found] == [(torch.bfloat16, False)] * 3
    assert [float(one[0, 0]) for one in found] == [2, 4, 6]


def test_an_error_is_raised_and_leaves_the_number_of_threads(threads: int) -> None:
    def fail(item: int) -> int:
        raise ValueError(f"part {item}")

    with torch.no_grad(), pytest.raises(ValueError, match="part 0"):
        side_by_side(fail, range(3))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", ["hsnet", "patnet"])
def test_shots_score_alike_with_any_number_of_threads(name: str, threads: int) -> None:
    same_scores(network(name), "cpu", *episodes(1, 3, side(name)).inputs)
