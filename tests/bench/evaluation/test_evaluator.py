"""One evaluator: batch, order, memory and history change time, never numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import ByteBudgetStore, FeatureStores
from cdfss_bench.bench.evaluation.prediction import load_method
from cdfss_bench.bench.planning.planned_cells import plan
from cdfss_bench.bench.planning.selection import Selection
from cdfss_bench.bench.records.cell_folder import EpisodeRow
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.bench.runtime.precision import rounds_to_tf32
from cdfss_bench.bench.statistics.metrics import measure
from cdfss_bench.datasets import Domain, Episode, open_domain
from cdfss_bench.methods.core.contract import SupportState
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.hsnet import HSNet
from cdfss_bench.methods.registry.build import build

ADAPTING = "hsnet+apm-s[steps=1]+acpa[steps=1]"
METHODS = ["prototype", "ssp", "ssp+lcm", "hsnet", "hsnet+lcm", ADAPTING, "centre-ellipse"]


def prepared(name: str, weights: Path, domain: str = "mini-lesion", shots: int = 1) -> Any:
    selection = Selection(
        methods=(name,), domains=(domain,), shots=(shots,), episodes=9, weights_dirs=(weights,)
    )
    planned = next(iter(plan(selection)))
    assert planned.cell is not None, planned.reason
    network = load_method(planned.composition, planned.cell.weights)
    return network, planned.episode_set.domain, planned.episode_set.manifest.episodes


def counted(
    network: Method, domain: Domain, episodes: tuple[Episode, ...], **settings: int
) -> dict[Episode, Counts]:
    rows: list[EpisodeRow] = []
    chosen = Settings(**settings)  # pyright: ignore[reportArgumentType]
    for batch, _ in evaluate(network, domain, episodes, settings=chosen):
        rows += batch
    assert sorted(row.index for row in rows) == list(range(len(episodes)))
    return {row.episode: row.counts for row in rows}


def test_what_adapts_does_so_for_each_episode_afresh(seeded_weights: Path) -> None:
    network, domain, episodes = prepared("ifa[steps=2]", seeded_weights, shots=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    chosen = episodes[:3]
    plain = counted(network, domain, chosen)
    assert counted(network, domain, chosen, batch=4, budget=1) == plain
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    (last,) = [rows for rows, _ in evaluate(network, domain, chosen, skip={0, 1})]
    assert last[0].counts == plain[chosen[2]]
    still, _, _ = prepared("ifa[steps=0]", seeded_weights, shots=2)
    assert counted(still, domain, chosen) != plain


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("name", METHODS)
def test_result_does_not_depend_on_batch_order_or_memory(
    name: str, shots: int, seeded_weights: Path
) -> None:
    network, domain, episodes = prepared(name, seeded_weights, shots=shots)
    plain = counted(network, domain, episodes, batch=1, encode_batch=1)
    assert counted(network, domain, episodes, batch=4, encode_batch=7) == plain
    assert counted(network, domain, episodes[::-1], batch=2) == plain
    assert counted(network, domain, episodes, batch=3, budget=1) == plain
    assert any(0 < counts.inter < counts.union for counts in plain.values())


@pytest.mark.parametrize("name", ["prototype", "ssp", "hsnet"])
def test_result_is_what_predict_says(name: str, seeded_weights: Path) -> None:
    network, domain, episodes = prepared(name, seeded_weights, shots=5)
    fast = counted(network, domain, episodes)
    for episode in episodes:
        loaded = domain.load(episode)
        with torch.inference_mode():
            mask = network.predict(
                loaded.query_image[None], loaded.support_images[None], loaded.support_masks[None]
            )[0].bool()
        truth = loaded.query_mask.bool()
        assert fast[episode].inter == int((mask & truth).sum())
        assert fast[episode].union == int((mask | truth).sum())


def test_stores_shared_between_shots_encode_nothing_twice(seeded_weights: Path) -> None:
    network, domain, episodes = prepared("ssp", seeded_weights)
    stores = FeatureStores()
    encoded = sum(t.encoded for _, t in evaluate(network, domain, episodes, stores=stores))
    again = sum(t.encoded for _, t in evaluate(network, domain, episodes, stores=stores))
    images = {name for e in episodes for name in (e.query, *e.supports)}
    assert (encoded, again) == (len(images), 0)


@pytest.mark.parametrize("budget", [0, 200_000, 1_000_000])
def test_stores_keep_to_their_budget(budget: int, seeded_weights: Path) -> None:
    network, domain, episodes = prepared("ssp", seeded_weights)
    stores = FeatureStores(budget)
    for _ in evaluate(network, domain, episodes, stores=stores):
        assert stores.used <= budget


@given(
    st.integers(0, 60), st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 30)))
)
def test_states_and_features_share_one_budget(
    budget: int, puts: list[tuple[bool, int, int]]
) -> None:
    stores = FeatureStores(budget)
    for is_state, key, size in puts:
        value: Any = torch.zeros(size, dtype=torch.uint8)
        if is_state:
            stores.keep((0, str(key)), value)
        else:
            stores.features.put(str(key), value)
        assert stores.used <= budget
        assert stores.features.budget == budget - stores.maps.budget - stores.states.used


def test_features_make_room_for_states() -> None:
    stores = FeatureStores(160)
    one: Any = torch.zeros(50, dtype=torch.uint8)
    for name in "abc":
        stores.features.put(name, one)
    stores.keep((0, "s"), one)
    assert [name in stores.features for name in "abc"] == [False, True, True]
    assert (0, "s") in stores.states


def test_a_known_support_is_not_encoded_for_its_state(seeded_weights: Path) -> None:
    network, domain, episodes = prepared("ssp", seeded_weights)
    stores = FeatureStores()
    list(evaluate(network, domain, episodes, stores=stores))
    again: list[int] = []
    stores.features.clear()
    for _, timing in evaluate(network, domain, episodes, stores=stores):
        again.append(timing.encoded)
        stores.features.clear()
    assert again == [1] * len(episodes)


def test_a_query_meets_a_support_once_where_shots_vote(
    seeded_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, domain, _ = prepared("hsnet", seeded_weights)
    episodes = domain.episodes(5, 0, "patnet", 40).episodes
    met: list[int] = []
    match = HSNet.match_states

    def counted(
        self: HSNet, query: FeatureBatch, states: Sequence[SupportState], *, shots: int
    ) -> torch.Tensor:
        met.append(shots)
        return match(self, query, states, shots=shots)

    monkeypatch.setattr(HSNet, "match_states", counted)

    def rows(stores: FeatureStores) -> dict[int, Counts]:
        batches = evaluate(network, domain, episodes, stores=stores)
        return {row.index: row.counts for found, _ in batches for row in found}

    stores, forgetful = FeatureStores(), FeatureStores()
    first = rows(stores)
    asked = [(e.class_id, e.query, name) for e in episodes for name in e.supports]
    assert sum(met) == len(set(asked)) < len(asked)
    met.clear()
    assert rows(stores) == first
    assert not met
    forgetful.maps = ByteBudgetStore(0)
    assert rows(forgetful) == first
    assert sum(met) == sum(len(set(e.supports)) for e in episodes)


def test_known_episodes_are_skipped(seeded_weights: Path) -> None:
    network, domain, episodes = prepared("prototype", seeded_weights)
    batches = evaluate(network, domain, episodes, skip={0, 3, 4})
    assert [row.index for rows, _ in batches for row in rows] == [1, 2, 5, 6, 7, 8]


class Peeking(Method):
    """Keeps whatever it is shown."""

    def __init__(self) -> None:
        super().__init__(None)
        self.seen: list[Tensor] = []

    def features(self, images: Tensor) -> Any:
        self.seen.append(images)
        return FeatureBatch(
            (images.shape[-2], images.shape[-1]), {"none": images.new_zeros(len(images))}
        )

    def support_states(self, support: Any, masks: Tensor) -> Any:
        self.seen.append(masks)
        return [support[i : i + 1] for i in range(len(support))]

    def score(self, query: Any, states: Any, *, shots: int) -> Tensor:
        return torch.zeros(len(query), 1, 2, *query.size)


def test_a_method_never_sees_the_mask_of_a_query() -> None:
    domain = open_domain("mini-lesion")
    episodes = domain.episodes(1, length=1).episodes
    network = Peeking()
    list(evaluate(network, domain, episodes))
    truth = domain.load(episodes[0]).query_mask
    shown = [mask for mask in network.seen if mask.ndim == 3]
    assert len(shown) == 1
    assert not any(torch.equal(mask, truth) for mask in shown[0])


def test_fp32_is_not_rounded_to_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    assert rounds_to_tf32()
    domain = open_domain("mini-chest")
    episodes = domain.episodes(1, 0, "patnet", 1).episodes
    list(evaluate(build("centre-ellipse"), domain, episodes))
    assert not rounds_to_tf32()


def test_a_mask_of_the_wrong_shape_is_refused() -> None:
    class Wrong(Peeking):
        def decide(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
            return torch.zeros(len(logits), 3, 3, dtype=torch.uint8)

    domain = open_domain("mini-lesion")
    with pytest.raises(ValueError, match=r"Wrong returned torch\.uint8"):
        list(evaluate(Wrong(), domain, domain.episodes(1, length=1).episodes))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", [0, 1])
def test_scores_that_are_not_finite_are_refused(value: float, channel: int) -> None:
    class Undecided(Peeking):
        def score(self, query: Any, states: Any, *, shots: int) -> Tensor:
            scores = super().score(query, states, shots=shots)
            scores[:, :, channel, :2] = value
            return scores

    domain = open_domain("mini-lesion")
    episodes = domain.episodes(1, length=1).episodes
    with pytest.raises(ValueError, match=r"Undecided returned NaN for the query .*, or infinity"):
        list(evaluate(Undecided(), domain, episodes))


def test_controls_have_the_metrics_one_can_compute_by_hand() -> None:
    domain = open_domain("mini-chest")
    episodes = domain.episodes(1, length=8).episodes
    truths = [domain.load(e).query_mask.numpy() for e in episodes]
    for name, expected in (
        ("all-foreground", 100 * np.mean(truths)),
        ("all-background", 0.0),
    ):
        rows = [r for rows, _ in evaluate(build(name), domain, episodes) for r in rows]
        found = measure([0] * len(rows), [row.counts for row in rows])
        assert found.miou == pytest.approx(expected)
