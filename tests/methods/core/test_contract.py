"""What holds for every registered method beyond `methods/conformance/checks.py`."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdfss_bench.errors import CompositionError
from cdfss_bench.methods import METHODS, parse
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.methods.blocks.prototypes import fore_and_background
from cdfss_bench.methods.blocks.voting import foreground, upsampled, vote
from cdfss_bench.methods.conformance.checks import generator_states
from cdfss_bench.methods.core import host
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import Plugin
from cdfss_bench.methods.hosts.ssp import SSP

from ...support.contract import (
    SIDES,
    Episodes,
    built,
    compositions,
    episodes,
    fresh,
    network,
    recipe,
    same_tensors,
    side,
    tensors,
    trained_compositions,
    with_undecided,
)
from ...support.draws import generator

pytestmark = pytest.mark.usefixtures("one_thread")

every = pytest.mark.parametrize("name", compositions())
every_trained = pytest.mark.parametrize("name", trained_compositions())


def asked(name: str, count: int = 2, shots: int = 2, seed: int = 0) -> Episodes:
    return episodes(count, shots, side(name), seed=seed)


def large_batch() -> EpisodeBatch:
    """To train on: images large enough for their objects not to vanish on the coarsest maps."""
    return episodes(2, 2, max(SIDES)).batch()


def scores(net: Method, given: Episodes) -> Tensor:
    with torch.no_grad():
        return net.logits(*given.inputs)


def masks(net: Method, given: Episodes) -> Tensor:
    with torch.no_grad():
        return net.predict(*given.inputs)


def test_every_host_and_every_control_is_asked() -> None:
    cards = [METHODS.card(name) for name in METHODS.names()]
    hosts = {card.name for card in cards if card.kind in ("host", "control")}
    assert hosts == {parse(name).host.card.name for name in compositions()}
    fitting = {c.name for c in cards if c.kind == "plugin"}
    assert fitting == {p.card.name for name in compositions() for p in parse(name).plugins}


# -- shapes and types ------------------------------------------------------------------------------


@every
def test_one_map_decides_by_the_larger_score(name: str) -> None:
    given = asked(name, 2, 1)
    found = scores(network(name), given)
    assert torch.equal(masks(network(name), given), foreground(found)[:, 0].to(torch.uint8))


@every
def test_images_need_not_be_square(name: str) -> None:
    short = side(name)
    given = episodes(2, 2, short, short * 3 // 2)
    found = masks(network(name), given)
    assert found.shape == (2, short, short * 3 // 2)
    assert torch.equal(network(name).decide(scores(network(name), given), given.size), found)


@every
def test_features_are_rows_one_per_image(name: str) -> None:
    given = asked(name, 3)
    rows = network(name).encode(given.query_images)
    assert len(rows) == 3
    assert rows.size == given.size
    assert all(len(tensor) == 3 for tensor in rows.tensors.values())
    assert rows.nbytes == sum(t.numel() * t.element_size() for t in rows.tensors.values())


@every
def test_each_support_has_its_own_state_of_known_size(name: str) -> None:
    given = asked(name, 1, 5)
    net = network(name)
    with torch.no_grad():
        states = net.encode_support(net.encode(given.support_images[0]), given.support_masks[0])
    assert len(states) == 5
    assert all(state.nbytes > 0 for state in states)


# -- what a result depends on ----------------------------------------------------------------------


@every
def test_features_do_not_know_the_role_of_an_image(name: str) -> None:
    net = network(name)
    given = asked(name, 1, 1)
    swapped = Episodes(
        given.support_images[:, 0],
        given.support_masks[:, 0],
        given.query_images[:, None],
        given.query_masks[:, None],
    )
    with torch.no_grad():
        first, second = net.encode(given.query_images), net.encode(given.support_images[:, 0])
        matched = net.match(second, first, given.query_masks[:, None])
    assert torch.equal(upsampled(matched, given.size).float(), scores(net, swapped))


@every
def test_a_state_that_was_kept_is_as_good_as_one_made_with_its_episode(name: str) -> None:
    net = network(name)
    given = asked(name, 2, 2)
    with torch.no_grad():
        query = net.encode(given.query_images)
        states = [
            net.encode_support(net.encode(image[None]), mask[None])[0]
            for image, mask in zip(
                given.support_images.flatten(0, 1), given.support_masks.flatten(0, 1), strict=True
            )
        ]
        kept = [s.detached_copy() if isinstance(s, FeatureBatch) else s for s in states]
        matched = net.match_states(query, kept, shots=2)
    assert torch.equal(upsampled(matched, given.size).float(), scores(net, given))


@pytest.mark.parametrize("name", ["fssdino", "rsrm"])
def test_the_order_of_supports_does_not_change_a_bit(name: str) -> None:
    given = asked(name, 2, 5)
    expected = scores(network(name), given)
    assert torch.equal(scores(network(name), given.reordered([4, 2, 0, 3, 1])), expected)


@pytest.mark.parametrize("name", ["apseg", "persam[combine=vote]"])
def test_the_vote_is_that_of_the_masks_of_each_support_alone(name: str) -> None:
    net, given = network(name), asked(name, 1, 3)
    query, support, truth = given.inputs
    with torch.no_grad():
        alone = [net.predict(query, support[:, [i]], truth[:, [i]]) for i in range(3)]
    assert torch.equal(masks(net, given), vote(torch.stack(alone, dim=1)))
    assert net.votes


@every
def test_a_batch_computed_at_once_as_on_a_device_agrees_with_its_episodes_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(name, 3, 2)
    expected = scores(network(name), given)

    def together(_tensor: Tensor) -> bool:
        return False

    monkeypatch.setattr(host, "_one_by_one", together)
    torch.testing.assert_close(scores(network(name), given), expected, rtol=0, atol=2e-5)


@every
def test_the_type_of_the_support_masks_does_not_matter(name: str) -> None:
    net = network(name)
    query, images, truth = asked(name).inputs
    with torch.no_grad():
        expected = net.logits(query, images, truth)
        for dtype in (torch.bool, torch.int64, torch.float32):
            assert torch.equal(net.logits(query, images, truth.to(dtype)), expected), dtype


@every
def test_inference_mode_changes_nothing(name: str) -> None:
    with torch.inference_mode():
        found = network(name).logits(*asked(name).inputs)
    assert torch.equal(found, scores(network(name), asked(name)))


# -- what a method may touch -----------------------------------------------------------------------


@every
def test_building_leaves_the_global_generators_alone(name: str) -> None:
    before = generator_states()
    built(name)
    assert generator_states() == before


@every
def test_the_card_and_the_code_agree_on_adaptation(name: str) -> None:
    net = network(name)
    given = asked(name, 1, 1)
    assert net.adaptation == parse(name).adaptation
    if net.adaptation == "none":
        assert net.adapt(given.support_images[0], given.support_masks[0]) is net


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in compositions() if parse(name).adaptation != "none"),
        *("hera[pac=auto]", "ssp+hls", "ssp+hls+pac[auto]", "ssp+hls+apm-s"),
    ],
)
def test_an_episode_leaves_nothing_behind_and_the_next_begins_anew(name: str) -> None:
    net = fresh(name)
    kept = tensors(net), attributes(net)

    def answer(given: Episodes) -> Tensor:
        ready = net.adapt(
            given.support_images[0],
            given.support_masks[0],
            rng=generator(),
            query_image=given.query_images[0] if net.adaptation == "transductive" else None,
        )
        assert ready is not net
        assert (ready.backbone is net.backbone) is not net.adapts_encoder
        return scores(ready, given)

    first = answer(asked(name, 1))
    answer(asked(name, 1, seed=1))
    assert torch.equal(answer(asked(name, 1)), first)
    same_tensors(tensors(net), kept[0])
    assert attributes(net) == kept[1]
    assert all(parameter.grad is None for parameter in net.parameters())


def attributes(net: Method) -> dict[str, dict[str, int]]:
    """What every module holds beside its parameters, buffers and parts, by identity."""
    return {
        name: {key: id(value) for key, value in vars(module).items() if key[0] != "_"}
        for name, module in net.named_modules()
    }


# -- what is refused -------------------------------------------------------------------------------

Change = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

REFUSED: list[tuple[str, Change, str]] = [
    ("query without batch", lambda q, s, m: (q[0], s, m), "query images must be [B, 3, H, W]"),
    ("query of one channel", lambda q, s, m: (q[:, :1], s, m), "query images must be [B, 3, H, W]"),
    ("supports without K", lambda q, s, m: (q, s[:, 0], m), "support images must be [2, K, 3, "),
    ("no support", lambda q, s, m: (q, s[:, :0], m[:, :0]), "support images must be [2, K, 3, "),
    ("fewer episodes", lambda q, s, m: (q, s[:1], m[:1]), "support images must be [2, K, 3, "),
    ("smaller supports", lambda q, s, m: (q, s[..., 1:], m), "support images must be [2, K, 3, "),
    ("channels last", lambda q, s, m: (q, s.movedim(2, -1), m), "support images must be [2, K, 3,"),
    ("masks without K", lambda q, s, m: (q, s, m[:, 0]), "support masks must be [2, 2, "),
    ("a mask too few", lambda q, s, m: (q, s, m[:, :1]), "support masks must be [2, 2, "),
    ("smaller masks", lambda q, s, m: (q, s, m[..., 1:]), "support masks must be [2, 2, "),
    (
        "integer query",
        lambda q, s, m: (q.to(torch.uint8), s, m),
        "ImageNet-normalised, not torch.uint8",
    ),
    ("integer supports", lambda q, s, m: (q, s.long(), m), "ImageNet-normalised, not torch."),
    ("undecided supports", lambda q, s, m: (q, s, m * 255), "masks must hold 0 and 1 only"),
]


@every
@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*r[1:], id=r[0]) for r in REFUSED])
@pytest.mark.parametrize("step", ["predict", "logits"])
def test_misfitting_inputs_are_refused_in_a_sentence(
    name: str, change: Change, sentence: str, step: str
) -> None:
    wrong = change(*asked(name).inputs)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        getattr(network(name), step)(*wrong)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_of_another_precision_are_refused_or_make_no_difference(
    name: str, dtype: torch.dtype
) -> None:
    query, images, truth = asked(name).inputs
    net = network(name)
    if not list(net.parameters()):
        found = net.predict(query.to(dtype), images.to(dtype), truth)
        assert torch.equal(found, net.predict(query, images, truth))
        return
    with pytest.raises(ValueError, match=r"images must be torch\.float32"):
        net.predict(query.to(dtype), images.to(dtype), truth)


# -- training --------------------------------------------------------------------------------------


@every_trained
def test_the_loss_is_the_sum_of_its_weighted_terms(name: str) -> None:
    net = fresh(name).train()
    given = asked(name)
    loss = net.loss(given.batch())
    terms = net.loss_terms(given.batch())
    assert all(term.value.shape == () for term in terms.values())
    summed = sum(term.weight * float(term.value.detach()) for term in terms.values())
    assert float(loss.detach()) == pytest.approx(summed, rel=1e-6)


@every_trained
def test_the_same_generator_gives_the_same_loss(name: str) -> None:
    net = fresh(name).train()
    given = asked(name)
    assert torch.equal(net.loss(given.batch(1)), net.loss(given.batch(1)))


@pytest.mark.parametrize("name", [n for n in compositions() if parse(n).host.card.recipe is None])
def test_what_has_nothing_to_train_says_so(name: str) -> None:
    with pytest.raises(CompositionError, match="nothing to train"):
        fresh(name).train().loss(asked(name).batch())


def of_other_plugins(net: Method, name: str) -> set[str]:
    """Parameters of plug-ins that source training does not concern."""
    if all(part.card.trains for part in parse(name).plugins):
        return set()
    owners = [f"{key}." for key, module in net.named_modules() if isinstance(module, Plugin)]
    return {key for key, _ in net.named_parameters() if key.startswith(tuple(owners))}


def source_trained(net: Method, name: str) -> set[str]:
    """Parameters that ask for a gradient and are source training's concern."""
    asking = {key for key, p in net.named_parameters() if p.requires_grad}
    return asking - of_other_plugins(net, name)


