"""Learning at test: what learns, from what, and that the shortcuts compute the plain thing."""

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cdfss_bench.errors import CompositionError, WeightsError
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.backbones.base import Stage
from cdfss_bench.methods.core.adaptation import descend, learning, self_prediction_errors
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.patnet import PATNet
from cdfss_bench.methods.plugins.apm import APM, APMM, APMS
from cdfss_bench.methods.plugins.tfi import TFI, soft_mask_divergence
from cdfss_bench.methods.weights.checkpoints import load_into

from ...support.contract import as_a, composition, episodes, seeded, tensors
from ...support.draws import generator

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 128


def mini(name: str) -> Method:
    """Seeded, half of its pixels foreground."""
    net = seeded(build(composition(name), backbone="resnet-mini"))
    state = net.state_dict()
    if "hpn_learner.decoder2.2.bias" in state:
        given = episodes(1, 1, SIDE)
        with torch.no_grad():
            scores = net.logits(*given.inputs)[0, 0]
        net.load_state_dict(
            {
                **state,
                "hpn_learner.decoder2.2.bias": state["hpn_learner.decoder2.2.bias"]
                - scores.flatten(1).median(1).values,
            }
        )
    return net


def rehearsed(net: Method, shots: int = 2, seed: int = 0) -> tuple[FeatureBatch, Tensor]:
    given = episodes(1, shots, SIDE, seed=seed)
    with torch.no_grad():
        return net.encode(given.support_images[0]), given.support_masks[0]


def adapted(net: Method, shots: int = 2, seed: int = 0, rng: int = 0) -> Method:
    given = episodes(1, shots, SIDE, seed=seed)
    query = given.query_images[0] if net.adaptation == "transductive" else None
    return net.adapt(
        given.support_images[0], given.support_masks[0], rng=generator(rng), query_image=query
    )


def changed(net: Method, copied: Method) -> set[str]:
    before, after = tensors(net), tensors(copied)
    return {
        key
        for key in before
        if before[key].shape != after[key].shape or not torch.equal(before[key], after[key])
    }


# -- the shortcut and the plain thing --------------------------------------------------------------

LEARNERS = [
    "hsnet+apm-m+acpa",
    "hsnet+apm-s",
    "hsnet+finetune",
    "hsnet+finetune+apm-s+acpa",
    "patnet+apm-m+acpa",
    "patnet+finetune",
]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_computed_once_gives_the_losses_of_computing_everything_at_every_step(
    name: str, device: str
) -> None:
    """The form for another device computes here too."""
    plain = mini(name)
    support, masks = rehearsed(plain)

    def losses(net: Method) -> list[float]:
        for plugin in net.feature_plugins:
            plugin.reset(support.group(net.adaptable(net.backbone).name)[0], generator())
        with learning(net, net.learning_plugins):
            for plugin in net.learning_plugins:
                plugin.steps, plugin.lr = 4, 0.01
            return descend(self_prediction_errors(net, support, masks), net, net.learning_plugins)

    fast = losses(plain.optimized_for(device))
    assert losses(plain) == pytest.approx(fast, rel=1e-6)
    assert len(set(fast)) == 4


@pytest.mark.parametrize("name", LEARNERS)
def test_gradients_of_the_shortcut_are_those_of_the_plain_thing(name: str) -> None:
    plain = mini(name)
    support, masks = rehearsed(plain, 1)
    found: list[list[Tensor]] = []
    for net in (plain.optimized_for("cpu"), plain):
        with learning(net, net.learning_plugins):
            learned = [p for plugin in net.learning_plugins for p in plugin.learned(net)]
            learned = [p for p in learned if not _is_idle(net, p)]
            predicted = net.self_prediction(support, masks)()
            found.append(list(torch.autograd.grad(predicted.square().sum(), learned)))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max()))


def _is_idle(net: Method, parameter: Tensor) -> bool:
    """PATNet's biases stand in its checkpoints and are never read."""
    return any(
        parameter is value
        for key, value in net.named_parameters()
        if key.startswith("reference_layer") and key.endswith("bias")
    )


# -- what learns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        ("hsnet+apm-m+acpa", ("apm.", "acpa.")),
        ("ssp+apm-s", ("apm.",)),
        ("prototype+acpa", ("acpa.",)),
        ("hsnet+finetune", ("hpn_learner.",)),
        ("patnet+tfi", ("reference_layer1.weight",)),
        ("patnet+tfi[repair=soft_mask]", ("reference_layer1.weight",)),
        ("patnet+apm-s+tfi", ("apm.", "reference_layer1.weight")),
    ],
)
def test_only_what_is_declared_changes(name: str, learns: tuple[str, ...]) -> None:
    net = mini(name)
    before = tensors(net)
    asked = {key: p.requires_grad for key, p in net.named_parameters()}
    copied = adapted(net)
    found = changed(net, copied)
    assert found
    assert all(key.startswith(learns) for key in found)
    assert {start for start in learns if any(key.startswith(start) for key in found)} == {*learns}
    assert all(torch.equal(before[key], value) for key, value in tensors(net).items())
    assert copied.backbone is net.backbone
    assert {key: p.requires_grad for key, p in net.named_parameters()} == asked
    assert all(p.grad is None for p in [*net.parameters(), *copied.parameters()])
    assert not any(module.training for module in copied.modules())


