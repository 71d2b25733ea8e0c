"""PerSAM on the mini suite's SAM: supports without cells, empty masks, shots, and PerSAM-F."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cdfss_bench.methods import build, parse
from cdfss_bench.methods.blocks.mask_mixture import MixingObjective, mixing_steps
from cdfss_bench.methods.blocks.sam_frames import Frame
from cdfss_bench.methods.conformance.probe import Episodes, episodes, seeded
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.hosts.persam import PerSAM, cells

from ...support.contract import as_a

pytestmark = pytest.mark.usefixtures("one_thread")


def persam(**options: bool | int | str) -> PerSAM:
    return as_a(PerSAM, seeded(build("persam", backbone="sam-mini", **options)))


def features(method: PerSAM, given: Episodes) -> tuple[FeatureBatch, FeatureBatch]:
    return method.encode(given.query_images), method.encode(given.support_images.flatten(0, 1))


def test_the_mask_of_zeros_and_ones_counts_as_a_white_object() -> None:
    frame = Frame((64, 64), 128)
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[16:48, 8:32] = 1
    inside = cells(mask[None], frame, torch.empty(1, 4, 16, 16))[0]
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:12, 2:8] = True
    assert torch.equal(inside, expected)


def test_padding_is_never_a_cell() -> None:
    masks = torch.ones(1, 64, 96, dtype=torch.uint8)
    inside = cells(masks, Frame((64, 96), 96), torch.empty(1, 4, 6, 6))[0]
    assert bool(inside[:4].all())
    assert not inside[4:].any()


def test_a_support_without_cells_is_its_strongest_one() -> None:
    frame, mask = Frame((64, 64), 32), torch.zeros(64, 64, dtype=torch.uint8)
    assert cells(mask[None], frame, torch.empty(1, 4, 4, 4))[0].nonzero().tolist() == [[0, 0]]
    mask[40, 24] = 1  # disappears when it is shrunk
    assert cells(mask[None], frame, torch.empty(1, 4, 4, 4))[0].nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("size", "pixel", "cell"), [((64, 40), (40, 24), (2, 1)), ((40, 64), (24, 40), (1, 2))]
)
def test_a_support_without_cells_has_none_in_the_padding(
    size: tuple[int, int], pixel: tuple[int, int], cell: tuple[int, int]
) -> None:
    frame, mask = Frame(size, 32), torch.zeros(size, dtype=torch.uint8)
    maps = torch.empty(1, 4, 4, 4)
    assert cells(mask[None], frame, maps)[0].nonzero().tolist() == [[0, 0]]
    mask[pixel] = 1
    assert cells(mask[None], frame, maps)[0].nonzero().tolist() == [list(cell)]


@torch.no_grad()
def test_an_empty_answer_gives_no_box_and_stays_empty() -> None:
    method = persam()
    decoder = method.backbone.mask_decoder
    for network in decoder.output_hypernetworks_mlps:
        for parameter in network.parameters():
            parameter.zero_()  # all logits are zero, and no pixel is above
    given = episodes(1, 1, 64)
    assert not method.predict(*given.inputs).any()


@torch.no_grad()
def test_one_shot_is_the_same_by_mean_and_by_vote() -> None:
    given = episodes(2, 1, 64)
    assert not persam().votes
    assert torch.equal(persam().logits(*given.inputs), persam(combine="vote").logits(*given.inputs))


@torch.no_grad()
def test_a_repeated_support_counts_once() -> None:
    method, given = persam(), episodes(1, 1, 64)
    query, support, masks = given.inputs
    again = method.logits(query, support.repeat(1, 3, 1, 1, 1), masks.repeat(1, 3, 1, 1))
    assert torch.equal(again, method.logits(*given.inputs))


@torch.no_grad()
def test_another_input_size_gives_another_grid() -> None:
    method = persam(input_size=64)
    rows = method.encode(episodes(1, 1, 64).query_images)
    assert rows.tensors["neck"].shape == (1, 64, 8, 8)


def test_only_persam_f_adapts() -> None:
    assert str(parse("persam[finetune=true,steps=1000]")) == "persam[finetune=true]"
    method, given = persam(), episodes(1, 2, 64)
    _, support = features(method, given)
    assert method.adapt_encoded(support, given.support_masks[0]) is method


def losses(mixed: Tensor, truth: Tensor) -> Tensor:
    """Dice and focal loss as they are defined, for automatic differentiation."""
    probability = mixed.sigmoid()
    common = 2 * (probability * truth).sum(1) + 1
    dice = 1 - common / (probability.sum(1) + truth.sum(1) + 1)
    entropy = F.binary_cross_entropy_with_logits(mixed, truth, reduction="none")
    right = probability * truth + (1 - probability) * (1 - truth)
    alpha = 0.25 * truth + 0.75 * (1 - truth)
    return dice.mean() + (alpha * (1 - right) ** 2 * entropy).mean()


@pytest.mark.parametrize("shots", [1, 3])
def test_the_written_gradient_is_that_of_dice_and_focal_loss(shots: int) -> None:
    rng = torch.Generator().manual_seed(0)
    mixed = (3 * torch.randn((shots, 500), generator=rng, dtype=torch.float64)).requires_grad_()
    truth = (torch.rand((shots, 500), generator=rng) < 0.3).double()
    expected = losses(mixed, truth)
    expected.backward()
    assert mixed.grad is not None
    dice, focal, slope = MixingObjective(truth)(mixed.detach())
    torch.testing.assert_close(dice + focal, expected.detach())
    torch.testing.assert_close(slope, mixed.grad)


def test_the_mixture_moves_to_the_mask_that_is_right() -> None:
    truth = torch.zeros(1, 8, 8)
    truth[:, 2:6, 2:6] = 1
    logits = torch.stack((1 - 2 * truth, 4 * truth - 2, 1 - 2 * truth), dim=1)
    *_, last = mixing_steps(logits, truth, 1000)
    assert float(last.mixture[1]) > float(last.mixture[0])
    assert float(last.mixture[1]) > float(last.mixture[2])
    assert float(last.mixture.sum()) == pytest.approx(1)


def test_persam_f_learns_a_mixture_for_one_episode_only() -> None:
    method, given = persam(finetune=True, steps=3), episodes(1, 2, 64)
    query, support = features(method, given)
    ready = as_a(PerSAM, method.adapt_encoded(support, given.support_masks[0]))
    assert method.mixture is None
    assert ready.mixture is not None
    assert ready.mixture.shape == (3,)
    assert ready.backbone is method.backbone
    with torch.no_grad():
        logits = ready.match(query, support, given.support_masks)
    assert logits.shape == (1, 1, 2, 64, 64)
