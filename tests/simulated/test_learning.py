"""Learning on the simulated device: at test from an episode, and from the source."""

from pathlib import Path

import pytest
import torch

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS, parse

from ..gpu.test_evaluator import adapting, counted, largest
from ..gpu.test_learning import HOSTS, SHARE, gradients_apart, losses
from ..support.contract import trained_compositions
from ..support.simulated_device import counted_waits

pytestmark = pytest.mark.simulated

WAITS = {
    "ifa[steps=3]": 1,
    "ssp+lcm[auto=true]": 10,
    "hsnet+apm-s[steps=3]": 4,
    "hsnet+apm-m[steps=3]+acpa[steps=3]": 4,
    "hsnet+finetune[steps=3]": 2,
    "patnet+tfi[steps=3]": 3,
    "patnet+tfi[steps=3,repair=soft_mask]": 3,
    "ssp+hls": 12,
    "abcdfss[steps=3]": 4,
    "hera": 20,
    "persam[finetune=true,steps=3]": 11,
}
"""The most waits that an adaptation by three steps and matching may take, a 2-shot episode; what
today's code takes stands in docs/speed.md."""


def test_whatever_learns_at_test_is_asked() -> None:
    learning = {n for n in METHODS.names() if METHODS.card(n).adaptation != "none"}
    asked = {part.card.name for name in WAITS for part in parse(name).parts}
    assert learning <= asked


@pytest.mark.parametrize("name", WAITS)
def test_what_learns_at_test_learns_the_same(name: str, device: str) -> None:
    domain = open_domain("mini-lesion")
    asked = domain.episodes(2, 0, "patnet", 2).episodes
    method = adapting(name)
    expected = counted(method, domain, asked, Settings())
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.to(device)
    with counted_waits() as waits:
        found = counted(method, domain, asked, Settings(device))
    assert largest(expected, found) <= SHARE * domain.card.image_size**2
    after = method.state_dict()
    assert all(torch.equal(after[key].cpu(), value) for key, value in before.items())
    each = -(-waits.total // len(asked))
    assert each <= WAITS[name], f"{name}: {each} an episode, {WAITS[name]} at most: {waits} in all"


@pytest.mark.parametrize("name", [*HOSTS, "ssp+lem", "ssp-vit+lem"])
def test_a_step_of_training_gives_the_cpus_loss(name: str, device: str, tmp_path: Path) -> None:
    (expected,) = losses(tmp_path / "cpu", name, "cpu", episodes=2)
    (found,) = losses(tmp_path / "device", name, device, episodes=2)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-3, abs=1e-5))


@pytest.mark.parametrize("name", trained_compositions())
def test_gradients_are_the_cpus(name: str, device: str) -> None:
    off, whole = gradients_apart(name, device)
    assert off <= 1e-3 * whole