@pytest.mark.parametrize("name", ["hsnet+apm-m[lr=0.1]", "hsnet+finetune", "ssp+apm-m[lr=0.1]"])
def test_learning_brings_the_loss_on_the_support_down(name: str) -> None:
    net = mini(name.replace("]", ",steps=12]") if "[" in name else f"{name}[steps=12]")
    support, masks = rehearsed(net)
    for plugin in net.feature_plugins:
        plugin.reset(_maps(net, support), generator())
    with learning(net, net.learning_plugins):
        losses = descend(self_prediction_errors(net, support, masks), net, net.learning_plugins)
    assert losses[-1] < losses[0]


def _maps(net: Method, rows: FeatureBatch) -> Tensor:
    stage = net.adaptable(net.backbone).name
    return rows.tensors[stage] if stage in rows.tensors else rows.group(stage)[0]


def test_a_plug_in_learns_for_its_own_number_of_steps_at_its_own_rate() -> None:
    longer = adapted(mini("hsnet+apm-s[steps=3]+acpa[steps=1]"))
    shorter = adapted(mini("hsnet+apm-s[steps=1]+acpa[steps=1]"))
    assert torch.equal(
        longer.get_parameter("acpa.phase_attn.0.weight"),
        shorter.get_parameter("acpa.phase_attn.0.weight"),
    )
    assert not torch.equal(_apm(longer).mask_phase, _apm(shorter).mask_phase)
    # Adam's first step is the rate itself.
    moved = (_apm(shorter).mask_phase.detach() - 1).abs().max()
    assert float(moved) == pytest.approx(0.01, rel=1e-2)


def test_without_steps_a_plug_in_keeps_what_it_has() -> None:
    net = mini("hsnet+apm-s[steps=1]+acpa[steps=0]")
    assert all(key.startswith("apm.") for key in changed(net, adapted(net)))
    init = mini("hsnet+apm-s[steps=0]")
    assert init.adaptation == "none"
    assert adapted(init) is init


def test_each_episode_begins_anew_and_draws_from_its_own_generator() -> None:
    net = mini("hsnet+apm-m+acpa")
    first, again, other = adapted(net), adapted(adapted(net, seed=1)), adapted(net, rng=1)
    assert not changed(first, again)
    assert any(key.startswith("acpa.") for key in changed(first, other))


def _apm(net: Method) -> APM:
    return next(p for p in net.feature_plugins if isinstance(p, APM))


def test_features_made_in_inference_mode_can_be_learnt_from() -> None:
    net = mini("hsnet+apm-s")
    given = episodes(1, 1, SIDE)
    with torch.inference_mode():
        support = net.encode(given.support_images[0])
        copied = net.adapt_encoded(support, given.support_masks[0], rng=generator())
    assert not changed(copied, adapted(net, 1))


def test_what_is_missing_is_asked_for() -> None:
    given = episodes(1, 1, SIDE)
    with pytest.raises(ValueError, match="ACPA draws its initial weights"):
        mini("hsnet+acpa").adapt(given.support_images[0], given.support_masks[0])
    with pytest.raises(ValueError, match="TFI looks at the query"):
        mini("patnet+tfi").adapt(given.support_images[0], given.support_masks[0], rng=generator())


def test_two_plug_ins_of_one_key_are_refused() -> None:
    host = mini("hsnet")
    with pytest.raises(CompositionError, match="only one plug-in can be the apm of a method"):
        type(host)(host.backbone, [APMM(), APMM()])


# -- APM -------------------------------------------------------------------------------------------


def masker(channels: int = 6, side: int = 7) -> APM:
    module = APMM()
    module.attach_to(Stage("any", channels, 32, 1))
    module.reset(torch.zeros(1, channels, side, side), None)
    return module


@pytest.mark.parametrize(("kind", "side"), [(APMM, 7), (APMS, 7), (APMM, 4)])
def test_the_filters_own_gradient_is_autograds(kind: type[APM], side: int) -> None:
    module = kind().double()
    features = torch.randn(2, 6, side, side, generator=generator(), dtype=torch.float64)
    module.reset(features, None)
    with torch.no_grad():
        for mask in module.parameters():
            mask.copy_(torch.randn(mask.shape, generator=generator(1), dtype=mask.dtype))
    weights = torch.randn(features.shape, generator=generator(2), dtype=torch.float64)

    def slopes(maps: Tensor) -> tuple[Tensor, ...]:
        found = module.transform(maps)
        return found, *torch.autograd.grad((found * weights).sum(), list(module.parameters()))

    plain = slopes(features.clone().requires_grad_())
    torch.testing.assert_close(slopes(features), plain)