@every_trained
def test_gradients_reach_exactly_what_the_recipe_trains(name: str) -> None:
    net = fresh(name).train()
    frozen = recipe(name).frozen_stages
    net.backbone.freeze(frozen)
    expected = source_trained(net, name)
    net.loss(large_batch()).backward()
    gradients = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
    reached = {key for key, gradient in gradients.items() if bool(gradient.any())}
    assert reached - of_other_plugins(net, name) == expected
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
    trains_backbone = frozen < len(net.backbone.stages)
    assert trains_backbone == any(key.startswith("backbone.") for key in reached)


@every_trained
def test_a_backbone_that_the_recipe_freezes_gets_no_gradient_even_if_it_asks(name: str) -> None:
    net = fresh(name).train()
    net.loss(asked(name).batch()).backward()
    asked_for = [p.grad for p in net.backbone.parameters()]
    if recipe(name).freeze == "all":
        assert all(gradient is None for gradient in asked_for)
    else:
        assert all(gradient is not None for gradient in asked_for)


@every_trained
def test_training_keeps_the_statistics_of_batch_normalisation_unless_it_says_otherwise(
    name: str,
) -> None:
    net = fresh(name)
    assert net.train() is net
    assert net.training
    normalisations = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    backbones = parse(name).host.card.backbones
    assert bool(normalisations) == any(BACKBONES.card(trunk).pyramid for trunk in backbones)
    expected = {net.norm_is_frozen} if normalisations else set[bool]()
    assert {not module.training for module in normalisations} == expected
    statistics = [buffer for module in normalisations for buffer in module.buffers()]
    before = [value.clone() for value in statistics]
    net.loss(asked(name).batch()).backward()
    assert set(map(torch.equal, statistics, before)) == expected


