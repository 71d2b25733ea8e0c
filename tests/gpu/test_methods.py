"""Every registered method on the device: the CPU's masks, alone and in batches."""

import pytest
import torch
from torch import Tensor

from ..support.contract import Episodes, compositions, episodes, fresh, network, side
from .conftest import Measured

pytestmark = pytest.mark.gpu

NEAR = 1e-4
"""Pixels may differ where the CPU's two scores are nearer than this."""

every = pytest.mark.parametrize("name", compositions())


def moved(given: Episodes, device: str) -> tuple[Tensor, Tensor, Tensor]:
    query, supports, masks = (tensor.to(device) for tensor in given.inputs)
    return query, supports, masks


def asked(name: str, count: int = 4, shots: int = 2) -> Episodes:
    return episodes(count, shots, max(128, side(name)))


def wrong_pixels(mask: Tensor, expected: Tensor, logits: Tensor) -> tuple[int, int]:
    """Pixels that differ, and those of them where no shot's scores are near."""
    apart = mask.cpu() != expected
    margin = (logits[:, :, 1] - logits[:, :, 0]).abs().amin(1)
    return int(apart.sum()), int((apart & (margin >= NEAR)).sum())


@every
def test_masks_of_a_batch_are_the_cpus(name: str, device: str, measured: Measured) -> None:
    given = asked(name)
    plain = network(name)
    with torch.no_grad():
        logits = plain.logits(*given.inputs)
        expected = plain.decide(logits, given.size)
        copied = fresh(name).to(device).eval().optimized_for(device)
        scores = copied.logits(*moved(given, device)).cpu()
        found = copied.predict(*moved(given, device))
    differ, wrong = wrong_pixels(found, expected, logits)
    scale = float(logits.abs().max())
    measured("differ", differ)
    measured("error", float((scores - logits).abs().max()) / max(scale, 1e-30))
    assert found.device.type == torch.device(device).type
    assert wrong == 0, f"{wrong} of {found.numel()} pixels differ beyond rounding"


@every
def test_an_episode_does_not_depend_on_its_batch(name: str, device: str) -> None:
    given = asked(name)
    copied = fresh(name).to(device).eval().optimized_for(device)
    with torch.no_grad():
        together = copied.logits(*moved(given, device))
        masks = copied.predict(*moved(given, device)).cpu()
        for index in range(len(masks)):
            alone = copied.logits(*moved(given.only([index]), device))
            mask = copied.predict(*moved(given.only([index]), device)).cpu()
            _, wrong = wrong_pixels(mask, masks[index : index + 1], together[[index]].cpu())
            assert wrong == 0
            assert alone.shape == together[[index]].shape