def test_masks_are_made_for_400_pixels_and_take_the_size_that_they_are_given() -> None:
    module = APMM()
    module.attach_to(Stage("any", 6, 32, 1))
    assert module.mask_phase.shape == (1, 6, 13, 13)
    given = {name: torch.rand(1, 6, 7, 5) for name in ("mask_amplitude", "mask_phase")}
    module.load_state_dict(given)
    assert module.mask_phase.shape == (1, 6, 7, 5)
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_state_dict({name: torch.rand(1, 5, 7, 5) for name in given})


@pytest.mark.parametrize("channels", [1, 6, 7])
def test_an_entry_of_a_file_acts_on_the_channel_that_the_published_code_shifts_it_to(
    channels: int,
) -> None:
    module = masker(channels)
    mask = torch.arange(channels).float()[None, :, None, None].expand(1, channels, 7, 7).clone()
    module.load_state_dict({"mask_amplitude": mask, "mask_phase": mask})
    inside = module.mask_amplitude[0, :, 0, 0].tolist()
    for entry in range(channels):
        assert inside[(entry - channels // 2) % channels] == entry
    assert torch.equal(module.state_dict()["mask_phase"], mask)


def test_masks_that_pass_everything_are_the_identity() -> None:
    module = masker()
    module.load_state_dict(dict.fromkeys(module.state_dict(), torch.full((1, 6, 7, 7), 30.0)))
    features = torch.randn((2, 6, 7, 7), generator=generator())
    torch.testing.assert_close(module.transform(features), features)


def test_the_initial_masks_are_no_identity_but_the_same_for_every_size() -> None:
    features = torch.randn((2, 6, 9, 12), generator=generator())
    other, own = masker(side=7), masker()
    own.reset(features, None)
    torch.testing.assert_close(other.transform(features), own.transform(features))
    scaled = features * torch.ones(()).sigmoid()
    assert float((own.transform(features) - scaled).detach().abs().max()) > 0.1


def test_a_checkpoint_of_the_host_lacks_nothing_and_one_with_masks_is_taken(tmp_path: Path) -> None:
    host, net = mini("hsnet"), mini("hsnet+apm-m+acpa")

    def load(state: Mapping[str, Tensor]) -> None:
        optional = net.keys_without_training
        load_into(net, state, path=tmp_path / "file.pt", optional=optional, complete=True)

    load(host.state_dict())
    with_masks = {**net.state_dict()}
    channels = net.state_dict()["apm.mask_phase"].shape[1]
    with_masks["apm.mask_phase"] = torch.rand(1, channels, 4, 4)
    load(with_masks)
    assert torch.equal(net.state_dict()["apm.mask_phase"], with_masks["apm.mask_phase"])
    with_masks["apm.mask_phase"] = torch.rand(1, channels + 1, 4, 4)
    with pytest.raises(WeightsError, match=r"apm\.mask_phase"):
        load(with_masks)


def test_attention_has_the_same_first_weights_in_every_process() -> None:
    first, second = (build("hsnet+acpa", backbone="resnet-mini") for _ in range(2))
    torch.rand(5)
    assert torch.equal(
        first.get_parameter("acpa.phase_attn.2.weight"),
        second.get_parameter("acpa.phase_attn.2.weight"),
    )


# -- TFI -------------------------------------------------------------------------------------------


def patnet(name: str) -> PATNet:
    return as_a(PATNet, mini(name))


def test_an_empty_prediction_teaches_nothing() -> None:
    net = patnet("patnet+tfi")
    bias = net.state_dict()["hpn_learner.decoder2.2.bias"] - torch.tensor([-9.0, 9.0])
    net.load_state_dict({**net.state_dict(), "hpn_learner.decoder2.2.bias": bias})
    assert not changed(net, adapted(net))


def test_the_soft_mask_reaches_the_first_pair_of_anchors_alone() -> None:
    net = patnet("patnet+tfi[repair=soft_mask]")
    given = episodes(1, 2, SIDE)
    support, masks = rehearsed(net)
    with torch.no_grad():
        query = net.encode(given.query_images)
    plugin = as_a(TFI, net.learning_plugins[0])
    with learning(net, [plugin]):
        soft_mask_divergence(net, support, masks, query)().backward()
        reached = {key for key, p in net.named_parameters() if p.grad is not None}
    assert reached == {"reference_layer1.weight"}


def test_tfi_needs_anchors() -> None:
    with pytest.raises(CompositionError, match="offers no anchors for TFI"):
        type(mini("hsnet"))(mini("hsnet").backbone, [TFI()])


@pytest.mark.parametrize("name", ["apm-m", "apm-s", "tfi", "finetune"])
def test_the_card_and_the_code_have_the_same_defaults(name: str) -> None:
    part = next(p for p in parse(name).plugins if p.card.name == name)
    plain = METHODS.code(name, part.card.code)()
    for option in ("steps", "lr"):
        assert getattr(plain, option) == part.options[option]
    assert copy.deepcopy(plain) is not plain
