"""DR-Adapter: rectification, perturbation of both streams alike, the bank, the rounds."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.errors import UserError
from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.layer_norm import LayerNorm2d
from cdfss_bench.methods.blocks.style import (
    Rectifier,
    Style,
    StyleNoise,
    cycled,
    perturbed,
    rectified,
)
from cdfss_bench.methods.blocks.style_alignment import Perturbation, StyleTrace, alignment
from cdfss_bench.methods.hosts.dra import DRA

from ...support.contract import as_a, episodes, fresh, network, seeded
from ...support.draws import generator, normal

pytestmark = pytest.mark.usefixtures("one_thread")


def dra() -> DRA:
    return as_a(DRA, fresh("dra"))


def means_of_bank(net: DRA) -> list[Tensor]:
    return [style.mean for style in net.bank or ()]


def constant_change(mean: float, spread: float) -> Tensor:
    """Maps of two positions whose mean and unbiased variance are as asked for."""
    half = (spread / 2) ** 0.5
    return torch.tensor([mean - half, mean + half]).expand(2, 3, 1, 2)


def test_a_style_is_the_mean_and_the_unbiased_variance() -> None:
    style = Style.of(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    assert float(style.mean) == 3
    assert float(style.var) == pytest.approx(14 / 3)


def test_rectifying_scales_mean_and_contrast_by_what_the_adapter_gives() -> None:
    features = normal(2, 3, 8, 9) + 2
    found, style = rectified(features, lambda _: constant_change(0.25, 0.5))
    mean = features.mean((2, 3), keepdim=True)
    expected = 1.5 * (features - mean) + 1.25 * mean
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    before = Style.of(features)
    torch.testing.assert_close(style.mean, 1.25 * before.mean)
    torch.testing.assert_close(style.var, 1.5 * before.var)


def test_rectifying_lets_no_gradient_into_the_adapters_input() -> None:
    features = normal(2, 3, 8, 9).requires_grad_()
    seen: list[bool] = []

    def adapter(given: Tensor) -> Tensor:
        seen.append(given.requires_grad)
        return constant_change(0.0, 0.5)

    _, style = rectified(features, adapter)
    style.mean.sum().backward()
    assert seen == [False]
    assert features.grad is not None


def test_perturbing_moves_the_contrast_about_the_centre_and_the_mean() -> None:
    features, centre = normal(2, 3, 4, 4), normal(1, 3, 1, 1, seed=1)
    noise = StyleNoise.drawn(2, 3, 0.75, generator())
    expected = (1 + noise.alpha) * (features - centre) + (1 + noise.beta) * centre
    torch.testing.assert_close(perturbed(features, centre, noise), expected)


def test_the_cycle_perturbs_the_rectified_style_and_rectifies_it_again() -> None:
    features, noise = normal(2, 3, 8, 9) + 2, StyleNoise.drawn(2, 3, 0.5, generator())
    style = Style.of(features)
    shown: list[Tensor] = []

    def adapter(given: Tensor) -> Tensor:
        shown.append(given)
        return constant_change(0.25, 0.5)

    found = cycled(features, style, adapter, noise)
    torch.testing.assert_close(found.mean, 1.25 * (1 + noise.beta) * style.mean)
    torch.testing.assert_close(found.var, 1.5 * (1 + noise.alpha) * style.var)
    torch.testing.assert_close(Style.of(shown[0]).mean, (1 + noise.beta) * style.mean)


def test_the_norm_inside_an_adapter_is_over_channels() -> None:
    x = normal(2, 5, 3, 4)
    norm = LayerNorm2d(5)
    expected = torch.nn.functional.layer_norm(x.movedim(1, -1), (5,), eps=1e-6).movedim(-1, 1)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kernel", "dilation", "shrinks"), [(7, 2, 36), (3, 1, 6), (1, 4, 0)])
def test_an_adapter_shrinks_its_maps(kernel: int, dilation: int, shrinks: int) -> None:
    adapter = Rectifier(2, kernel, dilation)
    assert adapter.shrinks == shrinks
    assert adapter(normal(1, 2, 40, 41)).shape == (1, 2, 40 - shrinks, 41 - shrinks)


def test_the_noise_is_drawn_from_its_generator_contrast_first() -> None:
    noise = StyleNoise.drawn(2, 3, 0.5, generator(4))
    rng = generator(4)
    assert torch.equal(noise.alpha, 0.5 * torch.randn((2, 3, 1, 1), generator=rng))
    assert torch.equal(noise.beta, 0.5 * torch.randn((2, 3, 1, 1), generator=rng))


def test_alignment_is_the_mean_over_stages_of_four_mean_absolute_differences() -> None:
    def style(mean: float, var: float) -> Style:
        return Style(torch.full((2, 3, 1, 1), mean), torch.full((2, 3, 1, 1), var))

    near = StyleTrace(style(0.0, 0.0), style(1.0, 1.0), style(1.5, 1.0), style(1.0, 3.0))
    untouched = StyleTrace(style(0.0, 0.0))
    assert float(alignment([near, untouched])) == pytest.approx((0.5 + 0 + 0 + 2) / 2)


def test_a_query_and_its_supports_are_perturbed_alike() -> None:
    net = dra()
    given = episodes(2, 1, 64)
    supports = given.query_images.repeat_interleave(2, 0)
    noise = net.draw(2, generator(0))
    assert noise.local is not None
    found = net.restyled(given.query_images, supports, noise, shots=2)
    for shot in range(2):
        torch.testing.assert_close(found.support[shot::2], found.query, rtol=1e-4, atol=1e-4)
    for trace in found.traces:
        assert trace.first is not None
        torch.testing.assert_close(trace.first.mean[2::2], trace.first.mean[:2])


def test_without_perturbation_features_pass_untouched_in_training_and_are_rectified_at_test() -> (
    None
):
    net = dra()
    given = episodes(2, 1, 64)
    plain = build("ssp", backbone="resnet-mini", refine=False)
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("DR_")})
    with torch.no_grad():
        untouched = net.restyled(
            given.query_images, given.support_images[:, 0], Perturbation(None, None)
        )
        expected = torch.cat([plain.encode(i[None]).tensors[net.stage] for i in given.query_images])
        torch.testing.assert_close(untouched.query, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(net.encode(given.query_images).tensors[net.stage], expected)


def test_which_perturbations_act_is_drawn_each_with_one_half() -> None:
    net, rng = dra(), generator()
    drawn = [net.draw(1, rng) for _ in range(400)]
    local = sum(noise.local is not None for noise in drawn)
    shared = sum(noise.shared is not None for noise in drawn)
    both = sum(noise.local is not None and noise.shared is not None for noise in drawn)
    assert 165 < local < 235
    assert 165 < shared < 235
    assert 65 < both < 135


def test_the_shared_noise_lasts_for_a_round_and_the_local_noise_for_a_step() -> None:
    net = dra()

    def noises(number: int) -> tuple[list[Tensor], list[Tensor]]:
        net.begin_round(number, batch=2, rng=generator(number))
        drawn = [net.draw(2, generator(seed)) for seed in range(12)]
        local = [n.local[0].alpha for n in drawn if n.local is not None]
        shared = [n.shared[0].alpha for n in drawn if n.shared is not None]
        return local, shared

    local, shared = noises(1)
    assert len(shared) > 2
    assert all(torch.equal(alpha, shared[0]) for alpha in shared)
    assert not torch.equal(local[0], local[1])
    assert not torch.equal(noises(2)[1][0], shared[0])
    assert torch.equal(noises(1)[1][0], shared[0])


def test_the_first_round_only_fills_the_bank() -> None:
    net = dra()
    net.train()
    net.begin_round(0, batch=2, rng=generator())
    first, second = (episodes(2, 1, 64, seed=seed) for seed in range(2))
    assert not net.loss_terms(first.batch())
    assert not means_of_bank(net)  # the step is not over
    net.end_step()
    styles = means_of_bank(net)
    assert [style.shape for style in styles] == [(1, width, 1, 1) for width in net.channels]
    assert not any(mean.requires_grad for mean in styles)
    net.loss_terms(second.batch())
    net.end_step()
    both = means_of_bank(net)
    other = dra()
    other.begin_round(0, batch=2, rng=generator())
    other.train().loss_terms(second.batch())
    other.end_step()
    for before, now, after in zip(styles, means_of_bank(other), both, strict=True):
        torch.testing.assert_close(after, 0.99 * before + 0.01 * now)
    net.begin_round(1, batch=2, rng=generator())
    terms = net.loss_terms(first.batch())
    assert list(terms) == ["first", "query_self", "support_self", "style"]
    assert float(terms["style"].value.detach()) > 0


def test_the_bank_is_where_the_shared_perturbation_turns_about_and_what_it_comes_back_to() -> None:
    net = dra()
    given = episodes(2, 1, 64)
    pair = given.query_images, given.support_images[:, 0]
    noise = Perturbation(None, [StyleNoise.drawn(2, c, 1.0, generator()) for c in net.channels])
    of_batch = net.restyled(*pair, noise).traces
    for trace in of_batch:
        assert trace.target is not None
        torch.testing.assert_close(trace.target.mean[0], trace.seen.mean.mean(0))
    net.bank = [
        Style(torch.full((1, c, 1, 1), 3.0), torch.full((1, c, 1, 1), 2.0)) for c in net.channels
    ]
    of_bank = net.restyled(*pair, noise).traces
    for trace, other in zip(of_bank, of_batch, strict=True):
        assert trace.target is not None
        assert trace.first is not None
        assert other.first is not None
        assert set(trace.target.mean.flatten().tolist()) == {3.0}
        assert set(trace.target.var.flatten().tolist()) == {2.0}
        assert not torch.allclose(trace.first.mean, other.first.mean)


def test_the_bank_stands_in_no_checkpoint() -> None:
    net = dra()
    net.train().loss(episodes(2, 1, 64).batch())
    net.end_step()
    assert net.bank is not None
    assert list(net.state_dict()) == list(network("dra").state_dict())


def test_a_loss_without_a_generator_is_refused() -> None:
    given = episodes(1, 1, 64).batch()
    with pytest.raises(ValueError, match="give the training batch a generator"):
        dra().loss(type(given)(*[getattr(given, n) for n in given.__slots__ if n != "rng"]))


def test_images_that_are_too_small_are_refused_with_the_size_that_is_needed() -> None:
    net = build("dra", backbone="resnet-mini")
    with pytest.raises(UserError, match="need about 152 pixels a side"):
        net.predict(*episodes(1, 1, 128).inputs)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vgg16"])
def test_every_stage_before_the_last_has_an_adapter_on_other_backbones(backbone: str) -> None:
    net = as_a(DRA, seeded(build("dra[kernel=3,dilation=1]", backbone=backbone)))
    stages = net.backbone.stages
    assert net.channels == [stage.channels for stage in stages[:-1]]
    given = episodes(1, 1, 64)
    with torch.no_grad():
        assert net.predict(*given.inputs).shape == (1, 64, 64)
    net.train().loss(given.batch()).backward()
    assert all(bool(p.grad.any()) for p in net.adapters[-1].parameters() if p.grad is not None)
