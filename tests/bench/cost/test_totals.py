"""The counter against totals that are derived by hand, and those against the printed ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cdfss_bench.bench.cost.flops import operations_of
from cdfss_bench.bench.cost.profile import cost_of, probe
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.published_work import published_work
from cdfss_bench.methods.hosts.ssp import SSP
from cdfss_bench.methods.plugins.lcm import LCM
from cdfss_bench.methods.plugins.lcm_shift import LCMShift

from ...support.contract import as_a
from ...support.hand_counts import Pyramid, resnet50, resnet_mini

REAL = Pyramid((50, 25, 13), (512, 1024, 2048), (4, 6, 3), (16, 64, 128))
MINI = Pyramid((16, 8, 4), (48, 96, 128), (2, 2, 2), (8, 16, 32))


class Counted(NamedTuple):
    """What the counter says of one image and of one match, and what the published code would."""

    encode: int
    match: int
    published: int


def counted(name: str, shots: int, size: int) -> Counted:
    """On tensors without values: nothing is computed, and no network needs memory."""
    with torch.no_grad(), FakeTensorMode():
        method = build(name, backbone="resnet50")
        query, supports, masks = probe(shots, size, "cpu")
        encode = operations_of(lambda: method.encode(query)).flops
        rows, shown = method.encode(query), method.encode(supports[0])
        match = operations_of(lambda: method.match(rows, shown, masks)).flops
        work = published_work(method, rows, shown, masks[0])
        assert work is not None
        assert work.shot_by_shot
        ours = operations_of(work.replaced).flops if work.replaced else 0
    one = 2 * encode + match // shots - ours + work.operations
    return Counted(encode, match, shots * one)


@pytest.mark.parametrize("shots", [1, 5])
def test_hsnet_on_a_real_resnet50(shots: int) -> None:
    image = resnet50(400)
    hsnet = counted("hsnet", shots, 400)
    one_shot = REAL.correlation + REAL.learner
    assert hsnet.encode == image
    assert hsnet.match == shots * one_shot
    assert hsnet.published == shots * (2 * image + one_shot)


def test_patnet_on_a_real_resnet50() -> None:
    image = resnet50(400)
    patnet = counted("patnet", 1, 400)
    assert patnet.encode == image
    assert patnet.match == sum(REAL.two_coordinates) + REAL.learner
    assert patnet.published == 2 * image + REAL.transformation + REAL.correlation + REAL.learner


def test_apm_and_acpa_on_a_real_resnet50() -> None:
    with torch.no_grad(), FakeTensorMode():
        method = build("hsnet+apm-m[steps=0]+acpa[steps=0]", backbone="resnet50")
        query, supports, masks = probe(1, 400, "cpu")
        rows, shown = method.encode(query), method.encode(supports[0])
        found = operations_of(lambda: method.match(rows, shown, masks))
    # Three taps of both images: 2048 channels to 8 and back; there and back 13 x 13 transforms.
    attention = 2 * 3 * 2 * (2048 * 8 + 8 * 2048)
    assert found.flops == REAL.correlation + REAL.learner + attention
    assert found.fft == 2 * 3 * 2 * round(2048 * 5 * 169 * math.log2(169))
    assert round((2 * resnet50(400) + found.flops) / 1e9, 3) == 119.066


def test_the_printed_figures_of_hsnet_and_patnet() -> None:
    giga = [
        resnet50(400), REAL.correlation, *(REAL.squeeze(stage) for stage in (2, 1, 0)),
        REAL.mixing_and_decoding, REAL.learner, REAL.transformation,
    ]  # fmt: skip
    assert [round(flops / 1e9, 3) for flops in giga] == [
        26.434, 30.751, 0.313, 1.400, 9.749, 23.985, 35.447, 34.800,
    ]  # fmt: skip
    hsnet = 2 * resnet50(400) + REAL.correlation + REAL.learner
    patnet = hsnet + REAL.transformation
    assert [round(flops / 1e9, 3) for flops in (hsnet, patnet)] == [119.065, 153.865]
    assert [round(5 * flops / 1e9, 1) for flops in (hsnet, patnet)] == [595.3, 769.3]
    # The query's features are kept between shots: what is saved is four of ten images.
    assert round((5 * hsnet - 4 * resnet50(400)) / 1e9, 1) == 489.6


@pytest.mark.parametrize("shots", [1, 3])
def test_the_record_of_the_mini_suites_hsnet_and_patnet(shots: int) -> None:
    image = resnet_mini(128)

    def record(name: str) -> tuple[int, int | None, int | None, int | None]:
        network = seeded(build(parse(name).in_miniature(), backbone="resnet-mini")).eval()
        cost = cost_of(network, shots=shots, size=128, device="cpu")
        return cost.flops_episode, cost.flops_query, cost.flops_support, cost.flops_published

    one_shot = MINI.correlation + MINI.learner
    assert record("hsnet") == (
        (1 + shots) * image + shots * one_shot,
        image + shots * one_shot,
        image,
        shots * (2 * image + one_shot),
    )
    support, query = MINI.two_coordinates
    assert record("patnet") == (
        (1 + shots) * image + shots * (support + query + MINI.learner),
        image + shots * (query + MINI.learner),
        image + support,
        shots * (2 * image + MINI.transformation + one_shot),
    )


# -- SSP, whose work depends on how many positions are confident ------------------------------


def confident(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground above 0.7 and background above 0.6, or the twelve most probable: bool [N]."""
    chosen: list[Tensor] = []
    for channel, threshold in ((1, 0.7), (0, 0.6)):
        probability = logits.flatten(2).softmax(1)[0, channel]
        above = probability > threshold
        if not above.any():
            above[probability.topk(12).indices] = True
        chosen.append(above)
    return chosen[0], chosen[1]


