"""`cdfss_bench.predict`: the mask of one picture, from supports with masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method

from ..evaluation.own_pair import predict_pair, read_pair
from .building import build, image_size
from .wording import in_python_words

Picture: TypeAlias = "str | os.PathLike[str] | NDArray[Any] | Image.Image"
"""A file, an array [H, W] or [H, W, 3], or a PIL image."""

_SAVED = {
    **dict.fromkeys(("1", "L", "LA", "I;16", "P", "RGB", "RGBA"), "PNG"),
    **dict.fromkeys(("I", "I;16B", "F", "CMYK", "LAB"), "TIFF"),
}
"""Formats of file that hold modes of PIL unchanged."""

_OTHERS = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""What other modes with transparency are turned into; those without become RGB."""

_LARGEST = 8192


@in_python_words(methods="method", support="supports", mask="masks")
def predict(
    method: Method | str,
    query: Picture,
    supports: Picture | Sequence[Picture],
    masks: Picture | Sequence[Picture],
    *,
    backbone: str | None = None,
    size: int | None = None,
    seed: int = 0,
    mask_options: str = "",
) -> NDArray[np.uint8]:
    """Segment one picture, given others with masks of the object: `predict --query` in Python.

    Pictures are files, uint8 arrays [H, W] or [H, W, 3], or PIL images, of any sizes; files and PIL
    images are turned by their EXIF orientation. Masks are those too, in the size of their support:
    0 and 1, 0 and 255 or bool; for others name the object's value with `mask_options`.

    Args:
        method: made by `build(..., pretrained=True)`, or the name of one that is built so.
        query: the picture to segment.
        supports: pictures that show the object.
        masks: of the supports, in their order.
        backbone: of a method that is given by its name.
        size: side in pixels to which the method is shown every picture; by default that of `run`:
            the mini suite's for its backbones, else that of the published evaluation.
        seed: of what a method that learns at test draws, together with the bytes of the pictures.
        mask_options: how masks are read, as options of the domain `folder`: `labels=1,ignore=255`.

    Returns:
        uint8 [H, W] of 0 and 1 in the size of the query.

    Raises:
        UserError: if a picture or mask cannot be read, or their numbers or sizes do not fit
            together.
        WeightsError: if weights of a method given by its name are missing.

    Example:
        >>> import numpy as np
        >>> from cdfss_bench import predict
        >>> mask = np.zeros((30, 40), bool)
        >>> mask[5:20, 8:25] = True
        >>> picture = np.where(mask[..., None], (220, 20, 20), (20, 160, 20)).astype(np.uint8)
        >>> found = predict("prototype", picture[:, ::-1], picture, mask, backbone="resnet-mini")
        >>> found.shape, found.dtype
        ((30, 40), dtype('uint8'))
    """
    network = (
        build(method, backbone=backbone, pretrained=True) if isinstance(method, str) else method
    )
    _refuse_unready(network)
    seed = _seed(seed)
    named = [("query", query), *_named("support", supports), *_named("mask", masks)]
    with TemporaryDirectory() as folder:
        files = {name: _file(one, name, Path(folder)) for name, one in named}
        try:
            pair = read_pair(
                files["query"],
                [file for name, file in files.items() if name.startswith("support")],
                [file for name, file in files.items() if name.startswith("mask")],
                image_size(network) if size is None else _side(size),
                mask_options,
            )
        except UserError as error:
            # A picture that was no file has no path.
            error.reword(*(_without(folder, text) for text in (error.problem, error.hint)))
            raise
    device = next((each.device for each in network.parameters()), pair.query_image.device)
    pair = replace(
        pair,
        query_image=pair.query_image.to(device),
        support_images=pair.support_images.to(device),
        support_masks=pair.support_masks.to(device),
    )
    return predict_pair(network, pair, seed)


def _refuse_unready(network: object) -> None:
    """Refuse what is no method, or one that was left in another state than `build` made it."""
    if not isinstance(network, Method):
        raise UserError(
            f"{type(network).__name__} is no method",
            hint="give a name, or what build(..., pretrained=True) returns",
        )
    if network.training:
        raise UserError("the method is in training mode", hint="method.eval()")
    other = next((p.dtype for p in network.parameters() if p.dtype != torch.float32), None)
    if other is not None:
        raise UserError(f"the method's parameters are {other}", hint="method.float()")


def _side(size: Any) -> int:
    side = int(size) if not isinstance(size, bool) and isinstance(size, Integral) else 0
    if not 32 <= side <= _LARGEST:
        raise UserError(
            f"size={size!r} is no side of a picture in pixels",
            hint=f"give a whole number from 32 to {_LARGEST:,}, or leave it out",
        )
    return side


def _seed(seed: Any) -> int:
    number = int(seed) if not isinstance(seed, bool) and isinstance(seed, Integral) else -1
    if not 0 <= number < 2**32:
        raise UserError(
            f"seed={seed!r} is no seed", hint=f"give a whole number from 0 to {2**32 - 1:,}"
        )
    return number


def _named(kind: str, given: Picture | Sequence[Picture]) -> list[tuple[str, Picture]]:
    one = isinstance(given, str | os.PathLike | Image.Image) or hasattr(given, "shape")
    if not one and not isinstance(given, Iterable):
        raise _no_picture(kind, given)
    pictures = [cast("Picture", given)] if one else list(cast("Sequence[Picture]", given))
    return [(f"{kind} {number}", each) for number, each in enumerate(pictures, 1)]


def _without(folder: str, text: str | None) -> Any:
    return text and text.replace(f"{folder}{os.sep}", "")


def _no_picture(name: str, given: object) -> UserError:
    what = repr(given)[:40]
    return UserError(
        f"the {name} is no picture: {what} ({type(given).__name__})",
        hint="give a file, an array or a PIL image; of several, a list",
    )


def _file(picture: Picture, name: str, folder: Path) -> Path:
    """The picture as a file: its own, or one in `folder` that holds the same values."""
    if isinstance(picture, str | os.PathLike):
        return Path(picture)
    path = folder / name
    if not isinstance(picture, Image.Image):
        Image.fromarray(_eight_bits(picture, name)).save(path, "PNG")
        return path
    try:
        image = ImageOps.exif_transpose(picture)
        if image.mode not in _SAVED:
            image = image.convert(_OTHERS.get(image.mode, "RGB"))
        image.save(path, _SAVED[image.mode])
    except (OSError, ValueError) as error:
        raise UserError(f"the {name} cannot be read ({error})") from error
    return path


def _eight_bits(picture: Any, name: str) -> NDArray[np.uint8]:
    try:
        values = np.asarray(picture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_picture(name, picture) from error
    if values.dtype.kind not in "biuf" or not values.ndim:
        raise _no_picture(name, picture)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise UserError(
            f"the {name} is an array of shape {list(values.shape)}",
            hint="give one array [H, W] or [H, W, 3] per picture; of several, a list",
        )
    if values.size == 0:
        raise UserError(f"the {name} is an empty array of shape {list(values.shape)}")
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    is_mask_of_floats = name.startswith("mask") and bool(np.isin(values, (0, 1)).all())
    counts = values.dtype.kind in "iu" or is_mask_of_floats
    if counts and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    raise UserError(
        f"the {name} is an array of {values.dtype} from {values.min():g} to {values.max():g}",
        hint="give uint8 from 0 to 255; a mask may be bool",
    )
