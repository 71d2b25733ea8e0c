"""`lcm[auto]`: K, w and beta from the support alone."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.voting import foreground, upsampled, vote
from cdfss_bench.methods.conformance import checks as conformance
from cdfss_bench.methods.conformance.checks import Subject
from cdfss_bench.methods.conformance.probe import Episodes
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.leave_one_out import remaining
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import Trial
from cdfss_bench.methods.plugins.lcm import GRID, LCM

from ...support.contract import composition, episodes, seeded
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")


def decide(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return vote(foreground(upsampled(logits, size)))


def drawn_trials(count: int = 3, shots: int = 2) -> list[Trial]:
    """Score maps that know something of the truth, and low-level maps that know something else."""
    found: list[Trial] = []
    for seed in range(count):
        truth = torch.zeros(64, 64, dtype=torch.uint8)
        truth[10 + seed : 40, 20 : 50 + seed] = 1
        hint = torch.nn.functional.adaptive_avg_pool2d(truth[None, None].float(), (16, 16))
        logits = normal(1, shots, 2, 16, 16, seed=seed)
        logits[:, :, 1] += 1.5 * hint - 0.8
        low = normal(1, 6, 16, 16, seed=10 + seed).abs()
        low[:, 0] += 3 * hint[0]
        found.append(Trial(logits, low, truth))
    return found


def pooled_iou(trials: Sequence[Trial], k: int, w: float, beta: float | str) -> float:
    """By the definition, with the published LCM."""
    inside, either = 0, 0
    for trial in trials:
        calibrated = LCM(k=k, w=w, beta=beta, patch=8).calibrate(trial.logits, trial.low, (64, 64))
        mask, truth = decide(calibrated, (64, 64))[0].bool(), trial.truth.bool()
        inside += int((mask & truth).sum())
        either += int((mask | truth).sum())
    return inside / either


def chosen(lcm: LCM, trials: Sequence[Trial]) -> tuple[int, float, float | str]:
    lcm.choose(trials, decide)
    return lcm.k, lcm.w, lcm.beta


def test_the_typed_values_come_first_then_none_at_all_then_the_grid() -> None:
    found = LCM(k=2, w=0.4, beta=0.8, auto=True).candidates()
    assert found == [(2, 0.4, 0.8), (2, 0.0, 0.8), *product(*GRID)]
    published = LCM(auto=True).candidates()
    assert published[:2] == [(3, 0.6, 0.7), (3, 0.0, 0.7)]
    assert len(published) == len(set(published)) == 1 + len(list(product(*GRID)))


@pytest.mark.parametrize("shots", [1, 3])
def test_the_best_by_definition_is_chosen(shots: int) -> None:
    trials = drawn_trials(shots=shots)
    lcm = LCM(auto=True, patch=8)
    scores = {c: pooled_iou(trials, *c) for c in lcm.candidates()}
    assert len(set(scores.values())) > 5
    found = chosen(lcm, trials)
    assert scores[found] == max(scores.values())
    assert scores[found] > scores[3, 0.0, 0.7]


def test_of_equals_the_first_is_kept() -> None:
    sure = torch.tensor([-50.0, 50.0])[None, None, :, None, None].expand(1, 1, 2, 16, 16)
    certain = [Trial(sure, t.low, t.truth) for t in drawn_trials()]
    assert chosen(LCM(k=2, w=0.4, beta=0.8, auto=True, patch=8), certain) == (2, 0.4, 0.8)


def test_where_every_correction_hurts_there_is_none() -> None:
    """The score map is right, by little; its surest part looks like the background."""
    fore = torch.zeros(16, 16)
    fore[3:12, 4:13] = 1
    surest = torch.zeros(16, 16)
    surest[3:6, 4:7] = 1
    margin = 0.005 * (2 * fore - 1) + 0.005 * surest
    rest = fore - surest
    truth = fore.repeat_interleave(4, 0).repeat_interleave(4, 1).to(torch.uint8)
    low = torch.stack((1 - rest, rest))
    trial = Trial(torch.stack((-margin, margin))[None, None], low[None], truth)
    assert chosen(LCM(auto=True, patch=4), [trial])[1] == 0


def test_an_empty_truth_decides_nothing() -> None:
    empty = [Trial(t.logits, t.low, torch.zeros_like(t.truth)) for t in drawn_trials()]
    assert chosen(LCM(auto=True, patch=8), empty) == (3, 0.6, 0.7)


def rows(*values: float) -> FeatureBatch:
    return FeatureBatch(
        (4, 4), {"layer3": torch.tensor(values)[:, None, None, None].expand(-1, 1, 2, 2)}
    )


def test_one_is_left_out_with_every_copy_of_it() -> None:
    masks = torch.ones(4, 4, 4)
    assert [remaining(rows(1, 2, 1, 3), masks, i) for i in range(4)] == [
        [1, 3],
        [0, 2, 3],
        [1, 3],
        [0, 1, 2],
    ]
    masks[2, 0, 0] = 0  # another object of the same picture is no copy
    assert remaining(rows(1, 2, 1, 3), masks, 0) == [1, 2, 3]


def test_where_nothing_is_left_it_predicts_itself() -> None:
    assert remaining(rows(1), torch.ones(1, 4, 4), 0) == [0]
    assert remaining(rows(1, 1), torch.ones(2, 4, 4), 1) == [1]


def made(name: str) -> Method:
    return seeded(build(composition(name), backbone="resnet-mini"))


def lcm_of(net: Method) -> LCM:
    (plugin,) = net.score_plugins
    assert isinstance(plugin, LCM)
    return plugin


def adapted(net: Method, given: Episodes) -> Method:
    return net.adapt(given.support_images[0], given.support_masks[0])


@pytest.mark.parametrize("host", ["prototype", "ssp", "hsnet"])
@pytest.mark.parametrize("shots", [1, 3])
def test_the_adapted_method_is_lcm_with_what_each_support_as_a_query_prefers(
    host: str, shots: int
) -> None:
    net, given = made(f"{host}+lcm[auto]"), episodes(1, shots, 64)
    ready = adapted(net, given)
    found = (lcm_of(ready).k, lcm_of(ready).w, lcm_of(ready).beta)

    def score(k: int, w: float, beta: float | str) -> float:
        plain = made(f"{host}+lcm[k={k},w={w},beta={beta}]")
        inside, either = 0, 0
        for i in range(shots):
            others = [j for j in range(shots) if j != i] or [i]
            images, masks = given.support_images[0], given.support_masks[0]
            mask = plain.predict(images[i : i + 1], images[None, others], masks[None, others])[0]
            inside += int((mask & masks[i]).sum())
            either += int((mask | masks[i]).sum())
        return inside / either

    sampled = [*lcm_of(net).candidates()[:2], (1, 1.2, 0.5), (5, 0.3, "mean"), (3, 1.2, 0.9)]
    assert score(*found) >= max(score(*candidate) for candidate in sampled)
    plain = made(f"{host}+lcm[k={found[0]},w={found[1]},beta={found[2]}]")
    assert torch.equal(ready.logits(*given.inputs), plain.logits(*given.inputs))


def test_before_adapting_it_is_lcm_as_typed_and_adapting_leaves_it_so() -> None:
    net, given = made("ssp+lcm[auto,k=2]"), episodes(1, 3, 64)
    plain = made("ssp+lcm[k=2]")
    expected = plain.logits(*given.inputs)
    assert torch.equal(net.logits(*given.inputs), expected)
    adapted(net, given)
    assert torch.equal(net.logits(*given.inputs), expected)


def test_the_choice_depends_on_its_own_support_alone() -> None:
    net = made("prototype+lcm[auto]")
    found = [lcm_of(adapted(net, episodes(1, 3, 64, seed=s))) for s in (0, 1, 2, 0)]
    choices = [(lcm.k, lcm.w, lcm.beta) for lcm in found]
    assert choices[0] == choices[3]
    assert len(set(choices)) > 1


def test_the_order_of_supports_does_not_matter() -> None:
    net, given = made("prototype+lcm[auto]"), episodes(1, 4, 64)
    straight = lcm_of(adapted(net, given))
    turned = lcm_of(adapted(net, given.reordered([2, 0, 3, 1])))
    assert (straight.k, straight.w, straight.beta) == (turned.k, turned.w, turned.beta)


PROMISES = (
    conformance.empty_and_full_supports_still_give_scores,
    conformance.predicting_changes_nothing,
    conformance.adapting_is_declared_private_and_repeatable,
)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("host", ["hsnet", "ifa", "prototype+apm-s", "patnet+tfi"])
def test_its_hosts_keep_their_promises(host: str, promise: object) -> None:
    assert callable(promise)
    promise(Subject(f"{host}+lcm[auto]"))


def test_an_adapting_host_tunes_itself_first_and_then_lets_lcm_choose() -> None:
    net, given = made("ifa+lcm[auto]"), episodes(1, 2, 64)
    masks = given.support_masks[0]

    def ready(method: Method) -> Method:
        return method.adapt(given.support_images[0], masks, rng=torch.Generator().manual_seed(0))

    plain = ready(made("ifa+lcm"))
    lcm = lcm_of(ready(net))
    scores: dict[float, int] = {}
    for w in (0.0, lcm.w):
        lcm_of(plain).k, lcm_of(plain).w, lcm_of(plain).beta = lcm.k, w, lcm.beta
        images = given.support_images[0]
        found = [
            plain.predict(images[i : i + 1], images[None, [1 - i]], masks[None, [1 - i]])[0]
            for i in range(2)
        ]
        inside = sum(int((m & t).sum()) for m, t in zip(found, masks, strict=True))
        either = sum(int((m | t).sum()) for m, t in zip(found, masks, strict=True))
        scores[w] = inside * 1_000_000 // max(either, 1)
    assert scores[lcm.w] >= scores[0.0]


def test_empty_supports_are_adapted_to_without_a_number_that_is_none() -> None:
    net, given = made("ssp+lcm[auto]"), episodes(1, 2, 64)
    for value in (0, 1):
        ready = net.adapt(given.support_images[0], torch.full_like(given.support_masks[0], value))
        assert bool(ready.logits(*given.inputs).isfinite().all())