class Chosen(NamedTuple):
    """Positions in the map, channels, and per round the chosen ones, the columns computed,
    and the chosen background ones."""

    positions: int
    channels: int
    chosen: list[int]
    columns: list[int]
    backs: Sequence[int] = ()

    @property
    def published(self) -> int:
        """Two products with all chosen positions in every round."""
        return sum(2 * 2 * self.channels * self.positions * number for number in self.chosen)

    @property
    def ours(self) -> int:
        """Two products and a denominator with the columns that are new, and two means a round."""
        means = 2 * 2 * self.channels * self.positions * len(self.columns)
        return means + sum(
            2 * self.positions * number * (2 * self.channels + 1) for number in self.columns
        )

    @property
    def plain(self) -> int:
        """Two products with all chosen background positions a round; the denominator is a sum."""
        means = 2 * 2 * self.channels * self.positions * len(self.backs)
        return means + sum(2 * 2 * self.channels * self.positions * n for n in self.backs)


def chosen(method: SSP, features: Tensor, fore: Tensor, back: Tensor) -> Chosen:
    """By the definition, from the scores of both rounds."""

    def cosine(prototype: Tensor) -> Tensor:
        unit = features / features.norm(dim=1, keepdim=True)
        return (unit * (prototype / prototype.norm())[..., None, None]).sum(1)

    first = 10 * torch.stack((cosine(back), cosine(fore)), 1)
    rounds = [confident(first)]
    if method.refine:
        rounds.append(confident(method.self_supported(features, fore, back).first))
    before = torch.zeros_like(rounds[0][1])
    columns: list[int] = []
    for _, now in rounds:
        columns.append(min(int((now != before).sum()), int(now.sum())))
        before = now
    numbers = [int(one.sum()) + int(other.sum()) for one, other in rounds]
    backs = [int(now.sum()) for _, now in rounds]
    return Chosen(first[0, 0].numel(), features.shape[1], numbers, columns, backs)


