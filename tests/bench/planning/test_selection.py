"""What is typed to select cells."""

from __future__ import annotations

from cdfss_bench.bench.planning.selection import Selection, plan
from cdfss_bench.datasets import open_domain


def test_names_ignore_case() -> None:
    typed = Selection(
        methods=("LoEC",), domains=("Mini-Lesion",), backbone="ResNet-Mini", episodes=2
    )
    plain = Selection(
        methods=("loec",), domains=("mini-lesion",), backbone="resnet-mini", episodes=2
    )
    (one,), (other,) = plan(typed), plan(plain)
    assert one.cell is not None
    assert other.cell is not None
    assert one.cell.id == other.cell.id


def test_a_domain_is_opened_whatever_its_case() -> None:
    assert open_domain("MINI-Lesion").card.name == "mini-lesion"
