"""The simulated device refuses what a GPU refuses and counts what a GPU is waited for."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ..support.simulated_device import counted_waits, largest_tensor

pytestmark = pytest.mark.simulated

MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sum": lambda here, there: here + there,
    "product": lambda here, there: there @ here,
    "cat": lambda here, there: torch.cat((there, here)),
    "where": lambda here, there: torch.where(there > 0, there, here),
    "positions": lambda here, there: here[there > 0],
    "values": lambda here, there: there.index_put_((torch.tensor([0, 1]),), here[:2]),
    "in place": lambda here, there: there.mul_(here),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("mode", ["ordinary", "inference"])
def test_operands_of_host_and_device_are_refused(name: str, mode: str, device: str) -> None:
    with torch.inference_mode(mode=mode == "inference"):
        here, there = torch.ones(3, 3), torch.ones(3, 3, device=device)
        with pytest.raises(RuntimeError, match="same device"):
            MIXED[name](here, there)


def test_a_scalar_of_the_host_is_taken(device: str) -> None:
    found = torch.ones(2, device=device) * torch.tensor(3.0)
    assert found.device.type == device
    assert found.tolist() == [3, 3]


def test_numbers_are_drawn_with_the_device_s_generator_only(device: str) -> None:
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, device=device, generator=torch.Generator())


def test_numpy_does_not_see_the_device(device: str) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        torch.ones(3, device=device).numpy()


WAITING: dict[str, tuple[int, Callable[[Tensor], object]]] = {
    "arithmetic": (0, lambda x: (x @ x + 1).softmax(-1).topk(2).values),
    "made there": (0, lambda x: torch.arange(3, device=x.device) + torch.eye(3, device=x.device)),
    "filled where a mask says": (0, lambda x: x.masked_fill(x > 0, 2.0)),
    "a number": (1, lambda x: float(x.sum())),
    "a condition": (1, lambda x: bool((x > 0).any())),
    "a list": (1, lambda x: x.tolist()),
    "to the host": (1, lambda x: x.cpu()),
    "onto the device": (1, lambda x: torch.ones(3).to(x.device)),
    "not waited for": (0, lambda x: torch.ones(3).to(x.device, non_blocking=True)),
    "a constant": (1, lambda x: x.new_tensor([1.0, 2.0])),
    "chosen by a mask": (1, lambda x: x[x > 0]),
    "places": (1, lambda x: (x > 0).nonzero()),
    "different values": (1, lambda x: x.unique()),
    "an inverse": (1, lambda x: torch.linalg.inv(x + 2 * torch.eye(3, device=x.device))),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITING)
def test_waits_are_counted(name: str, device: str) -> None:
    expected, work = WAITING[name]
    given = torch.ones(3, 3, device=device)
    with counted_waits() as waits:
        work(given)
    assert waits.total == expected, waits
    with torch.inference_mode(), counted_waits() as waits:
        work(given)
    assert waits.total == expected, waits


def test_gradients_are_those_of_the_cpu(device: str) -> None:
    layer = torch.nn.Linear(3, 2)
    given = torch.randn(4, 3)
    layer(given).square().sum().backward()
    expected = layer.weight.grad
    assert expected is not None
    layer.zero_grad()
    layer.to(device)(given.to(device)).square().sum().backward()
    found = layer.weight.grad
    assert found is not None
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), expected)


def test_mixed_precision_reaches_products(device: str) -> None:
    given = torch.randn(4, 3, device=device)
    with torch.autocast(device, torch.bfloat16):
        assert torch.nn.Linear(3, 2).to(device)(given).dtype == torch.bfloat16


def test_what_is_too_large_has_no_room(device: str) -> None:
    with largest_tensor(100) as refusals:
        torch.zeros(25, device=device)
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(26, device=device)
    assert refusals.count == 1
    torch.zeros(26, device=device)
