"""What a record says about the machine."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from cdfss_bench.bench.records.environment import describe


@pytest.mark.parametrize("known", [True, False])
def test_the_driver_is_asked_for_where_the_system_does_not_name_it(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(words: list[str], **_more: Any) -> subprocess.CompletedProcess[str]:
        if words[0] == "nvidia-smi" and not known:
            raise FileNotFoundError(words[0])
        return subprocess.CompletedProcess(words, 0, "580.1\n", "")

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a card")
    monkeypatch.setattr(Path, "is_file", lambda _path: False)
    monkeypatch.setattr(subprocess, "run", asked)
    found = describe("cuda")
    assert found["device"] == "a card"
    assert found["driver"] == ("580.1" if known else None)
    assert describe("cpu")["driver"] is None