def two_kinds(channels: int, side: int, distance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features [1, C, h, w] of which a half is like one prototype [1, C], a half like another."""
    rng = torch.Generator().manual_seed(3)
    fore, back = torch.randn((2, 1, channels), generator=rng)
    halves = torch.where(torch.arange(side) < side // 2, fore[..., None], back[..., None])
    noise = torch.randn((1, channels, side, side), generator=rng)
    return distance * halves[..., None, :] + noise, fore, back


@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize("distance", [0.0, 0.06, 0.15, 1.0])
def test_ssp_on_a_real_resnet50(distance: float, refine: bool) -> None:
    with torch.no_grad(), FakeTensorMode():
        real = build("ssp", backbone="resnet50-deep", refine=refine)
        images = torch.empty((1, 3, 400, 400))
        encode = operations_of(lambda: real.encode(images)).flops
    # It has no parameters beside its backbone's, so any backbone tells what matching computes.
    method = as_a(SSP, build("ssp", backbone="resnet-mini", refine=refine).optimized_for("cuda"))
    with torch.no_grad():
        features, fore, back = two_kinds(1024, 50, distance)
        found = chosen(method, features, fore, back)
        query = FeatureBatch((400, 400), {"layer3": features})
        state = FeatureBatch((400, 400), {"fore": fore, "back": back})
        match = operations_of(lambda: method.match_states(query, [state], shots=1)).flops
    assert encode == resnet50(400, deep=True, layers=3, stride=8)
    assert match == found.ours


@pytest.mark.parametrize("shots", [1, 5])
def test_the_record_of_the_mini_suites_ssp(shots: int) -> None:
    method = as_a(SSP, seeded(build("ssp", backbone="resnet-mini")).eval())
    cost = cost_of(method, shots=shots, size=128, device="cpu")
    query, supports, masks = probe(shots, 128, "cpu")
    with torch.no_grad():
        states = method.encode_support(method.encode(supports[0]), masks[0])
        fore, back = method.averaged(states, shots=shots)
        features = method.encode(query).tensors["layer3"]
        found = chosen(method, features, fore, back)
    images = (1 + shots) * resnet_mini(128, layers=3, stride=8)
    assert cost.flops_episode == images + found.ours
    assert cost.flops_published == images + found.published


def test_the_printed_figures_of_ssp() -> None:
    image = resnet50(400, deep=True, layers=3, stride=8)

    def giga(shots: int, *rounds: int) -> float:
        """All rounds' choices: 24 where nothing is confident, 2500 where everything is."""
        work = Chosen(2500, 1024, list(rounds), []).published
        return round(((1 + shots) * image + work) / 1e9, 3)

    assert round(image / 1e9, 3) == 55.598
    assert [giga(1), giga(5)] == [111.196, 333.588]
    assert [giga(1, 24), giga(1, 24, 2400), giga(5, 24)] == [111.442, 136.018, 333.834]
    everything = [giga(1, 2500), giga(1, 2500, 2500), giga(5, 2500), giga(5, 2500, 2500)]
    assert [round(total, 1) for total in everything] == [136.8, 162.4, 359.2, 384.8]


# -- transforms -------------------------------------------------------------------------------


def test_transforms_count_by_formula_and_in_no_total() -> None:
    maps = torch.randn(3, 5, 8, 16)
    points = 8 * 16
    whole = 3 * 5 * 5 * points * 7  # 5 N log2 N
    assert operations_of(lambda: torch.fft.fft2(maps.to(torch.complex64))) == (
        0,
        whole,
        frozenset(),
    )
    assert operations_of(lambda: torch.fft.rfft2(maps)) == (0, whole // 2, frozenset())
    spectrum = torch.fft.rfft2(maps)
    assert operations_of(lambda: torch.fft.irfft2(spectrum, s=(8, 16))) == (
        0,
        whole // 2,
        frozenset(),
    )
    rows = 3 * 5 * 8 * 5 * 16 * 4
    assert operations_of(lambda: torch.fft.rfft(maps)) == (0, rows // 2, frozenset())
    odd = round(5 * 169 * math.log2(169))
    assert operations_of(lambda: torch.fft.fft2(torch.randn(13, 13) + 0j)).fft == odd


def test_a_transforms_gradient_is_a_transform() -> None:
    maps = torch.randn(1, 2, 8, 8, requires_grad=True)

    def step() -> None:
        torch.fft.fft2(maps.to(torch.complex64)).abs().sum().backward()

    assert operations_of(step).fft == 2 * 2 * 5 * 64 * 6


def test_lem_pays_for_three_transforms_of_real_maps_while_training() -> None:
    lem = next(iter(build("ssp+lem", backbone="resnet-mini").stage_plugins))
    features, theta = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3)
    found = operations_of(lambda: lem.perturb(features, theta))  # pyright: ignore
    assert found.fft == 3 * 2 * 4 * (5 * 64 * 6) // 2
    assert found.flops == 2 * 2 * 4 * 4 * 9 * 64
    assert not any("fft" in name for name in found.uncounted)


def test_apm_transforms_supports_and_query_and_learns_through_transforms() -> None:
    def cost(steps: int) -> int:
        name = parse(f"hsnet+apm-m[steps={steps}]").in_miniature()
        network = seeded(build(name, backbone="resnet-mini")).eval()
        return cost_of(network, shots=2, size=128, device="cpu").flops_fft

    # Two taps of 128 channels, 4 x 4: one transform there, or back.
    maps = 2 * 128 * (5 * 16 * 4)
    nothing, one, two = (cost(steps) for steps in (0, 1, 2))
    assert nothing == 3 * 2 * maps
    # In each step each support's way back and its gradient; its spectrum is taken once.
    assert two - one == 2 * 2 * maps
    assert one - nothing == two - one + 2 * maps


@pytest.mark.parametrize("plugin", [LCM, LCMShift])
def test_lcm_costs_three_anchors_by_all_patches_and_so_does_its_shift(plugin: type[LCM]) -> None:
    """25 x 25 patches of 16 pixels, 64 channels of a ResNet's stem."""
    with FakeTensorMode():
        maps, low = torch.empty(1, 1, 2, 50, 50), torch.empty(1, 64, 100, 100)
        found = operations_of(lambda: plugin().calibrate(maps, low, (400, 400))).flops
    assert found == 2 * 3 * 64 * 25 * 25
