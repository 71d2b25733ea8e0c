"""Every registered method on the simulated device: the CPU's masks of a batch of four."""

import pytest
import torch

from ..gpu.test_methods import asked, moved, wrong_pixels
from ..support.contract import compositions, fresh, network

pytestmark = pytest.mark.simulated

MOVED = {"persam": 0.005}
"""Share of the pixels that rounding may decide otherwise. A box around PerSAM's first mask moves by
a pixel where a score is near zero; on the CPU a batch moves it too."""


@pytest.mark.parametrize("name", compositions())
def test_masks_of_a_batch_are_the_cpus(name: str, device: str) -> None:
    given = asked(name)
    plain = network(name)
    copied = fresh(name).to(device).eval().optimized_for(device)
    inputs = moved(given, device)
    with torch.inference_mode():
        logits = plain.logits(*given.inputs)
        expected = plain.decide(logits, given.size)
        found = copied.predict(*inputs)
    assert found.device.type == device
    _, wrong = wrong_pixels(found, expected, logits)
    assert wrong <= MOVED.get(name, 0) * found.numel(), f"{wrong} of {found.numel()} pixels differ"
