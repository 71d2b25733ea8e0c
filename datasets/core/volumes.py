"""Slices of NIfTI volumes: nibabel takes the numbers out of a file, NumPy turns and cuts them.

A slice is named like a file in its volume, `ct/07.nii.gz/axial-0031`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdfss_bench.errors import DataError

from .content_index import Signature, signature_of
from .medical_files import DAMAGED, library, times, unreadable
from .windows import Numbers, Window, limits

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis of right-anterior-superior space across which a plane's slices lie."""
_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Header:
    """Of a volume in right-anterior-superior order: its shape and affine, and how to get there."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    directions: NDArray[np.float64]


def slices_of(volume: Path, plane: str) -> list[Path]:
    """The slices of a volume, from right, posterior or inferior on.

    Raises:
        DataError: if it is damaged, has more than three dimensions, or nibabel is not installed.
    """
    return [volume / f"{plane}-{at:04d}" for at in range(_header(volume).shape[PLANES[plane]])]


def compare_volumes(image: Path, mask: Path) -> None:
    """Refuses a label volume that does not lie on its image voxel by voxel.

    Raises:
        DataError: saying in what they differ.
    """
    ours, theirs = _header(image), _header(mask)
    if ours.shape != theirs.shape:
        raise DataError(
            f"{mask} has {times(theirs.shape)} voxels but its volume {image} has "
            f"{times(ours.shape)}",
            hint="resample the labels onto the volume (nearest neighbour), or replace them",
        )
    if not np.allclose(ours.affine, theirs.affine, atol=1e-2):
        raise DataError(
            f"{mask} lies elsewhere in space than its volume {image} (their affines differ)",
            hint="save the labels with the affine of the volume, after looking at both together",
        )


def _place(path: Path) -> tuple[int, int]:
    plane, _, number = path.name.rpartition("-")
    return PLANES[plane], int(number)


def values_of(path: Path) -> Numbers:
    """[H, W] as radiologists look at it: anterior or superior on top, right (or front) at left.

    Raises:
        DataError: as `slices_of`.
    """
    across, at = _place(path)
    return np.take(_volume(path.parent), at, axis=across)[::-1, ::-1].T


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a slice."""
    across, _ = _place(path)
    column, row = (n for axis, n in enumerate(_header(path.parent).shape) if axis != across)
    return column, row


def limits_of(path: Path, window: Window) -> tuple[float, float]:
    """The values of a volume that become black and white."""
    return _limits_at(path, _signature(path), window)


@lru_cache(maxsize=4096)
def _limits_at(path: Path, signature: Signature, window: Window) -> tuple[float, float]:
    with _LOCK:
        volume = _volume_at(path, signature)
    return limits(volume, window, str(path))


def _header(path: Path) -> _Header:
    return _header_at(path, _signature(path))


@lru_cache(maxsize=4096)
def _header_at(path: Path, signature: Signature) -> _Header:
    del signature
    found = _opened(path)
    orientations = library("nibabel").orientations
    directions = orientations.io_orientation(found.affine)
    if np.isnan(directions).any():
        raise DataError(f"{path} has an affine of less than three dimensions", hint="save it anew")
    shape = tuple(int(found.shape[axis]) for axis in np.argsort(directions[:, 0]))
    upright = orientations.inv_ornt_aff(directions, found.shape[:3])
    return _Header(shape, np.asarray(found.affine @ upright, np.float64), directions)


def _opened(path: Path) -> Any:
    nibabel = library("nibabel")
    try:
        found = nibabel.load(path)
        shape = tuple(int(n) for n in found.shape)
    except (nibabel.filebasedimages.ImageFileError, *DAMAGED) as error:
        raise unreadable(path, error) from error
    if len([n for n in shape[3:] if n != 1]) or len(shape) < 3:
        raise DataError(
            f"{path} has {len(shape)} dimensions ({times(shape)}) in place of three",
            hint="save one channel or time point as a volume of its own",
        )
    return found


def _volume(path: Path) -> Numbers:
    with _LOCK:  # threads that decode side by side read a volume once
        return _volume_at(path, _signature(path))


@lru_cache(maxsize=2)
def _volume_at(path: Path, signature: Signature) -> Numbers:
    found, header = _opened(path), _header_at(path, signature)
    try:
        values = np.asanyarray(found.dataobj)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    if values.dtype.fields or values.dtype.kind == "c":
        raise DataError(f"{path} holds colours or complex numbers", hint="save one channel")
    values = values.reshape(values.shape[:3])
    return library("nibabel").orientations.apply_orientation(values, header.directions)


def _signature(path: Path) -> Signature:
    try:
        return signature_of(path)
    except OSError as error:
        raise unreadable(path, error) from error
