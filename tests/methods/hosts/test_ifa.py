"""IFA: views of the support, adaptation to one episode at a time, and what it leaves alone."""

import colorsys

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.augment import IMAGE_MEAN, IMAGE_STD, from_hsv, to_hsv, view
from cdfss_bench.methods.hosts.ifa import IFA

from ...support.contract import Episodes, as_a, built, episodes, fresh, network, seeded, tensors
from ...support.draws import generator

pytestmark = pytest.mark.usefixtures("one_thread")


def ifa() -> IFA:
    return as_a(IFA, fresh("ifa"))


def adapted(net: IFA, given: Episodes, seed: int = 0) -> IFA:
    ready = net.adapt(given.support_images[0], given.support_masks[0], rng=generator(seed))
    assert isinstance(ready, IFA)
    return ready


def test_hue_saturation_and_value_are_those_of_the_standard_library() -> None:
    image = torch.rand((3, 5, 7), generator=generator())
    image[:, 0, 0] = 0.4  # grey
    image[:, 0, 1] = 0
    image[:, 0, 2] = 1
    found = torch.stack(to_hsv(image)).flatten(1).T.tolist()
    for (red, green, blue), hsv in zip(image.flatten(1).T.tolist(), found, strict=True):
        assert hsv == pytest.approx(colorsys.rgb_to_hsv(red, green, blue), abs=1e-5)
    torch.testing.assert_close(from_hsv(*to_hsv(image)), image)


def picture(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image whose three channels are its mask, and the mask."""
    given = episodes(1, 1, height, width)
    mask = given.query_masks[0]
    grey = 0.25 + 0.5 * mask.float().expand(3, -1, -1)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    return (grey - mean) / std, mask


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96)])
def test_a_views_image_and_mask_are_turned_alike(height: int, width: int) -> None:
    image, mask = picture(height, width)
    masks: list[Tensor] = []
    for seed in range(30):
        seen, truth = view(image, mask, generator(seed))
        assert seen.shape == image.shape
        assert truth.dtype == mask.dtype
        assert int(truth.sum()) == int(mask.sum())
        inside, outside = seen[:, truth == 1], seen[:, truth == 0]
        assert bool((inside.min(1).values > outside.max(1).values).all())
        masks.append(truth)
    assert len({tuple(truth.flatten().tolist()) for truth in masks}) == (
        8 if height == width else 4
    )


def test_a_view_is_recoloured_within_the_range_of_an_image() -> None:
    given = episodes(1, 1, 64)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    seen, _ = view(given.query_images[0], given.query_masks[0], generator())
    unnormalised = seen * std + mean
    assert float(unnormalised.min()) > -1e-5
    assert float(unnormalised.max()) < 1 + 1e-5
    again, _ = view(given.query_images[0], given.query_masks[0], generator())
    other, _ = view(given.query_images[0], given.query_masks[0], generator(1))
    assert torch.equal(again, seen)
    assert not torch.equal(other, seen)


def test_adaptation_changes_the_prediction_and_is_drawn_from_its_generator() -> None:
    net, given = ifa(), episodes(1, 2, 64)
    with torch.no_grad():
        plain = net.logits(*given.inputs)
        found = adapted(net, given).logits(*given.inputs)
        assert not torch.equal(found, plain)
        assert torch.equal(adapted(net, given).logits(*given.inputs), found)
        assert not torch.equal(adapted(net, given, seed=1).logits(*given.inputs), found)
        assert torch.equal(net.logits(*given.inputs), plain)


def test_adaptation_tunes_convolutions_behind_the_second_stage_and_nothing_else() -> None:
    net = ifa()
    ready = adapted(net, episodes(1, 1, 64))
    before, after = tensors(net), tensors(ready)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    for key in changed:
        assert key.startswith(("backbone.layer2.", "backbone.layer3."))
        assert before[key].ndim == 4
    behind = {
        key
        for key, value in before.items()
        if key.startswith(("backbone.layer2.", "backbone.layer3.")) and value.ndim == 4
    }
    assert changed == behind
    assert not any(p.requires_grad for p in ready.parameters())
    assert all(p.requires_grad for p in net.parameters())
    assert not ready.training


def test_adaptation_lowers_the_error_on_the_support() -> None:
    net, given = ifa(), episodes(1, 2, 64)
    net.steps, net.lr = 15, 5e-3
    images, masks = given.support_images[0], given.support_masks[:1]

    def error(of: IFA) -> float:
        with torch.no_grad():
            features = of.walked(images, last_taps=[of.stage]).tensors[of.stage]
            terms = of.tuning_terms(features[:1], features, masks[:, 0], masks)
        return float(sum(term.weight * term.value for term in terms.values()))

    assert error(adapted(net, given)) < 0.9 * error(net)


def test_no_steps_leave_the_source_model() -> None:
    net = seeded(build("ifa[steps=0]", backbone="resnet-mini"))
    given = episodes(1, 1, 64)
    assert net.adapt(given.support_images[0], given.support_masks[0], rng=generator()) is net
    assert not net.adapts_encoder
    assert network("ifa").adapts_encoder


def test_adaptation_without_a_generator_is_refused() -> None:
    given = episodes(1, 1, 64)
    with pytest.raises(ValueError, match="give adapt a generator"):
        ifa().adapt(given.support_images[0], given.support_masks[0])


def test_before_adaptation_it_is_ssp() -> None:
    ssp = built("ssp")
    ssp.load_state_dict(network("ifa").state_dict())
    given = episodes(2, 2, 64)
    with torch.no_grad():
        assert torch.equal(ssp.logits(*given.inputs), network("ifa").logits(*given.inputs))
