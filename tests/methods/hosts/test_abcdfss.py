"""ABCDFSS: what it is fitted to, what it leaves alone, how it decides; its fast form."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cdfss_bench.errors import UserError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.blocks.otsu import best_split, otsu
from cdfss_bench.methods.blocks.shear import Shear, drawn_shears, sheared, sources
from cdfss_bench.methods.blocks.shear_fit import Adapter, Views, fit, prototype_term, terms
from cdfss_bench.methods.fast import shear_fit as fast
from cdfss_bench.methods.fast.abcdfss import FastABCDFSS, indices
from cdfss_bench.methods.hosts.abcdfss import (
    ABCDFSS,
    IMAGE,
    attended,
    copies,
    on_grid,
    threshold,
)

from ...support.contract import Episodes, as_a, episodes, fresh, tensors
from ...support.draws import generator

pytestmark = pytest.mark.usefixtures("one_thread")

SHEARS: list[Shear] = [(7, -12), (-3, 16)]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def method(**options: int | str) -> ABCDFSS:
    return as_a(ABCDFSS, build("abcdfss", backbone="resnet-mini", **options))


def adapted(net: ABCDFSS, given: Episodes, seed: int = 0) -> ABCDFSS:
    ready = net.adapt(
        given.support_images[0],
        given.support_masks[0],
        rng=generator(seed),
        query_image=given.query_images[0],
    )
    assert isinstance(ready, ABCDFSS)
    return ready


# -- shears ----------------------------------------------------------------------------------------


def test_a_shear_moves_rows_by_their_distance_from_the_centre() -> None:
    image = torch.arange(1.0, 10).view(3, 3)
    along_x = sheared(image, (45, 0))
    assert along_x.tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 0]]
    assert torch.equal(sheared(image, (0, 45)), sheared(image.T, (45, 0)).T)
    assert torch.equal(sheared(image, (0, 0)), image)


def test_both_shears_apply_x_to_what_y_gives() -> None:
    image = drawn(9, 13)
    x, y = (math.tan(math.radians(degrees)) for degrees in (14, -9))
    expected = torch.zeros_like(image)
    for row in range(9):
        for column in range(13):
            across, down = column - 6, row - 4
            moved = y * across + down
            source_row = round(moved + 4)
            source_column = round(across + x * moved + 6)
            if 0 <= source_row < 9 and 0 <= source_column < 13:
                expected[row, column] = image[source_row, source_column]
    assert torch.equal(sheared(image, (14, -9)), expected)


def test_shears_come_from_the_generator_alone_and_cover_their_range() -> None:
    found = drawn_shears(3000, 20, generator(1))
    assert found == drawn_shears(3000, 20, generator(1))
    assert {degrees for pair in found for degrees in pair} == set(range(-20, 21))


def test_indices_say_which_cells_the_copies_show() -> None:
    maps = drawn(2, 3, 6, 7)
    rows = torch.cat((maps.permute(0, 2, 3, 1).flatten(0, 2), torch.zeros(1, 3)))
    found = rows[indices(maps, SHEARS)].mT.unflatten(-1, (6, 7))
    assert torch.equal(found, copies(maps, SHEARS))
    assert (sources(SHEARS[0], (6, 7)) == 42).any()


# -- the fit ---------------------------------------------------------------------------------------


def views_of(shots: int, channels: int = 6, size: tuple[int, int] = (7, 9)) -> Views:
    def maps(count: int, seed: int) -> Tensor:
        return drawn(count, channels, *size, seed=seed)

    masks = torch.rand((shots * 2, *size), generator=generator(5), dtype=torch.float64)
    return Views(
        copies(maps(1, 1), SHEARS),
        maps(2, 2),
        copies(maps(shots, 3), SHEARS),
        maps(2 * shots, 4),
        masks,
    )


def test_a_fit_lowers_the_loss() -> None:
    adapter = Adapter(6).double()
    adapter.draw(generator())
    losses = fit(adapter, views_of(2), 25).sum(1)
    assert losses[-1] < losses[0]


def test_copies_that_are_what_they_copy_have_no_gap() -> None:
    views = views_of(1)
    same = Views(views.query, views.query, views.support, views.support, views.masks)
    adapter = Adapter(6).double()
    found = terms(adapter, same)
    other = terms(adapter, views)
    assert found[1] == found[3] == 0
    assert found[0] < other[0]
    assert found[2] < other[2]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_or_full_mask_leaves_the_prototypes_finite(value: float) -> None:
    maps = torch.nn.functional.normalize(drawn(4, 64, 5, 5))
    masks = torch.full((4, 5, 5), value, dtype=torch.float64)
    found = prototype_term(maps, maps.flip(0), masks, 2)
    assert bool(found.isfinite())
    if value == 0:
        assert found.item() == pytest.approx(math.log(2))


def test_adapters_begin_as_torch_begins_them() -> None:
    adapter = Adapter(1000)
    adapter.draw(generator())
    for layer, inputs in ((adapter.conv, 1000), (adapter.linear, 64)):
        bound = 1 / math.sqrt(inputs)
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.mean().abs() < 0.05 * bound
    assert bool((adapter.bn.weight == 1).all())
    assert bool((adapter.bn.bias == 0).all())


def test_adapters_begin_as_their_generator_draws_them() -> None:
    net, given = method(steps=2), episodes(1, 2, 64)
    ready, other = adapted(net, given), adapted(net, given, seed=1)
    assert not torch.equal(other.adapters[0].linear.weight, ready.adapters[0].linear.weight)  # pyright: ignore


def test_the_unlabelled_query_takes_part() -> None:
    net = method(steps=1)
    given, other = episodes(1, 1, 64), episodes(1, 1, 64, seed=1)
    mixed = replace(given, query_images=other.query_images)
    ready, found = adapted(net, given), adapted(net, mixed)
    assert not torch.equal(
        tensors(ready)["adapters.0.bn.bias"], tensors(found)["adapters.0.bn.bias"]
    )


def test_what_adaptation_needs_is_asked_for() -> None:
    net, given = method(), episodes(1, 1, 64)
    with pytest.raises(ValueError, match="hand over both"):
        net.adapt(given.support_images[0], given.support_masks[0], rng=generator())
    with pytest.raises(ValueError, match="hand over both"):
        net.adapt(
            given.support_images[0], given.support_masks[0], query_image=given.query_images[0]
        )


def test_no_steps_are_no_adaptation() -> None:
    assert method(steps=0).adaptation == parse("abcdfss[steps=0]").adaptation == "none"
    assert method().adaptation == parse("abcdfss").adaptation == "transductive"


# -- which taps ------------------------------------------------------------------------------------


def test_taps_are_those_of_the_pyramid_that_the_backbone_has() -> None:
    counts = {"resnet50": 13, "resnet50-caffe": 10, "resnet-mini": 6}
    for backbone, count in counts.items():
        net = as_a(ABCDFSS, build("abcdfss", backbone=backbone))
        assert len(net.taps) == count
        if count == 13:
            assert sum(p.numel() for p in net.adapters.parameters()) == 974_080
    assert method(stages="coarse").taps == ["layer3.0", "layer3.1", "layer4.0", "layer4.1"]
    assert str(parse("abcdfss[stages=coarse]")) == "abcdfss[stages=coarse]"


def test_images_whose_maps_are_one_position_are_refused() -> None:
    with pytest.raises(UserError, match=r"layer4\.0 has a single one in images of 32x32 pixels"):
        method().encode(torch.zeros(1, 3, 32, 32))


# -- matching and the threshold --------------------------------------------------------------------


def test_shots_share_one_softmax() -> None:
    query, support = drawn(1, 64, 3, 4), drawn(2, 64, 3, 4, seed=1)
    masks = torch.rand((2, 3, 4), generator=generator(2), dtype=torch.float64)
    rows = torch.cat([one.flatten(1).T for one in support])
    weights = (query[0].flatten(1).T @ rows.T / 8).softmax(1)
    expected = (weights * masks.flatten()).sum(1).view(1, 3, 4)
    torch.testing.assert_close(attended(query, support, masks), expected)


def test_the_same_support_twice_is_that_support() -> None:
    net, given = method(steps=0).double(), episodes(1, 1, 64)
    twice = [t.double() for t in given.inputs]
    once = net.logits(*twice)
    images, masks = (torch.cat((t, t), 1) for t in twice[1:])
    torch.testing.assert_close(net.logits(twice[0], images, masks), once)


@pytest.mark.parametrize("value", [0, 1])
def test_a_support_without_contrast_gives_background(value: int) -> None:
    net, given = method(steps=2), episodes(1, 2, 64)
    given = replace(given, support_masks=torch.full_like(given.support_masks, value))
    assert not adapted(net, given).predict(*given.inputs).any()


def test_masks_have_a_soft_border_on_the_grid() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[:, :, :3] = 1
    assert on_grid(masks, torch.zeros(1, 1, 4, 4))[0, 0].tolist() == [1, 0.5, 0, 0]


def split_by_definition(counts: Sequence[int]) -> int:
    best, at = -1.0, 0
    values = torch.tensor(counts, dtype=torch.float64)
    levels = torch.arange(len(counts), dtype=torch.float64)
    for level in range(len(counts) - 1):
        low, high = values[: level + 1], values[level + 1 :]
        if low.sum() and high.sum():
            means = [
                (v * x).sum() / v.sum()
                for v, x in ((low, levels[: level + 1]), (high, levels[level + 1 :]))
            ]
            spread = float(low.sum() * high.sum() * (means[0] - means[1]) ** 2)
            if spread > best * (1 + 1e-12):
                best, at = spread, level
    return at


@pytest.mark.parametrize("seed", range(5))
def test_otsus_level_separates_best(seed: int) -> None:
    counts = torch.randint(0, 50, (256,), generator=generator(seed)).tolist()
    assert best_split(counts) == split_by_definition(counts)


def test_of_equally_good_levels_the_lowest_is_taken() -> None:
    counts = [0] * 256
    counts[20] = counts[200] = 10
    assert best_split(counts) == 20


def test_dark_values_do_not_count() -> None:
    scores = torch.cat((torch.zeros(1000), torch.full((10,), 0.5), torch.ones(10)))
    assert otsu(scores).item() == pytest.approx(0, abs=1e-6)
    assert otsu(scores, ignored_share=0.05).item() == pytest.approx(0.5, abs=0.01)
    assert threshold(scores) == otsu(scores, ignored_share=0.05)


def test_the_mean_is_the_threshold_where_it_is_higher() -> None:
    scores = torch.cat((torch.zeros(1), torch.full((50,), 0.2), torch.ones(99)))
    assert otsu(scores, ignored_share=0.05) < scores.mean()
    assert threshold(scores) == scores.mean()


def test_a_map_that_is_constant_up_to_rounding_has_no_foreground() -> None:
    scores = 1 - 1e-7 * torch.rand((20, 20), generator=generator())
    assert not (scores > threshold(scores)).any()


# -- the fast form ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shots", "size", "cells", "block"),
    [
        (1, (7, 9), 256, 2**20),  # all pairs together
        (3, (7, 9), 256, 63**2 * 3),  # three pairs at a time
        (2, (7, 9), 0, 2**20),  # pair by pair
        (2, (7, 9), 0, 63 * 10),  # in blocks of rows
    ],
)
def test_fitting_together_is_fitting_one_by_one(
    shots: int,
    size: tuple[int, int],
    cells: int,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast, "MOST_CELLS", cells)
    monkeypatch.setattr(fast, "CPU_BLOCK", block)
    taps, channels, steps = 2, 6, 10
    adapters = [Adapter(channels).double() for _ in range(taps)]
    for seed, adapter in enumerate(adapters):
        adapter.draw(generator(seed))
    own = copy.deepcopy(adapters)
    query, support = (drawn(taps, n, channels, *size, seed=n) for n in (1, shots))
    query_seen, support_seen = (
        drawn(taps, n, channels, *size, seed=10 + n) for n in (2, 2 * shots)
    )
    masks = torch.rand((2 * shots, *size), generator=generator(5), dtype=torch.float64)
    masks[:, :3] = 0
    plain = [
        fit(
            adapter,
            Views(copies(query[t], SHEARS), query_seen[t], copies(support[t], SHEARS),
                  support_seen[t], masks),
            steps,
        )
        for t, adapter in enumerate(adapters)
    ]  # fmt: skip
    found = fast.fit_together(
        own,
        fast.Source(query, query_seen, indices(query[0], SHEARS)),
        fast.Source(support, support_seen, indices(support[0], SHEARS)),
        masks,
        copies=2,
        steps=steps,
    )
    torch.testing.assert_close(found, torch.stack(plain), rtol=0, atol=1e-12)
    for one, other in zip(own, adapters, strict=True):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shots", [1, 3])
def test_the_optimized_method_fits_the_same_adapters(shots: int) -> None:
    net = as_a(ABCDFSS, fresh("abcdfss").double())
    given = episodes(1, shots, 64)
    doubled = replace(
        given,
        query_images=given.query_images.double(),
        support_images=given.support_images.double(),
    )
    plain = adapted(net, doubled)
    optimized = as_a(FastABCDFSS, net.optimized_for("cpu"))
    assert not isinstance(net, FastABCDFSS)
    own = adapted(optimized, doubled)
    for key, value in own.adapters.state_dict().items():
        torch.testing.assert_close(value, plain.adapters.state_dict()[key], rtol=0, atol=1e-10)
    torch.testing.assert_close(own.logits(*doubled.inputs), plain.logits(*doubled.inputs))
    assert IMAGE in net.encode(doubled.query_images).tensors
