"""HERA's rules by themselves: what is chosen, fitted, pulled and corrected, and what stays."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.backbones.pulled import attended
from cdfss_bench.methods.backbones.transformer import Transformer
from cdfss_bench.methods.blocks import locality
from cdfss_bench.methods.blocks import residual_logits as pac
from cdfss_bench.methods.blocks.layer_choice import (
    LayerChoice,
    choose_layers,
    first_copies,
    mix_weights,
    mixed,
    mixed_layers,
    smoothed_iou,
)
from cdfss_bench.methods.blocks.locality import neighbourhood, pull_of, pulled_attention
from cdfss_bench.methods.blocks.prototypes import fore_and_background
from cdfss_bench.methods.blocks.subset_fitting import FusionMLP, fit, subsets
from cdfss_bench.methods.blocks.voting import upsampled
from cdfss_bench.methods.conformance.probe import Episodes, episodes
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.leave_one_out import support_views
from cdfss_bench.methods.hosts.hera import HERA, segmented
from cdfss_bench.methods.hosts.ssp import self_supported_scores

from ...support.contract import as_a, seeded
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")


def hera(**options: str | bool) -> HERA:
    return as_a(HERA, seeded(build("hera", backbone="vit-mini", **options)))


@pytest.fixture(scope="module")
def net() -> HERA:
    return hera()


def asked(shots: int, side: int = 64, seed: int = 0) -> Episodes:
    return episodes(1, shots, side, seed=seed)


def encoded(net: HERA, given: Episodes) -> tuple[FeatureBatch, Tensor]:
    with torch.no_grad():
        return net.encode(given.support_images[0]), given.support_masks[0]


# -- an episode leaves nothing behind --------------------------------------------------------------


def forced(net: HERA, layers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the supports say, `layers` are chosen."""
    weights = tuple(1 / len(layers) for _ in layers)

    def choice(*_: object) -> LayerChoice:
        return LayerChoice(layers, weights, layers[-1], (0.0, 0.0, 0.0))

    monkeypatch.setattr(HERA, "chosen", choice)