@every
def test_evaluation_after_training_mode_is_as_before(name: str) -> None:
    net = fresh(name)
    before = scores(net, asked(name))
    net.train()
    net.eval()
    assert not any(module.training for module in net.modules())
    assert torch.equal(scores(net, asked(name)), before)


@every_trained
def test_a_training_step_changes_what_is_trained_and_nothing_else(name: str) -> None:
    net = fresh(name).train()
    net.backbone.freeze(recipe(name).frozen_stages)
    before = tensors(net)
    trained = source_trained(net, name)
    optimizer = torch.optim.SGD([net.get_parameter(key) for key in sorted(trained)], lr=0.1)
    net.loss(large_batch()).backward()
    optimizer.step()
    after = tensors(net)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    statistics = {key for key, _ in net.named_buffers()} if not net.norm_is_frozen else set()
    assert changed == trained | statistics


# -- undecided pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in trained_compositions() if n.startswith("hsnet")])
def test_undecided_pixels_of_a_support_are_not_its_object_in_hsnet(name: str) -> None:
    net = network(name)
    given = asked(name)
    void = with_undecided(given.support_masks)
    outside = torch.where(void == 255, 0, void)
    losses = [net.loss(replace(given, support_masks=masks).batch()) for masks in (void, outside)]
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("name", "terms"), [("hsnet", ["query"]), ("ssp", ["refined", "first"])], ids=["hsnet", "ssp"]
)
def test_undecided_pixels_of_the_query_do_not_count(name: str, terms: list[str]) -> None:
    net = network(name)
    given = asked(name)
    truth = given.query_masks
    top = with_undecided(truth)
    rest = torch.where(top == 255, truth, 255)

    def errors(query_masks: Tensor) -> list[Tensor]:
        found = net.loss_terms(replace(given, query_masks=query_masks).batch())
        return [found[term].value for term in terms]

    share = float((top == 255).float().mean())
    assert 0.2 < share < 0.3
    for whole, first, second in zip(errors(truth), errors(top), errors(rest), strict=True):
        assert not torch.isclose(first, whole, rtol=1e-3)
        torch.testing.assert_close((1 - share) * first + share * second, whole)


