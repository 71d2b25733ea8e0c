"""From decoded files to the published tensors, against rules written out again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from cdfss_bench.datasets.core.transforms import (
    binary_mask,
    nearest_indices,
    normalised,
    resized_image,
    resized_labels,
)

from ...support.trees import photo

Bytes = NDArray[np.uint8]


def noise(*shape: int) -> Bytes:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# -- masks ---------------------------------------------------------------------------------------


def torch_nearest(length: int, side: int) -> NDArray[np.intp]:
    positions = torch.arange(length, dtype=torch.float32)[None, None]
    return functional.interpolate(positions, side, mode="nearest")[0, 0].numpy().astype(np.intp)


@pytest.mark.parametrize("side", [400, 128])
def test_the_nearest_rule_is_that_of_torch_for_every_length(side: int) -> None:
    wrong = [
        length
        for length in [*range(20, 701), 767, 1022, 2448, 2848, 3000, 4288, 4892, 6000]
        if not np.array_equal(nearest_indices(length, side), torch_nearest(length, side))
    ]
    assert wrong == []


def test_the_nearest_rule_is_not_that_of_exact_or_double_arithmetic() -> None:
    places = np.arange(400)
    exact, double = 0, 0
    for length in range(20, 6001):
        indices = nearest_indices(length, 400)
        exact += not np.array_equal(indices, places * length // 400)
        double += not np.array_equal(indices, np.floor(places * (length / 400)))
    assert (exact, double) == (239, 474)


@pytest.mark.parametrize(
    ("height", "width"), [(300, 260), (97, 131), (720, 840), (400, 400), (1, 7)]
)
def test_a_label_map_is_resized_as_torch_does(height: int, width: int) -> None:
    labels = noise(height, width)
    tensor = torch.from_numpy(labels)[None, None].float()
    expected = functional.interpolate(tensor, (400, 400), mode="nearest")[0, 0].numpy()
    resized = resized_labels(labels, 400)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_a_mask_is_white_from_128_on(mode: str) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    image = grey.convert(mode, dither=Image.Dither.NONE)
    expected = (np.arange(256) >= 128).reshape(16, 16)
    mask = binary_mask(image)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected)


def test_a_coloured_mask_turns_grey_before_the_threshold() -> None:
    colours = noise(40, 50, 3).astype(np.int64)
    red, green, blue = np.moveaxis(colours, -1, 0)
    grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    mask = binary_mask(Image.fromarray(colours.astype(np.uint8)))
    assert np.array_equal(mask, grey >= 128)
    assert not np.array_equal(mask, (colours >= 128).any(-1))


# -- images --------------------------------------------------------------------------------------


def pillow_weights(length: int, side: int) -> NDArray[np.int64]:
    """[side, length] weights of Pillow's bilinear filter in units of 2^-22."""
    scale = length / side
    reach = max(scale, 1.0)
    weights = np.zeros((side, length), np.int64)
    for place in range(side):
        centre = (place + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), length)
        distances = [(x - centre + 0.5) / reach for x in range(first, last)]
        tent = [max(0.0, 1.0 - abs(distance)) for distance in distances]
        total = sum(tent)
        weights[place, first:last] = [int(0.5 + value / total * (1 << 22)) for value in tent]
    return weights


def pillow_pass(pixels: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """The first axis brought to `side`, rounded to whole levels as Pillow does."""
    if pixels.shape[0] == side:
        return pixels
    summed = np.tensordot(pillow_weights(pixels.shape[0], side), pixels, 1) + (1 << 21)
    return np.clip(summed >> 22, 0, 255)


def pillow_bilinear(pixels: Bytes, side: int) -> NDArray[np.int64]:
    """`resize(..., BILINEAR)` of Pillow up to 12 written out: narrowed first, then shortened."""
    narrowed = pillow_pass(pixels.astype(np.int64).swapaxes(0, 1), side).swapaxes(0, 1)
    return pillow_pass(narrowed, side)


@pytest.mark.parametrize("side", [400, 128])
@pytest.mark.parametrize(
    ("height", "width"),
    [(224, 224), (459, 613), (613, 459), (500, 375), (600, 200), (28, 40), (400, 300), (500, 400)],
)
def test_an_image_is_resized_by_the_antialiased_bilinear_rule(
    height: int, width: int, side: int
) -> None:
    pixels = noise(height, width, 3)
    resized = resized_image(Image.fromarray(pixels), side)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, pillow_bilinear(pixels, side))


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = noise(400, 400, 3)
    assert np.array_equal(resized_image(Image.fromarray(pixels), 400), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "YCbCr", "1"])
def test_images_of_every_mode_become_rgb_before_they_are_resized(mode: str) -> None:
    image = Image.fromarray(photo(3)).convert(mode)
    expected = pillow_bilinear(np.asarray(image.convert("RGB")), 128)
    assert np.array_equal(resized_image(image, 128), expected)


# -- tensors -------------------------------------------------------------------------------------


def torchvision_tensor(pixels: Bytes) -> torch.Tensor:
    """`ToTensor` and `Normalize` of torchvision for one picture, written out."""
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32).div(255)
    mean = torch.as_tensor([0.485, 0.456, 0.406], dtype=torch.float32).view(-1, 1, 1)
    std = torch.as_tensor([0.229, 0.224, 0.225], dtype=torch.float32).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std)


def test_normalisation_is_that_of_torchvision_for_every_level() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=-1)
    tensor = normalised(levels)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 16, 16)
    assert torch.equal(tensor, torchvision_tensor(levels))


def test_a_stack_of_images_is_normalised_one_by_one() -> None:
    stack = noise(5, 12, 9, 3)
    tensor = normalised(stack)
    assert tensor.shape == (5, 3, 12, 9)
    assert tensor.is_contiguous()
    assert torch.equal(tensor, torch.stack([torchvision_tensor(image) for image in stack]))


def test_read_only_pixels_are_normalised_and_stay_as_they_are(tmp_path: Path) -> None:
    pixels = noise(12, 9, 3)
    pixels.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, mode="r", shape=(12, 9, 3))
    assert not mapped.flags.writeable
    assert torch.equal(normalised(mapped), torchvision_tensor(pixels))
    assert np.array_equal(mapped, pixels)


def test_mirrored_pixels_are_normalised_as_their_copy() -> None:
    mirrored = noise(12, 9, 3)[:, ::-1]
    assert torch.equal(normalised(mirrored), torchvision_tensor(mirrored.copy()))


def test_normalising_leaves_its_input_alone() -> None:
    pixels = noise(12, 9, 3)
    before = pixels.copy()
    normalised(pixels).zero_()
    assert np.array_equal(pixels, before)
