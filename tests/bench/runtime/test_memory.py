"""How much may be kept for speed."""

import pytest
import torch

from cdfss_bench.bench.runtime.memory import DEFAULT_BUDGET, spare


@pytest.mark.parametrize(("free", "kept"), [(40 << 30, 20 << 30), (1 << 30, DEFAULT_BUDGET)])
def test_a_gpu_spares_half_of_what_is_free(
    free: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 80 << 30))
    assert spare("cuda:1") == kept
    assert spare("cpu") == DEFAULT_BUDGET