def test_undecided_pixels_are_neither_object_nor_background_in_ssps_loss() -> None:
    net = network("ssp")
    assert isinstance(net, SSP)
    given = asked("ssp")
    query_masks = with_undecided(given.query_masks)
    support_masks = with_undecided(given.support_masks, edge="left")
    undecided = replace(given, query_masks=query_masks, support_masks=support_masks)
    found = net.loss_terms(undecided.batch())
    with torch.no_grad():
        query = net.encode(given.query_images).tensors[net.stage]
        support = net.encode(given.support_images.flatten(0, 1)).tensors[net.stage]

    def error(logits: Tensor, truth: Tensor) -> Tensor:
        full = F.interpolate(logits, given.size, mode="bilinear", align_corners=True)
        each = F.cross_entropy(full, torch.where(truth == 255, 0, truth).long(), reduction="none")
        return each[truth != 255].mean()

    def own(features: Tensor, truth: Tensor) -> Tensor:
        fore, back = fore_and_background(features, truth)
        pairs = (features, back[..., None, None]), (features, fore[..., None, None])
        return 10 * torch.stack([F.cosine_similarity(*pair) for pair in pairs], dim=1)

    supports = support_masks.flatten(0, 1)
    prototypes = fore_and_background(support, supports)
    fore, back = (part.unflatten(0, (-1, 2)).mean(1) for part in prototypes)
    with torch.no_grad():
        maps = net.self_supported(query, fore, back)
        assert maps.refined is not None
        expected = {
            "refined": (1.0, error(maps.refined, query_masks)),
            "first": (1.0, error(maps.first, query_masks)),
            "query_self": (1.0, error(own(query, query_masks), query_masks)),
            "support_self": (0.2, error(own(support, supports), supports)),
        }
    assert list(found) == list(expected)
    for key, (weight, value) in expected.items():
        assert found[key].weight == weight
        torch.testing.assert_close(found[key].value.detach(), value, rtol=1e-4, atol=1e-5)


