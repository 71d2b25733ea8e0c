"""LEM and LCM: when they act, on what, and what they compute."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods import build
from cdfss_bench.methods.blocks.voting import foreground, upsampled, vote
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.core.plugin_api import Role, ScorePlugin
from cdfss_bench.methods.hosts.ssp import SSP
from cdfss_bench.methods.plugins.lcm import LCM
from cdfss_bench.methods.plugins.lcm_shift import LCMShift
from cdfss_bench.methods.plugins.lem import LEM, swap_amplitude

from ...support.contract import Episodes, episodes, fresh, network, seeded
from ...support.draws import generator, normal

pytestmark = pytest.mark.usefixtures("one_thread")


def activations(*shape: int, seed: int = 0) -> Tensor:
    return normal(*shape, seed=seed).clamp(min=0)


# -- LEM: when it acts -----------------------------------------------------------------------------


def acted(lem: LEM, *, index: int = 0, role: Role | None = Role.SUPPORT) -> bool:
    features = activations(2, 4, 6, 6)
    edited = lem.edit(index, features, role=role, rng=generator())
    if edited is features:
        return False
    assert edited.shape == features.shape
    assert not torch.equal(edited, features)
    return True


def test_lem_acts_in_training_only() -> None:
    lem = LEM()
    assert acted(lem.train())
    assert not acted(lem.eval())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_lem_acts_on_its_stage_only(stage: int) -> None:
    lem = LEM(stage=stage).train()
    assert [acted(lem, index=index) for index in range(4)] == [i == stage - 1 for i in range(4)]


@pytest.mark.parametrize(
    ("on", "roles"), [("support", {Role.SUPPORT}), ("both", {Role.SUPPORT, Role.QUERY})]
)
def test_lem_acts_on_the_support_or_on_both_and_never_without_a_role(
    on: str, roles: set[Role]
) -> None:
    lem = LEM(on=on).train()
    assert {role for role in Role if acted(lem, role=role)} == roles
    assert not acted(lem, role=None)


@pytest.mark.parametrize(("prob", "least", "most"), [(0.0, 0, 0), (0.3, 0.24, 0.36), (1.0, 1, 1)])
def test_lem_acts_as_often_as_its_probability_says(prob: float, least: float, most: float) -> None:
    lem, features, rng = LEM(prob=prob).train(), activations(1, 2, 4, 4), generator()
    calls = [lem.edit(0, features, role=Role.SUPPORT, rng=rng) is not features for _ in range(600)]
    assert least <= sum(calls) / len(calls) <= most


def test_whether_lem_acts_is_drawn_from_the_steps_generator() -> None:
    lem = LEM(prob=0.5).train()
    features = activations(1, 2, 4, 4)

    def acts(seed: int) -> list[bool]:
        rng = generator(seed)
        return [
            lem.edit(0, features, role=Role.SUPPORT, rng=rng) is not features for _ in range(40)
        ]

    assert acts(1) == acts(1)
    assert acts(1) != acts(2)


def test_lem_changes_no_feature_of_encode_even_while_training() -> None:
    net = fresh("ssp+lem").train()
    images = episodes(2, 1, 64).query_images
    with torch.no_grad():
        for key, tensor in net.encode(images).tensors.items():
            assert torch.equal(tensor, network("ssp").encode(images).tensors[key])


def trained_support_and_query(net: Method, given: Episodes) -> list[Tensor]:
    assert isinstance(net, SSP)
    images = (given.support_images.flatten(0, 1), Role.SUPPORT), (given.query_images, Role.QUERY)
    return [
        net.walked(x, last_taps=[net.stage], role=role, rng=generator()).tensors[net.stage]
        for x, role in images
    ]


@pytest.mark.parametrize(("options", "query_too"), [("", False), ("[on=both]", True)])
def test_lem_reaches_the_features_that_ssp_trains_with(options: str, query_too: bool) -> None:
    plain = fresh("ssp").train()
    with_lem = seeded(build(f"ssp+lem{options}", backbone="resnet-mini")).train()
    given = episodes(2, 2, 64)
    with torch.no_grad():
        support, query = trained_support_and_query(plain, given)
        changed_support, changed_query = trained_support_and_query(with_lem, given)
    assert not torch.equal(changed_support, support)
    assert torch.equal(changed_query, query) is not query_too


def test_lem_changes_the_loss_in_training_and_the_steps_generator_decides_how() -> None:
    plain, with_lem = fresh("ssp").train(), fresh("ssp+lem").train()
    given = episodes(2, 2, 64)
    loss = float(with_lem.loss(given.batch(0)).detach())
    assert loss != float(plain.loss(given.batch(0)).detach())
    assert loss == float(with_lem.loss(given.batch(0)).detach())
    assert loss != float(with_lem.loss(given.batch(1)).detach())
    evaluated = float(with_lem.eval().loss(given.batch(0)).detach())
    assert evaluated == float(plain.loss(given.batch(0)).detach())


def test_lem_leaves_prediction_alone() -> None:
    given = episodes(2, 2, 64)
    with torch.no_grad():
        assert torch.equal(
            network("ssp+lem").logits(*given.inputs), network("ssp").logits(*given.inputs)
        )


def test_gradients_through_lem_are_finite_even_for_dead_channels() -> None:
    lem = LEM(rescale="std").train()
    features = activations(2, 4, 7, 6)
    features[:, 1] = 0
    features.requires_grad_()
    lem.perturb(features, lem.draw(4, generator())).square().sum().backward()
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())
    assert bool(features.grad.any())


# -- LEM: what it computes -------------------------------------------------------------------------

SIZES = [(6, 6), (7, 7), (6, 7), (7, 6), (1, 5), (20, 20)]


def by_definition(features: Tensor, theta: Tensor, *, groups: int = 1) -> Tensor:
    """`Re IFFT(|FFT(F * Theta)| exp(i angle FFT(F)))` over full complex spectra in float64."""
    wide = features.double()
    mixed = F.conv2d(wide, theta.double(), padding=theta.shape[-1] // 2, groups=groups)
    amplitude = torch.fft.fft2(mixed).abs()
    phase = torch.fft.fft2(wide).angle()
    spectrum = torch.polar(amplitude, phase)
    # Both spectra are Hermitian, so that nothing is lost with the imaginary part.
    inverse = torch.fft.ifft2(spectrum)
    assert float(inverse.imag.abs().max()) < 1e-9 * max(1.0, float(inverse.real.abs().max()))
    return inverse.real


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("conv", ["full", "depthwise"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_lem_is_the_amplitude_of_the_convolution_with_the_phase_of_the_feature(
    height: int, width: int, conv: str, kernel: int
) -> None:
    lem = LEM(conv=conv, kernel=kernel)
    features = activations(2, 4, height, width).double()
    theta = lem.draw(4, generator()).double()
    expected = by_definition(features, theta, groups=4 if conv == "depthwise" else 1)
    torch.testing.assert_close(lem.perturb(features, theta), expected, rtol=0, atol=1e-9)
    single = lem.perturb(features.float(), theta.float())
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


def test_lem_agrees_with_the_definition_where_a_channel_is_dead() -> None:
    lem = LEM()
    features = activations(2, 4, 6, 7)
    features[:, 2] = 0
    theta = lem.draw(4, generator())
    found = lem.perturb(features, theta)
    torch.testing.assert_close(found.double(), by_definition(features, theta), rtol=0, atol=1e-5)
    assert bool(found[:, 2].any())


def test_a_dead_channel_stays_dead_under_a_depthwise_kernel() -> None:
    lem = LEM(conv="depthwise")
    features = activations(1, 3, 6, 6)
    features[:, 1] = 0
    found = lem.perturb(features, lem.draw(3, generator()))
    assert not bool(found[:, 1].any())
    assert bool(found[:, 0].any())


def test_swapping_a_features_own_amplitude_in_changes_nothing() -> None:
    for height, width in SIZES:
        features = normal(2, 3, height, width)
        found = swap_amplitude(features, torch.fft.rfft2(features).abs())
        torch.testing.assert_close(found, features, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("conv", "shape"), [("full", (5, 5, 3, 3)), ("depthwise", (5, 1, 3, 3))], ids=str
)
def test_the_kernel_mixes_channels_or_does_not(conv: str, shape: tuple[int, ...]) -> None:
    assert LEM(conv=conv).draw(5, generator()).shape == shape


def test_the_kernel_has_the_side_and_the_deviation_that_were_asked_for() -> None:
    theta = LEM(sigma=0.3, kernel=5).draw(32, generator())
    assert theta.shape == (32, 32, 5, 5)
    assert float(theta.std()) == pytest.approx(0.3, rel=0.02)
    assert float(theta.mean()) == pytest.approx(0, abs=0.01)


def test_a_full_kernel_lets_one_channel_into_another_and_a_depthwise_one_does_not() -> None:
    features = activations(1, 3, 6, 6)
    other = features.clone()
    other[:, 0] *= 2
    for conv, touched in (("full", True), ("depthwise", False)):
        lem = LEM(conv=conv)
        theta = lem.draw(3, generator())
        change = lem.perturb(other, theta) - lem.perturb(features, theta)
        assert bool((change[:, 1:].abs() > 1e-3).any()) == touched


def test_the_same_generator_draws_the_same_kernel() -> None:
    lem = LEM()
    assert torch.equal(lem.draw(4, generator(7)), lem.draw(4, generator(7)))
    rng = generator(7)
    assert not torch.equal(lem.draw(4, rng), lem.draw(4, rng))


def test_one_kernel_is_shared_by_the_batch_of_a_call() -> None:
    lem = LEM().train()
    features = activations(1, 4, 6, 6).repeat(3, 1, 1, 1)
    found = lem.edit(0, features, role=Role.SUPPORT, rng=generator())
    torch.testing.assert_close(found[1:], found[:1].expand(2, -1, -1, -1))


def test_rescaling_keeps_the_standard_deviation_of_each_sample() -> None:
    features = activations(3, 6, 8, 8) * torch.tensor([1.0, 5.0, 0.2])[:, None, None, None]
    theta = LEM().draw(6, generator())
    found = LEM(rescale="std").perturb(features, theta)
    torch.testing.assert_close(found.std((1, 2, 3)), features.std((1, 2, 3)))
    literal = LEM().perturb(features, theta)
    growth = literal.std((1, 2, 3)) / features.std((1, 2, 3))
    assert float((growth - 1).abs().min()) > 0.05
    torch.testing.assert_close(found, literal / growth[:, None, None, None])


# -- LCM -------------------------------------------------------------------------------------------


def corrected(lcm: LCM, maps: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
    """Of one map per episode, [B, 2, h, w]."""
    return lcm.calibrate(maps[:, None], low, size)[:, 0]


def test_a_weight_of_zero_is_the_identity() -> None:
    maps, low = normal(2, 3, 2, 5, 7), activations(2, 4, 10, 14)
    assert torch.equal(LCM(w=0, patch=8).calibrate(maps, low, (40, 56)), maps)


def test_only_the_foreground_score_changes() -> None:
    maps, low = normal(2, 3, 2, 5, 7), activations(2, 4, 10, 14)
    found = LCM(patch=8).calibrate(maps, low, (40, 56))
    assert torch.equal(found[:, :, 0], maps[:, :, 0])
    assert not torch.equal(found[:, :, 1], maps[:, :, 1])


@pytest.mark.parametrize("k", [1, 3, 6])
def test_anchors_lie_in_the_predicted_foreground_where_there_is_enough_of_it(k: int) -> None:
    maps = normal(4, 2, 20, 20)
    maps[:, 1, 4:12, 8:16] += 30
    anchors = LCM(k=k).anchors(maps, (5, 5))
    inside = {y * 5 + x for y in (1, 2) for x in (2, 3)}
    for row in anchors.tolist():
        assert len(set(row)) == k
        assert set(row) <= inside if k <= 4 else inside <= set(row)


def test_anchors_are_the_patches_with_the_largest_mean_difference() -> None:
    maps = normal(3, 2, 12, 18)
    confidence = (maps[:, 1] - maps[:, 0]).reshape(3, 4, 3, 6, 3).mean((2, 4)).flatten(1)
    found = LCM(k=5).anchors(maps, (4, 6))
    for row, chosen in zip(confidence, found, strict=True):
        assert chosen.tolist() == sorted(range(24), key=lambda i: -float(row[i]))[:5]


def test_a_tie_takes_the_patch_of_lowest_index() -> None:
    level = torch.zeros(1, 2, 12, 12)
    assert LCM(k=3).anchors(level, (6, 6)).tolist() == [[0, 1, 2]]
    level[:, 1, 4:6, 6:8] = 1
    level[:, 1, 10:12, 2:4] = 1
    assert LCM(k=4).anchors(level, (6, 6)).tolist() == [[15, 31, 0, 1]]


def test_more_anchors_than_patches_are_all_patches() -> None:
    maps, low = normal(1, 2, 4, 4), activations(1, 3, 4, 4)
    assert LCM(k=9).anchors(maps, (2, 2)).shape == (1, 4)
    assert corrected(LCM(k=9, patch=8), maps, low, (16, 16)).shape == maps.shape


@pytest.mark.parametrize("descriptor", ["mean", "flatten"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_the_scale_of_the_low_level_feature_does_not_matter(
    descriptor: str, center: bool, factor: float
) -> None:
    lcm = LCM(patch=8, descriptor=descriptor, center=center)
    maps, low = normal(2, 2, 8, 8), activations(2, 4, 16, 16)
    found = corrected(lcm, maps, low * factor, (64, 64))
    torch.testing.assert_close(found, corrected(lcm, maps, low, (64, 64)))


def test_centring_takes_away_what_all_patches_share() -> None:
    maps, low = normal(2, 2, 8, 8), activations(2, 4, 8, 8)
    shifted = low + torch.tensor([3.0, 0.0, 9.0, 1.0])[:, None, None]
    centred = LCM(patch=8, center=True)
    torch.testing.assert_close(
        corrected(centred, maps, shifted, (64, 64)),
        corrected(centred, maps, low, (64, 64)),
        rtol=0,
        atol=1e-4,
    )
    plain = LCM(patch=8)
    change = corrected(plain, maps, shifted, (64, 64)) - corrected(plain, maps, low, (64, 64))
    assert float(change.abs().max()) > 0.1


def test_the_mean_as_beta_centres_the_correction() -> None:
    maps, low = normal(3, 2, 8, 8), activations(3, 4, 16, 16)
    correction = (corrected(LCM(beta="mean", patch=8), maps, low, (64, 64)) - maps)[:, 1]
    assert float(correction.abs().max()) > 0.1
    torch.testing.assert_close(correction.mean((1, 2)), torch.zeros(3), rtol=0, atol=1e-6)
    literal = (corrected(LCM(patch=8), maps, low, (64, 64)) - maps)[:, 1]
    assert float(literal.mean((1, 2)).abs().min()) > 1e-3


@pytest.mark.parametrize("center", [False, True])
def test_lcm_is_its_shift_and_what_is_left_of_it_with_the_mean_as_beta(center: bool) -> None:
    maps, low = normal(3, 2, 10, 12), activations(3, 4, 16, 16)

    def change(lcm: LCM) -> Tensor:
        return (corrected(lcm, maps, low, (64, 64)) - maps)[:, 1]

    shift = change(LCMShift(patch=8, center=center))
    rest = change(LCM(patch=8, center=center, beta="mean"))
    literal = change(LCM(patch=8, center=center))
    torch.testing.assert_close(shift + rest, literal, rtol=0, atol=1e-5)
    torch.testing.assert_close(shift, shift[:, :1, :1].expand_as(shift), rtol=0, atol=1e-5)
    assert float(shift.abs().min()) > 1e-3
    assert len(set(shift[:, 0, 0].tolist())) == 3


def test_the_activation_comes_before_the_cosine() -> None:
    maps, low = normal(2, 2, 8, 8), normal(2, 4, 16, 16)
    rectified = LCM(patch=8, activation="relu")
    found = corrected(rectified, maps, low, (64, 64))
    assert torch.equal(found, corrected(LCM(patch=8), maps, low.relu(), (64, 64)))
    assert not torch.equal(found, corrected(LCM(patch=8), maps, low, (64, 64)))


def test_the_mean_and_the_cells_describe_a_patch_of_one_cell_alike() -> None:
    low = activations(2, 4, 8, 6)
    mean = LCM(descriptor="mean").descriptors(low, (8, 6))
    torch.testing.assert_close(LCM(descriptor="flatten").descriptors(low, (8, 6)), mean)
    torch.testing.assert_close(mean, F.normalize(low.flatten(2), dim=1))


def test_flattened_descriptors_hold_every_cell_of_their_patch() -> None:
    low = activations(1, 2, 4, 6)
    found = LCM(descriptor="flatten").descriptors(low, (2, 3))
    assert found.shape == (1, 2 * 4, 6)
    patch = low[0, :, 2:4, 4:6].reshape(-1)
    torch.testing.assert_close(found[0, :, 5], patch / patch.norm())


def test_descriptors_have_length_one() -> None:
    for descriptor in ("mean", "flatten"):
        found = LCM(descriptor=descriptor).descriptors(activations(2, 4, 12, 12), (5, 5))
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 25))


def test_an_episode_is_corrected_as_if_it_were_alone() -> None:
    maps, low = normal(3, 2, 2, 6, 6), activations(3, 4, 12, 12)
    lcm = LCM(patch=8)
    together = lcm.calibrate(maps, low, (48, 48))
    for i in range(3):
        alone = lcm.calibrate(maps[i : i + 1], low[i : i + 1], (48, 48))
        assert torch.equal(alone[0], together[i])


def test_each_shots_map_is_corrected_on_its_own() -> None:
    maps, low = normal(2, 3, 2, 6, 6), activations(2, 4, 12, 12)
    lcm = LCM(patch=8)
    together = lcm.calibrate(maps, low, (48, 48))
    for shot in range(3):
        alone = lcm.calibrate(maps[:, shot : shot + 1], low, (48, 48))
        torch.testing.assert_close(alone[:, 0], together[:, shot])


def test_a_tiny_example_by_hand() -> None:
    """Four patches of one cell: directions (1,0), (0,1), (0.6,0.8), (0,0.5).

    Scores S_1 - S_0 are 1, 4, 2, 0, so the two anchors are patches 1 and 2. Their cosines to the
    four are (0, 1, 0.8, 1) and (0.6, 0.8, 1, 0.8); with beta 0.7 the sums minus 2 beta are
    (-0.8, 0.4, 0.4, 0.4), times w = 0.5.
    """
    maps = torch.tensor([[[[1.0, 0.0], [3.0, 5.0]], [[2.0, 4.0], [5.0, 5.0]]]])
    low = torch.tensor([[[[1.0, 0.0], [0.6, 0.0]], [[0.0, 1.0], [0.8, 0.5]]]])
    found = corrected(LCM(k=2, w=0.5, beta=0.7, patch=4), maps, low, (8, 8))
    expected = torch.tensor([[[[1.0, 0.0], [3.0, 5.0]], [[1.6, 4.2], [5.2, 5.2]]]])
    torch.testing.assert_close(found, expected)


def test_the_grid_has_a_patch_for_every_so_many_pixels_of_each_side() -> None:
    class Seen(LCM):
        grid: tuple[int, int] = (0, 0)

        def similarities(self, maps: Tensor, low: Tensor, grid: tuple[int, int]) -> Tensor:
            self.grid = grid
            return super().similarities(maps, low, grid)

    for size, patch, expected in (
        ((400, 400), 16, (25, 25)),
        ((400, 200), 16, (25, 12)),
        ((64, 96), 8, (8, 12)),
        ((8, 8), 16, (1, 1)),
    ):
        lcm = Seen(patch=patch)
        corrected(lcm, normal(1, 2, 8, 8), activations(1, 3, 16, 16), size)
        assert lcm.grid == expected


def plugin_of(net: Method) -> ScorePlugin:
    (plugin,) = net.score_plugins
    return plugin


def plain_and_corrected(host: str) -> tuple[Method, Method]:
    return network(host), network(f"{host}+lcm")


def parts(net: Method, given: Episodes) -> tuple[Tensor, Tensor]:
    """Matched logits, and the stem's output of the queries."""
    with torch.no_grad():
        query = net.encode(given.query_images)
        support = net.encode(given.support_images.flatten(0, 1))
        low = query.tensors.get("output:stem", torch.empty(0))
        return net.match(query, support, given.support_masks), low


