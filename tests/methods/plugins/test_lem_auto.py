"""`lem[sigma=auto]`: what is measured, when, and what is made of it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.contrast import ContrastSpread
from cdfss_bench.methods.core.plugin_api import Role
from cdfss_bench.methods.plugins.lem import LEM, REACH

from ...support.contract import episodes, seeded
from ...support.draws import generator

pytestmark = pytest.mark.usefixtures("one_thread")


def features(count: int = 4, channels: int = 5, seed: int = 0) -> Tensor:
    return torch.randn((count, channels, 8, 9), generator=generator(seed)).clamp(min=0)


def spread_of(*batches: Tensor) -> float:
    found = ContrastSpread()
    for batch in batches:
        found.see(batch, Role.SUPPORT)
        found.commit()
    return found.value


def test_the_spread_is_the_coefficient_of_variation_of_contrast() -> None:
    batches = [features(4, seed=0) * 3, features(6, seed=1), features(2, seed=2) * 0.5]
    contrast = torch.cat(batches).double().numpy().std((2, 3), ddof=1)
    expected = np.sqrt(contrast.var(0).sum() / np.square(contrast.mean(0)).sum())
    assert spread_of(*batches) == pytest.approx(expected, rel=1e-6)


def test_images_of_one_contrast_have_no_spread_and_nothing_seen_has_none() -> None:
    one = features(1)
    assert spread_of(one.expand(6, -1, -1, -1)) == pytest.approx(0, abs=1e-7)
    assert spread_of() == 0
    assert spread_of(torch.zeros(3, 2, 4, 4)) == 0


def test_the_spread_depends_neither_on_scale_nor_on_dead_channels_nor_on_brightness() -> None:
    plain = features(6)
    dead = torch.cat((plain, torch.zeros(6, 3, 8, 9)), 1)
    assert spread_of(7 * plain) == pytest.approx(spread_of(plain), rel=1e-5)
    assert spread_of(dead) == pytest.approx(spread_of(plain), rel=1e-9)
    assert spread_of(plain + 100) == pytest.approx(spread_of(plain), rel=1e-3)


def test_planted_contrast_is_found() -> None:
    """Half of the images at twice the contrast: standard deviation 1/2 about a mean of 3/2."""
    one = features(1)
    images = torch.cat((one.expand(8, -1, -1, -1), 2 * one.expand(8, -1, -1, -1)))
    assert spread_of(images) == pytest.approx(1 / 3, rel=1e-6)


def test_of_a_steps_looks_by_one_role_the_first_counts() -> None:
    once, twice = ContrastSpread(), ContrastSpread()
    for found in (once, twice):
        found.see(features(seed=0), Role.SUPPORT)
        found.see(features(seed=1) * 2, Role.QUERY)
    before = twice.value
    twice.see(features(seed=2) * 9, Role.SUPPORT)
    assert twice.value == before == once.value
    once.commit()
    assert once.value == before


def test_sigma_is_a_gain_and_nothing_else() -> None:
    """Why an adaptive sigma can be no more than an adaptive gain."""
    maps = features()
    found = [LEM(sigma=s).perturb(maps, LEM(sigma=s).draw(5, generator())) for s in (0.1, 0.3)]
    torch.testing.assert_close(found[1], 3 * found[0])


def test_auto_raises_the_contrast_of_each_sample_by_two_deviations_of_what_was_seen() -> None:
    lem, maps = LEM(sigma="auto").train(), features(6) * torch.arange(1, 7)[:, None, None, None]
    found = lem.edit(0, maps, role=Role.SUPPORT, rng=generator())
    wanted = 1 + REACH * spread_of(maps)
    assert REACH == 2
    assert wanted > 1.5
    growth = found.std((1, 2, 3)) / maps.std((1, 2, 3))
    torch.testing.assert_close(growth, torch.full((6,), wanted), rtol=1e-5, atol=0)


def test_without_any_spread_auto_is_the_rescaled_lem() -> None:
    maps = features(1).expand(4, -1, -1, -1).contiguous()
    auto, rescaled = LEM(sigma="auto").train(), LEM(rescale="std").train()
    found, expected = (
        lem.edit(0, maps, role=Role.SUPPORT, rng=generator()) for lem in (auto, rescaled)
    )
    torch.testing.assert_close(found, expected)


def test_more_varied_sources_make_lem_stronger() -> None:
    def gain(least: float, most: float) -> float:
        lem = LEM(sigma="auto").train()
        factors = torch.linspace(least, most, 6)[:, None, None, None]
        lem.edit(0, features(1) * factors, role=Role.QUERY, rng=None)
        return lem.gain

    assert 1 <= gain(1, 1) < gain(0.8, 1.2) < gain(0.2, 1.8)


def test_only_training_images_at_its_stage_are_seen_and_queries_count() -> None:
    lem, maps = LEM(sigma="auto", stage=2), features(4)
    lem.eval().edit(1, maps, role=Role.SUPPORT, rng=generator())
    lem.train().edit(0, maps, role=Role.SUPPORT, rng=generator())
    lem.edit(1, maps, role=None, rng=None)
    assert lem.gain == 1
    assert lem.edit(1, maps, role=Role.QUERY, rng=None) is maps
    assert lem.gain == pytest.approx(1 + REACH * spread_of(maps))


def test_a_number_for_sigma_measures_nothing() -> None:
    lem = LEM().train()
    lem.edit(0, features(), role=Role.SUPPORT, rng=generator())
    lem.end_step()
    assert lem.training_state() == {}
    assert not lem.keeps_statistics


def test_steps_of_a_method_enter_the_measure_and_its_state_goes_round() -> None:
    name = "ssp+lem[sigma=auto]"
    net = seeded(build(name, backbone="resnet-mini")).train()
    assert net.keeps_statistics
    for seed in (0, 1):
        net.loss(episodes(2, 1, 64, seed=seed).batch())
        net.end_step()
    state = net.training_state()
    assert float(state["plugin0.count"]) == 8  # two queries and two supports a step
    other = seeded(build(name, backbone="resnet-mini")).train()
    given = episodes(2, 1, 64, seed=2).batch
    assert float(other.loss(given()).detach()) != float(net.loss(given()).detach())
    other.load_training_state(state)
    net.load_training_state(state)
    assert float(other.loss(given()).detach()) == float(net.loss(given()).detach())
    assert not math.isclose(dict(net.training_state())["plugin0.count"].item(), 0)


def test_it_leaves_prediction_and_published_keys_alone() -> None:
    net = seeded(build("ssp+lem[sigma=auto]", backbone="resnet-mini"))
    plain = seeded(build("ssp", backbone="resnet-mini"))
    assert net.state_dict().keys() == plain.state_dict().keys()
    given = episodes(1, 1, 64).inputs
    assert torch.equal(net.logits(*given), plain.logits(*given))
