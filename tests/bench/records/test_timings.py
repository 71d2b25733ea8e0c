"""What `timings.jsonl` says of where the time went."""

import json
from pathlib import Path

import pytest

from cdfss_bench.bench.records.timings import added, batches


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    good = {"episodes": [0, 1], "encoded": 3, "load_ms": 1, "encode_ms": 20, "adapt_ms": 0}
    lines = [json.dumps({**good, "match_ms": 9}), json.dumps(good), '{"episodes": [2', "7", ""]
    path = tmp_path / "timings.jsonl"
    path.write_text("\n".join(lines))
    (one,) = batches(path)
    assert (one.episodes, one.encoded, one.total) == (2, 3, pytest.approx(0.030))
    assert added([one, one]).seconds == pytest.approx(
        {"load": 0.002, "encode": 0.04, "adapt": 0, "match": 0.018}
    )
    assert added([]).total == 0
    assert list(batches(tmp_path / "absent")) == []