@pytest.mark.parametrize("host", ["hsnet", "prototype", "ssp"])
def test_a_host_hands_lcm_its_map_and_the_querys_stem(host: str) -> None:
    plain, with_lcm = plain_and_corrected(host)
    given = episodes(2, 2, 64)
    maps, _ = parts(plain, given)
    found, low = parts(with_lcm, given)
    with torch.no_grad():
        stem = torch.cat([with_lcm.backbone(image[None])[0] for image in given.query_images])
    assert torch.equal(low, stem)
    expected = plugin_of(with_lcm).calibrate(maps, stem, given.size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float((found - maps).abs().max()) > 1e-2


def test_hsnet_votes_on_maps_that_were_corrected_shot_by_shot() -> None:
    plain, with_lcm = plain_and_corrected("hsnet")
    given = episodes(2, 5, 64)
    maps, _ = parts(plain, given)
    found, low = parts(with_lcm, given)
    assert found.shape[1] == 5
    lcm = plugin_of(with_lcm)
    shots: Sequence[Tensor] = [
        lcm.calibrate(maps[:, shot : shot + 1], low, given.size) for shot in range(5)
    ]
    torch.testing.assert_close(found, torch.cat(list(shots), dim=1), rtol=0, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(
            with_lcm.predict(*given.inputs), vote(foreground(upsampled(found, given.size)))
        )


def test_ssp_corrects_once_after_the_prototypes_were_averaged() -> None:
    class Counting(LCM):
        calls: int = 0

        def calibrate(self, logits: Tensor, low: Tensor, size: tuple[int, int]) -> Tensor:
            self.calls += 1
            assert logits.shape[:3] == (1, 1, 2)
            return super().calibrate(logits, low, size)

    net = fresh("ssp+lcm")
    lcm = Counting()
    lcm.fit(net.backbone)
    net.score_plugins[:] = [lcm]
    given = episodes(1, 5, 64)
    found, low = parts(net, given)
    assert lcm.calls == 1
    maps, _ = parts(network("ssp"), given)
    torch.testing.assert_close(found, LCM().calibrate(maps, low, given.size), rtol=0, atol=1e-5)


def test_lcm_reads_the_stage_that_was_asked_for() -> None:
    net = build("ssp+lcm[stage=2]", backbone="resnet-mini")
    rows = net.encode(episodes(1, 1, 64).query_images)
    kept = {key for key in rows.tensors if key.startswith("output:")}
    assert kept == {"output:layer1"}
    assert rows.tensors["output:layer1"].shape[1] == net.backbone.numbered(2).channels


def test_lcm_plays_no_part_in_training() -> None:
    given = episodes(2, 2, 64)
    plain, with_lcm = (fresh(name).train().loss(given.batch()) for name in ("ssp", "ssp+lcm"))
    assert torch.equal(plain, with_lcm)
