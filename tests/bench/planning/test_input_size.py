"""The side that a backbone sees stands in the record, and in a note where it is another one."""

import pytest

from cdfss_bench.bench.evaluation.record_notes import _size_notes  # pyright: ignore[reportPrivateUsage]
from cdfss_bench.bench.planning.cell import input_size, method_part
from cdfss_bench.bench.records.schema import RunRecord
from cdfss_bench.methods import parse

from ...support.records import record


@pytest.mark.parametrize(
    ("method", "backbone", "seen"),
    [
        ("prototype", "resnet50", 400),
        ("prototype", "dinov2-b14", 406),
        ("prototype", "dinov3-l16", 400),
        ("prototype[size=518]", "dinov2-b14", 518),
        ("ssp[size=480]+lcm", "resnet50", 480),
        ("hsnet", "resnet50", 400),
        ("centre-ellipse", "", 0),
    ],
)
def test_what_a_backbone_sees_of_400_pixels(method: str, backbone: str, seen: int) -> None:
    assert input_size(parse(method), backbone, 400) == seen
    if backbone:
        assert method_part(parse(method), backbone, 400).input_size == seen


def record_of(method: str, backbone: str) -> RunRecord:
    made = record()
    made.method = method_part(parse(method), backbone, 400)
    return made


def test_a_row_says_that_its_backbone_sees_another_size() -> None:
    assert _size_notes(record_of("prototype", "dinov3-l16")) == []
    assert _size_notes(record_of("centre-ellipse", "")) == []
    assert _size_notes(record_of("prototype", "dinov2-s14-reg")) == [
        "dinov2-s14-reg sees images at 406x406 pixels; masks are decided and counted at 400x400"
    ]
