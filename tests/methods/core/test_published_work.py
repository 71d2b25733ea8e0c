"""Of whom it is known what the published code computes, and of whom it is not."""

import pytest
import torch

from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.conformance.probe import episodes, seeded
from cdfss_bench.methods.core.contract import PublishedWork
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.published_work import published_work
from cdfss_bench.methods.hosts.ssp import SSP


def work_of(method: Method, shots: int = 1) -> PublishedWork | None:
    query, supports, masks = episodes(1, shots, 128).inputs
    with torch.no_grad():
        rows, shown = method.encode(query), method.encode(supports[0])
        return published_work(method, rows, shown, masks[0])


def small(name: str) -> Method:
    return seeded(build(parse(name).in_miniature(), backbone="resnet-mini")).eval()


@pytest.mark.parametrize(
    "name",
    ["prototype", "loec", "ssp+acpa[steps=0]", "hsnet+lcm", "apm-m", "patnet+tfi", "ifa"],
)
def test_it_is_not_known_of_what_was_never_published(name: str) -> None:
    assert work_of(small(name)) is None


def test_nor_of_what_somebody_derives() -> None:
    class Mine(SSP):
        pass

    method = Mine(build_backbone("resnet-mini", until="semantic", output_stride=8)).eval()
    assert work_of(method) is None
    assert work_of(method.optimized_for("cpu")) is None


def test_hsnets_way_is_shot_by_shot_and_patnets_has_a_matrix_more() -> None:
    assert work_of(small("hsnet"), 3) == PublishedWork(shot_by_shot=True)
    assert work_of(small("hsnet+apm-m[steps=0]+acpa[steps=0]"), 3) == work_of(small("hsnet"), 3)
    one, three = work_of(small("patnet"), 1), work_of(small("patnet"), 3)
    assert one is not None
    assert three is not None
    assert one.operations == three.operations > 0  # per shot
    assert one.shot_by_shot


def test_ssps_depends_on_what_is_confident_and_on_nothing_else() -> None:
    refined, plain = work_of(small("ssp")), work_of(small("ssp[refine=false]"))
    assert refined is not None
    assert plain is not None
    assert refined.operations > plain.operations > 0
    assert not refined.shot_by_shot
    for same in ("ssp+lem", "ifa[steps=0]"):
        found = work_of(small(same))
        assert found is not None
        assert found.operations == refined.operations


def test_dr_adapters_published_test_knows_one_shot_only() -> None:
    assert work_of(small("dra")) is not None
    assert work_of(small("dra"), 5) is None
