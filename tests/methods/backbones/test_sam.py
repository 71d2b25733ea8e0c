"""SAM as a backbone: sizes, prompts, per-sample decoding, and one file for all three parts."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from cdfss_bench.errors import UserError, WeightsError
from cdfss_bench.methods import build, parse
from cdfss_bench.methods.backbones.card import BACKBONES, build_backbone
from cdfss_bench.methods.backbones.sam import SAM
from cdfss_bench.methods.blocks.sam_calls import bounding_box, pixel_of
from cdfss_bench.methods.blocks.sam_frames import Frame
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights

from ...support.contract import same_tensors
from ...support.draws import normal

pytestmark = pytest.mark.usefixtures("one_thread")


def mini() -> SAM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_backbone("sam-mini")
    assert isinstance(network, SAM)
    return network.requires_grad_(requires_grad=False)


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (200, 120), (40, 8)])
def test_images_of_any_number_of_patches_are_embedded(size: tuple[int, int]) -> None:
    embedding = mini().embedding(normal(1, 3, *size))
    assert embedding.shape == (1, 64, size[0] // 8, size[1] // 8)
    assert bool(embedding.isfinite().all())


def test_an_image_that_does_not_divide_into_patches_is_refused() -> None:
    with pytest.raises(UserError, match="images of 100x128 pixels do not divide") as caught:
        mini().embedding(normal(1, 3, 100, 128))
    assert caught.value.hint == "use sides that are multiples of 8"


def test_a_window_attends_to_its_padding_and_to_nothing_outside() -> None:
    network = mini()
    block = network.image_encoder.blocks[0]
    maps = normal(1, 16, 16, 64)
    changed = maps.clone()
    changed[:, 0, 0] += 1
    moved = (block(changed) != block(maps)).any(-1)[0]
    assert bool(moved[:5, :5].all())
    assert int(moved.sum()) == 25


@pytest.mark.parametrize("rows", [1, 3])
def test_row_i_of_the_images_meets_row_i_of_the_prompts(rows: int) -> None:
    network = mini()
    embedding, dense = normal(2, rows, 64, 16, 16)
    sparse = normal(rows, 3, 64)
    positions = network.prompt_encoder.dense_positions((16, 16))
    masks, scores = network.mask_decoder(embedding, positions, sparse, dense, several=True)
    assert masks.shape == (rows, 3, 64, 64)
    assert scores.shape == (rows, 3)
    for i in range(rows):
        one = [tensor[i : i + 1] for tensor in (sparse, dense)]
        alone, _ = network.mask_decoder(embedding[i : i + 1], positions, *one, several=True)
        torch.testing.assert_close(alone[0], masks[i], rtol=1e-4, atol=1e-5)


def test_a_padding_token_follows_points_only_where_there_is_no_box() -> None:
    encoder = mini().prompt_encoder
    points, labels = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[1]])
    boxes = torch.tensor([[1.0, 2, 30, 40]])
    place = {"frame": (128, 128), "grid": (16, 16)}
    alone, _ = encoder(**place, points=points, labels=labels)
    boxed, _ = encoder(**place, points=points, labels=labels, boxes=boxes)
    assert torch.equal(alone[0, 1], encoder.not_a_point_embed.weight[0])
    assert boxed.shape[1] == 3
    assert torch.equal(boxed[0, 0], alone[0, 0])
    with pytest.raises(ValueError, match="points need labels"):
        encoder(**place, points=points)


def test_the_frame_keeps_the_sides_ratio_and_pads_below_and_right() -> None:
    frame = Frame((300, 400), 128)
    assert frame.inner == (96, 128)
    seen = frame.input_of(torch.full((1, 3, 300, 400), 255, dtype=torch.uint8))
    assert seen.shape == (1, 3, 128, 128)
    assert bool((seen[:, :, :96] > 2).all())
    assert not seen[:, :, 96:].any()
    corner = frame.scaled(torch.tensor([400, 300]))
    assert corner.tolist() == [128, 96]


def test_masks_come_back_in_two_steps() -> None:
    low, frame = normal(1, 1, 64, 64), Frame((100, 100), 128)
    square = F.interpolate(low, (128, 128), mode="bilinear", align_corners=False)
    expected = F.interpolate(square, (100, 100), mode="bilinear", align_corners=False)
    assert torch.equal(frame.restored(low), expected)


def test_of_equal_extremes_the_first_pixel_is_taken() -> None:
    maps = torch.zeros(4, 5)
    assert pixel_of(maps) == (0, 0)
    maps[1, 3] = maps[2, 0] = 2
    maps[3, 2] = maps[3, 4] = -1
    assert pixel_of(maps) == (3, 1)
    assert pixel_of(maps, highest=False) == (2, 3)


def test_a_box_holds_its_last_pixels_and_an_empty_mask_has_none() -> None:
    mask = torch.zeros(6, 7, dtype=torch.bool)
    assert bounding_box(mask) is None
    mask[2:5, 1:4] = True
    assert bounding_box(mask) == (1, 2, 3, 4)


def test_one_file_holds_what_encodes_and_what_decodes(tmp_path: Path) -> None:
    stored = mini().state_dict()
    assert {key.partition(".")[0] for key in stored} == {
        "image_encoder",
        "prompt_encoder",
        "mask_decoder",
    }
    save_file({key: t.clone() for key, t in stored.items()}, tmp_path / "sam-mini.safetensors")
    method = build("persam", backbone="sam-mini")
    weights = resolve_weights(parse("persam"), backbone="sam-mini", folders=[tmp_path])
    load_weights(method, weights)
    same_tensors(method.state_dict(), stored)


def test_a_file_of_the_encoder_alone_is_refused(tmp_path: Path) -> None:
    stored = {k: t.clone() for k, t in mini().state_dict().items() if "image_encoder" in k}
    save_file(stored, tmp_path / "sam-mini.safetensors")
    weights = resolve_weights(parse("persam"), backbone="sam-mini", folders=[tmp_path])
    with pytest.raises(WeightsError, match=r"lacks .*prompt_encoder"):
        load_weights(build("persam", backbone="sam-mini"), weights)


def test_the_card_says_what_sam_has_seen() -> None:
    (entry,) = BACKBONES.card("sam-vit-b").pretrained
    assert entry.trained_on == "SA-1B"
    assert entry.url.endswith("/segment_anything/sam_vit_b_01ec64.pth")
    assert len(entry.sha256) == 64
