"""Sharpness-aware minimisation against a computation by hand."""

import pytest
import torch
from torch import Tensor, nn

from cdfss_bench.bench.training.sam import sharpen


class Valley(nn.Module):
    """0.5 (w0^2 + 10 w1^2), its curvature in two parameters."""

    def __init__(self, first: float, second: float):
        super().__init__()
        self.first = nn.Parameter(torch.tensor([first]))
        self.second = nn.Parameter(torch.tensor([second]))
        self.unused = nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self) -> Tensor:
        self.get_buffer("calls").add_(1)
        return (0.5 * (self.first**2 + 10 * self.second**2)).sum()


def gradients(net: Valley) -> list[float]:
    return [float(p.grad) for p in (net.first, net.second) if p.grad is not None]


def test_the_gradient_is_that_of_the_neighbour_uphill() -> None:
    net = Valley(3.0, 0.4)
    net().backward()
    # The gradient is (3, 4), its length 5: the neighbour at 0.5 is (3.3, 0.8).
    assert gradients(net) == pytest.approx([3.0, 4.0])
    sharpen(net, net, radius=0.5)
    assert gradients(net) == pytest.approx([3.3, 8.0])
    assert net.unused.grad is None


def test_parameters_and_running_statistics_are_as_the_first_pass_left_them() -> None:
    net = Valley(0.1, 0.7)
    net().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    sharpen(net, net, radius=0.3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert float(net.get_buffer("calls")) == 1


@pytest.mark.parametrize(
    ("place", "radius", "slope"), [((3.0, 0.4), 0.0, [3.0, 4.0]), ((0.0, 0.0), 0.5, [0.0, 0.0])]
)
def test_without_a_radius_or_a_slope_no_gradient_changes(
    place: tuple[float, float], radius: float, slope: list[float]
) -> None:
    net = Valley(*place)
    net().backward()
    sharpen(net, net, radius=radius)
    assert gradients(net) == pytest.approx(slope, rel=1e-6, abs=0)