@pytest.mark.parametrize("layers", [(1,), (0, 2)])
def test_every_episode_begins_anew(
    net: HERA, layers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    forced(net, layers, monkeypatch)
    first, other = asked(2), asked(2, seed=1)

    def answer(given: Episodes) -> Tensor:
        support, masks = encoded(net, given)
        ready = net.adapt_encoded(support, masks, rng=torch.Generator().manual_seed(3))
        assert ready.mlp is not None
        with torch.no_grad():
            return ready.logits(*given.inputs)

    before = answer(first)
    answer(other)
    assert torch.equal(answer(first), before)


@pytest.mark.parametrize("layers", [(1,), (0, 2)])
def test_fitting_lowers_the_error_on_the_supports(
    net: HERA, layers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    forced(net, layers, monkeypatch)
    support, masks = encoded(net, asked(3))

    def error(ready: HERA) -> float:
        with torch.no_grad():
            maps, _ = ready.read(support)
            fore, back = fore_and_background(maps, masks)
            scores = segmented(maps, fore.mean(0, keepdim=True), back.mean(0, keepdim=True))
            full = upsampled(scores, support.size)
        return float(torch.nn.functional.cross_entropy(full, masks.long()))

    plain = hera(fit=False).adapt_encoded(support, masks)
    fitted = net.adapt_encoded(support, masks, rng=torch.Generator().manual_seed(0))
    assert error(fitted) < error(plain)


# -- views, and how many terms a step has ----------------------------------------------------------


def test_the_copies_of_a_single_support_are_equal_and_brighter_inside(net: HERA) -> None:
    support, masks = encoded(net, asked(1))
    with torch.no_grad():
        views, truth = support_views(net, support, masks)
    images = views.tensors["image"]
    assert len(views) == len(truth) == 3
    assert torch.equal(images[1], images[2])
    inside = masks[0].bool()
    assert torch.equal(images[1][:, inside], 2 * images[0][:, inside])
    assert torch.equal(images[1][:, ~inside], images[0][:, ~inside])
    assert torch.equal(truth, masks.expand(3, -1, -1))
    assert first_copies(images, truth) == [0, 1, 1]


def test_several_supports_are_their_own_views(net: HERA) -> None:
    support, masks = encoded(net, asked(2))
    views, truth = support_views(net, support, masks)
    assert views is support
    assert truth is masks


@pytest.mark.parametrize(("views", "terms"), [(3, [6, 3]), (5, [20, 30, 20, 5]), (2, [2])])
def test_a_step_has_every_image_with_every_subset_of_the_others(
    views: int, terms: list[int]
) -> None:
    found = [list(subsets(views, size)) for size in range(1, views)]
    assert [len(step) for step in found] == terms
    for size, step in enumerate(found, start=1):
        assert all(len(set(shown)) == size and i not in shown for i, shown in step)
        assert len({(i, *shown) for i, shown in step}) == len(step)


def test_a_fit_takes_those_steps_and_weighs_their_terms_alike() -> None:
    """Against descent on the plain mean of all terms with one graph."""
    maps, masks = normal(3, 8, 5, 5), asked(3, side=64).support_masks[0]

    def run(*, plain: bool) -> tuple[list[int], Tensor]:
        scale = torch.nn.Parameter(torch.ones(8, 1, 1))
        if not plain:
            losses = fit(lambda: maps * scale, masks, [scale], fore_and_background, segmented)
            return [len(step) for step in losses], scale.detach()
        optimizer = torch.optim.Adam([scale], lr=1.3e-3)
        counts: list[int] = []
        for size in (1, 2):
            optimizer.zero_grad()
            changed = maps * scale
            fore, back = fore_and_background(changed, masks)
            errors: list[Tensor] = []
            for i, shown in subsets(3, size):
                logits = segmented(
                    changed[i : i + 1], fore[shown].mean(0)[None], back[shown].mean(0)[None]
                )
                full = upsampled(logits, (64, 64))
                errors.append(torch.nn.functional.cross_entropy(full, masks[i : i + 1].long()))
            torch.stack(errors).mean().backward()
            optimizer.step()
            counts.append(len(errors))
        return counts, scale.detach()

    counts, ours = run(plain=False)
    expected, theirs = run(plain=True)
    assert counts == expected == [6, 3]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert not torch.equal(ours, torch.ones_like(ours))


# -- the choice of layers --------------------------------------------------------------------------


def test_the_best_layer_has_the_highest_score_and_nothing_beats_the_winner(net: HERA) -> None:
    with torch.no_grad():
        for seed in range(4):
            support, masks = encoded(net, asked(3, seed=seed))
            choice = net.chosen(support, masks)
            assert choice.singles[choice.best] == max(choice.singles)
            scores = [*choice.singles, *(score for _, score in choice.mixes)]
            own = dict(choice.mixes)[choice.layers] if choice.is_mix else max(choice.singles)
            assert own == max(scores)


def test_the_first_of_equal_layers_wins_and_a_single_layer_before_a_mix() -> None:
    maps = [normal(2, 4, 3, 3, seed=seed) for seed in range(5)]

    def judge(_: Tensor) -> Tensor:
        return torch.tensor([0.5, 0.5])

    choice = choose_layers(maps, judge, mixable=range(5))
    assert (choice.best, choice.layers, choice.weights) == (0, (0,), (1.0,))
    assert len(choice.mixes) == 6


def test_a_mix_wins_where_it_is_better() -> None:
    maps = [torch.full((2, 1, 1, 1), float(value)) for value in (1, 2, 4)]

    def judge(tried: Tensor) -> Tensor:
        return 0.5 + 0.1 * (tried.flatten() % 1 > 0)  # no candidate is a fraction

    choice = choose_layers(maps, judge, mixable=range(3))
    assert choice.is_mix
    assert choice.layers[-1] == 2
    assert math.isclose(sum(choice.weights), 1, abs_tol=1e-6)


def test_a_mix_of_one_layer_is_that_layer() -> None:
    maps = normal(2, 4, 3, 3)
    assert torch.equal(mixed([maps], mix_weights(torch.tensor([0.3]), [23]).tolist()), maps)


@pytest.mark.parametrize(("low", "high"), [(12, 23), (6, 11), (3, 5), (0, 1)])
def test_every_mix_lies_among_the_candidates_and_ends_with_the_last(low: int, high: int) -> None:
    for best in range(low, high + 1):
        found = mixed_layers(best, low, high)
        assert len(found) == 6
        for layers in found:
            assert list(layers) == sorted(set(layers))
            assert layers[0] >= low
            assert layers[-1] == high


def test_the_weights_of_a_mix() -> None:
    scores, layers = torch.tensor([0.50, 0.56, 0.30]), (3, 4, 5)
    raw = [
        26 * (s - sum(scores.tolist()) / 3) - (5 - layer) / 2
        for s, layer in zip(scores, layers, strict=True)
    ]
    soft = [math.exp(value) for value in map(float, raw)]
    floored = [max(value / sum(soft), 0.02 / 3) for value in soft]
    expected = [value / sum(floored) for value in floored]
    torch.testing.assert_close(mix_weights(scores, layers), torch.tensor(expected))
    assert floored[2] == 0.02 / 3


def test_the_iou_of_two_empty_masks_is_one() -> None:
    empty, full = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.ones(1, 4, 4, dtype=torch.uint8)
    assert smoothed_iou(empty, empty).item() == 1
    assert smoothed_iou(full, full).item() == 1
    assert smoothed_iou(full, empty).item() < 1e-6


# -- attention that is pulled ----------------------------------------------------------------------


def heads(seed: int, registers: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    tokens = 1 + registers + grid[0] * grid[1]
    return 2 * normal(2, 3, tokens, 8, seed=seed), 2 * normal(2, 3, tokens, 8, seed=seed + 1)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_rows_keep_the_mass_they_give_to_patches(registers: int, grid: tuple[int, int]) -> None:
    query, key = heads(0, registers, grid)
    plain = (query @ key.transpose(-2, -1) * 8**-0.5).softmax(-1)
    pulled = pulled_attention(query, key, grid, registers=registers)
    first = 1 + registers
    torch.testing.assert_close(
        pulled[..., first:, first:].sum(-1), plain[..., first:, first:].sum(-1)
    )
    assert torch.equal(pulled[..., :first, :], plain[..., :first, :])
    assert torch.equal(pulled[..., :first], plain[..., :first])
    assert float((pulled - plain).abs().max()) > 0.01


def test_without_strength_attention_is_unchanged() -> None:
    query, key = heads(2, 4, (4, 4))
    pull = pull_of(query, key, registers=4)
    none = locality.Pull(pull.entropy_q, pull.entropy_k, pull.gate, torch.zeros_like(pull.gate))
    plain = (query @ key.transpose(-2, -1) * 8**-0.5).softmax(-1)
    found = pulled_attention(query, key, (4, 4), registers=4, pull=none)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)


def test_a_pull_is_towards_the_neighbourhood() -> None:
    query, key = torch.zeros(1, 1, 82, 8), torch.zeros(1, 1, 82, 8)
    row = pulled_attention(query, key, (9, 9), registers=0)[0, 0, 1 + 40, 1:].reshape(9, 9)
    assert row.argmax() == 40
    assert row[4, 4] > row[4, 6] > row[4, 8] > row[0, 0] > 0


def test_far_patches_keep_a_bounded_penalty() -> None:
    rows = neighbourhood((1, 40), 3.0, torch.zeros(1))
    assert rows[0, 39] > 0
    torch.testing.assert_close(rows.sum(-1), torch.ones(40), rtol=0, atol=1e-5)


def test_unpulled_attention_is_the_blocks_own(net: HERA) -> None:
    rows, _ = encoded(net, asked(1))
    trunk = net.backbone
    middle, graph = attended(trunk, 4, rows.tensors["tokens.3"], (4, 4), pull=False)
    block = trunk.block(4)
    with torch.no_grad():
        expected = rows.tensors["tokens.4"]
        torch.testing.assert_close(middle + block.mixed(middle), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(graph.sum(-1), torch.ones(1, 16), rtol=0, atol=1e-4)


# -- residual logits -------------------------------------------------------------------------------


def pac_inputs() -> Iterator[Tensor]:
    yield upsampled(3 * normal(1, 2, 5, 5), (40, 40))
    yield normal(1, 6, 5, 5, seed=1)
    yield normal(1, 3, 40, 40, seed=2)
    yield normal(1, 25, 25, seed=3).abs()


def test_without_weights_the_decision_stays() -> None:
    logits, features, image, graph = pac_inputs()
    found = pac.calibrated(logits, features, image, graph, weights=(0.0, 0.0, 0.0))
    assert torch.equal(found.argmax(1), logits.argmax(1))
    assert torch.equal(found[:, 0], -found[:, 1])
    full = pac.calibrated(logits, features, image, graph)
    assert not torch.equal(full.argmax(1), logits.argmax(1))


def test_a_residual_is_brought_to_the_size_of_the_prediction_within_bounds() -> None:
    prior = torch.full((1, 1, 4, 4), 3.0)
    scales = [pac.scale_of(torch.full((1, 1, 4, 4), size), prior) for size in (0.1, 2.0, 100.0)]
    torch.testing.assert_close(torch.cat(scales).flatten(), torch.tensor([2.0, 1.5, 0.5]))


def test_pac_acts_always_never_or_where_the_supports_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hera().refining
    for shots, better, acts in ((1, 1, True), (1, 0, False), (3, 1, False), (3, 2, True)):
        own = hera(pac="auto", fit=False)

        def ious(
            _: HERA, __: FeatureBatch, ___: Tensor, count: int, better: int = better
        ) -> tuple[Tensor, Tensor]:
            return torch.full((count,), 0.5), torch.tensor(
                [0.5] * better + [0.4] * (count - better)
            )

        monkeypatch.setattr(HERA, "ious_around_pac", ious)
        support, masks = encoded(own, asked(shots))
        assert own.adapt_encoded(support, masks).refining is acts
    own = hera(pac="never", fit=False)
    support, masks = encoded(own, asked(2))
    assert not own.adapt_encoded(support, masks).refining


# -- the host --------------------------------------------------------------------------------------


def test_the_head_is_ssps_without_refinement() -> None:
    features, fore, back = normal(1, 16, 6, 6), normal(1, 16, seed=1), normal(1, 16, seed=2)
    plain = self_supported_scores(features, fore[..., None, None], back[..., None, None], rounds=1)
    torch.testing.assert_close(segmented(features, fore, back), plain.final, rtol=0, atol=1e-5)
    assert bool(segmented(torch.zeros_like(features), fore, back).isfinite().all())


def test_an_image_is_encoded_once_for_all_layers(
    net: HERA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five supports and the query are six passes; a single support has a copy besides."""
    passes: list[int] = []
    read = Transformer.read

    def counting(self: Transformer, images: Tensor, **kept: object) -> object:
        passes.append(len(images))
        return read(self, images, **kept)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Transformer, "read", counting)
    for shots, expected in ((5, 6), (1, 3)):
        passes.clear()
        given = asked(shots)
        support, masks = encoded(net, given)
        ready = net.adapt_encoded(support, masks, rng=torch.Generator().manual_seed(0))
        with torch.no_grad():
            ready.match(net.encode(given.query_images), support, masks[None])
        assert sum(passes) == expected


def test_fitting_from_kept_tokens_is_fitting_the_block(net: HERA) -> None:
    """What is cached in front of the MLP gives what the whole backbone with that MLP gives."""
    own = hera(pgr=False)
    rows, _ = encoded(own, asked(2))
    own.choice = LayerChoice((2,), (1.0,), 2, ())
    mlp = own.backbone.block(5).mlp
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.mul_(1.1)
        found, _ = own.read(rows)
        again = own.plain(own.encode(rows.tensors["image"]), 5)
    torch.testing.assert_close(found, again, rtol=0, atol=1e-5)


def test_a_mix_is_corrected_at_the_size_of_root_c(monkeypatch: pytest.MonkeyPatch) -> None:
    own = hera(fit=False, pgr=False)
    forced(own, (0, 2), monkeypatch)
    rows, masks = encoded(own, asked(2))
    ready = own.adapt_encoded(rows, masks)
    with torch.no_grad():
        found, _ = ready.read(rows)
        maps = [own.plain(rows, block) for block in (3, 5)]
    expected = math.sqrt(96) * (0.5 * maps[0] + 0.5 * maps[1])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_correction_of_a_mix_begins_near_nothing_and_is_drawn_privately() -> None:
    state = torch.get_rng_state()
    first, second = (FusionMLP(8, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    maps = normal(1, 8, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(first(maps), maps, rtol=0, atol=1e-2)
        assert not torch.equal(first(maps), second(maps))
    assert not {id(p) for p in first.norm.parameters()} & {id(p) for p in first.learned}


def test_what_a_single_layer_of_dinov3_l_learns_is_as_large_as_published() -> None:
    with torch.device("meta"):
        net = build("hera")
    assert isinstance(net, HERA)
    assert list(net.candidates) == list(range(12, 24))
    mlp = net.backbone.block(23).mlp
    assert sum(parameter.numel() for parameter in mlp.parameters()) == 8_393_728