# -- state dict ------------------------------------------------------------------------------------


@every
def test_the_state_dict_holds_every_parameter_and_every_buffer_once(name: str) -> None:
    net = network(name)
    assert len(net.state_dict()) == len(tensors(net))
    total = sum(value.numel() for value in tensors(net).values())
    assert sum(value.numel() for value in net.state_dict().values()) == total


@every
def test_the_order_of_the_entries_is_that_of_the_modules(name: str) -> None:
    net = network(name)
    # By their memory: published keys may differ from ours in their beginnings.
    buffers = {buffer.data_ptr() for buffer in net.buffers()}
    published = [v for v in net.state_dict().values() if v.data_ptr() not in buffers]
    # A published convention may order the channels of an entry otherwise: that one is a copy.
    for value, parameter in zip(published, net.parameters(), strict=True):
        if value.data_ptr() != parameter.data_ptr():
            assert value.shape == parameter.shape
            assert torch.equal(value.flatten().sort()[0], parameter.detach().flatten().sort()[0])


@every
def test_a_missing_and_a_foreign_entry_are_noticed(name: str) -> None:
    net = fresh(name)
    state = net.state_dict()
    with pytest.raises(RuntimeError, match="foreign"):
        net.load_state_dict({**state, "foreign.weight": torch.zeros(1)})
    if state:
        missing = next(iter(state))
        with pytest.raises(RuntimeError, match="Missing key"):
            net.load_state_dict({key: value for key, value in state.items() if key != missing})


@every
def test_a_deep_copy_is_a_network_of_its_own(name: str) -> None:
    net = network(name)
    copied = copy.deepcopy(net)
    before = scores(net, asked(name))
    assert torch.equal(scores(copied, asked(name)), before)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(scores(net, asked(name)), before)
    copied.load_state_dict(net.state_dict())
    assert torch.equal(scores(copied, asked(name)), before)
