"""Prompted segmentation: which objects are asked for, by which prompts, how answers are judged."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.bench.training.prompting import PromptedSegmentation, chosen, drawn, judged
from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.sam import SAM

pytestmark = pytest.mark.filterwarnings("error")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels() -> Tensor:
    """A picture with two classes and an undecided border, one with a speck, one with nothing."""
    truth = torch.zeros(3, 64, 64, dtype=torch.long)
    truth[0, 4:30, 8:20] = 2
    truth[0, 40:60, 30:50] = 5
    truth[0, 38:40] = 255
    truth[1, 3:5, 3:5] = 1
    return truth


def test_one_class_is_drawn_of_each_picture_that_shows_one() -> None:
    found = [chosen(labels(), rng(seed)) for seed in range(20)]
    assert all(one.pictures.tolist() == [0] for one in found)
    areas = {int(one.inside.sum()) for one in found}
    assert areas == {26 * 12, 20 * 20}
    assert all(int(one.decided.sum()) == 64 * 62 for one in found)


def test_nothing_is_asked_of_pictures_without_objects() -> None:
    found = chosen(torch.zeros(2, 64, 64, dtype=torch.long), rng())
    assert len(found.pictures) == 0
    assert found.inside.shape == (0, 64, 64)


@pytest.mark.parametrize("seed", range(12))
def test_points_lie_where_their_labels_say_and_boxes_around_the_object(seed: int) -> None:
    found, step = chosen(labels(), rng()), 2
    prompt = drawn(found, step, rng(seed))
    assert prompt.points is not None or prompt.boxes is not None
    if prompt.points is not None and prompt.labels is not None:
        for (x, y), label in zip(prompt.points[0].tolist(), prompt.labels[0].tolist(), strict=True):
            cell = (0, int(y) // step, int(x) // step)
            assert bool(found.inside[cell]) == bool(label)
            assert bool(found.decided[cell])
    if prompt.boxes is not None:
        rows, columns = (found.inside[0].bool().any(dim).nonzero()[:, 0] for dim in (1, 0))
        exact = torch.stack((columns[0], rows[0], columns[-1], rows[-1])) * step
        widest = max(int(exact[2] - exact[0]), int(exact[3] - exact[1]))
        assert float((prompt.boxes[0] - exact).abs().max()) <= 0.1 * widest + step


def test_a_right_mask_with_a_right_score_costs_nothing() -> None:
    found = chosen(labels(), rng())
    right = (2 * found.inside - 1)[:, None].expand(-1, 4, -1, -1) * 40
    one = torch.ones(1, 4)
    assert float(judged(right, one, found.inside, found.decided)) < 1e-3
    assert float(judged(-right, 0 * one, found.inside, found.decided)) > 10
    # Undecided pixels do not count.
    odd = torch.where(found.decided[:, None] > 0, right, -right)
    assert float(judged(odd, one, found.inside, found.decided)) < 1e-3


def test_of_three_masks_the_best_is_judged() -> None:
    found = chosen(labels(), rng())
    masks = (2 * found.inside - 1)[:, None].expand(-1, 4, -1, -1) * 40
    wrong = masks.clone()
    wrong[:, 1:3] *= -1
    scores = torch.tensor([[1.0, 0, 0, 1]])
    assert float(judged(wrong, scores, found.inside, found.decided)) < 1e-3


def test_the_loss_reaches_every_part_of_a_sam_and_the_seed_decides_it() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone("sam-mini")
    assert isinstance(backbone, SAM)
    objective = PromptedSegmentation(backbone)
    images = torch.randn((3, 3, 128, 128), generator=rng())
    truth = labels().repeat_interleave(2, 1).repeat_interleave(2, 2)
    state = torch.get_rng_state()
    losses = [objective.loss(images, truth, rng(seed)) for seed in (3, 3, 0)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(losses[0], losses[1])
    torch.stack(losses).sum().backward()
    parts = (backbone.image_encoder, backbone.prompt_encoder, backbone.mask_decoder)
    for part in parts:
        assert any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
    empty = objective.loss(images, torch.zeros_like(truth), rng())
    assert float(empty.detach()) == 0
