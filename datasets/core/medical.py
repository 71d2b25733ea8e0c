"""Slices of NIfTI volumes and single DICOM files, as pictures of 8 bits and as label maps.

A slice is named like a file in its volume, `ct/07.nii.gz/axial-0031`. NumPy does all that decides
a pixel; nibabel and pydicom, the extra `medical`, only take the stored numbers out of the files.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import threading
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdfss_bench.errors import DataError

from .content_index import Signature, signature_of

VOLUMES = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom", ".ima")

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis of right-anterior-superior space across which a plane's slices lie."""

PERCENTILES = (0.5, 99.5)
"""What becomes black and white where nothing states a window."""

_SAMPLE = 4_000_000
"""Voxels of which percentiles are taken, evenly spread."""

Numbers = NDArray[Any]

_LOCK = threading.Lock()


def suffix_of(path: Path) -> str:
    """The suffix in small letters; that of `a.nii.gz` is `.nii.gz`."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The name without its suffix; that of `a.nii.gz` is `a`."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def is_slice(path: Path) -> bool:
    """Whether a path names a slice of a volume."""
    return suffix_of(path.parent) in VOLUMES and path.parent.is_file()


def file_of(path: Path) -> Path:
    """The file that holds a picture: the volume of a slice, any other path itself."""
    return path.parent if is_slice(path) else path


def is_medical(path: Path) -> bool:
    """Whether a path is read here: a slice or a DICOM file."""
    return suffix_of(path) in DICOM or is_slice(path)


def reader_version(path: Path) -> str:
    """Name and version of the library that takes numbers out of a file."""
    name = "nibabel" if is_slice(path) else "pydicom"
    return f"{name} {importlib.metadata.version(name)}"


@dataclass(frozen=True)
class Window:
    """Which values become black and white.

    Attributes:
        low: value, or percentile of the volume or file, that becomes black.
        high: the same of white.
        relative: whether they are percentiles.
        stated: whether a window that a DICOM file states comes first.
    """

    low: float = PERCENTILES[0]
    high: float = PERCENTILES[1]
    relative: bool = True
    stated: bool = True

    def described(self, *, dicom: bool) -> str:
        """As a note says it, of DICOM files or of volumes."""
        if not self.relative:
            return f"{self.low:g} to {self.high:g}"
        first = "as a file states it, else " if dicom and self.stated else ""
        what = "each file" if dicom else "each volume"
        return f"{first}percentiles {self.low:g} to {self.high:g} of {what}"


_WINDOW = re.compile(r"(?P<low>-?\d+(?:\.\d+)?)(?P<p>%?)\.\.(?P<high>-?\d+(?:\.\d+)?)(?P<q>%?)")


def window_of(typed: str) -> Window:
    """`auto`, values as `-160..240`, or percentiles as `1%..99%`.

    Raises:
        DataError: if it is not spelled so.
    """
    if typed == "auto":
        return Window()
    match = _WINDOW.fullmatch(typed)
    if match and match["p"] == match["q"]:
        low, high, relative = float(match["low"]), float(match["high"]), bool(match["p"])
        if low < high and (not relative or (low >= 0 and high <= 100)):
            return Window(low, high, relative, stated=False)
    raise DataError(
        f"window={typed} names no range of values",
        hint="window=-160..240 in the values of the files (Hounsfield units of a CT), percentiles "
        "as window=1%..99%, or window=auto",
    )


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
            f"{mask} has {_times(theirs.shape)} voxels but its volume {image} has "
            f"{_times(ours.shape)}",
            hint="resample the labels onto the volume (nearest neighbour), or replace them",
        )
    if not np.allclose(ours.affine, theirs.affine, atol=1e-2):
        raise DataError(
            f"{mask} lies elsewhere in space than its volume {image} (their affines differ)",
            hint="save the labels with the affine of the volume, after looking at both together",
        )


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a slice or a DICOM file.

    Raises:
        DataError: as `slices_of`; if a file is no DICOM picture.
    """
    if is_slice(path):
        across, _ = _place(path)
        column, row = (n for axis, n in enumerate(_header(path.parent).shape) if axis != across)
        return column, row
    found = _dataset(path, pixels=False)
    return int(found.Columns), int(found.Rows)


def scene_of(path: Path) -> str:
    """What pictures of one scan have in common; empty where nothing says it."""
    if is_slice(path):
        return path.parent.as_posix()
    if suffix_of(path) in DICOM:
        return str(_dataset(path, pixels=False).get("SeriesInstanceUID", ""))
    return ""


def picture_of(path: Path, window: Window) -> Image.Image:
    """A slice or a DICOM file in RGB of 8 bits, as a viewer shows it.

    Raises:
        DataError: as `size_of`; for DICOM colours other than RGB, several frames, or a compression
            that needs another library.
    """
    if is_slice(path):
        volume = _volume(path.parent)
        limits = _volume_limits(path.parent, _signature(path.parent), window)
        return Image.fromarray(_grey(_slice(volume, path), *limits)).convert("RGB")
    found = _dataset(path, pixels=True)
    if (kind := str(found.PhotometricInterpretation)) == "RGB":
        return Image.fromarray(_pixels(found, path)).convert("RGB")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path} is a DICOM picture in {kind}", hint="save it as PNG")
    slope, rise = (float(found.get(key) or default) for key, default in _RESCALE)
    values = _pixels(found, path) * np.float64(slope) + np.float64(rise)
    limits = _stated(found) if window.stated else None
    grey = _grey(values, *(limits or _limits(values, window, str(path))))
    return Image.fromarray(255 - grey if kind == "MONOCHROME1" else grey).convert("RGB")


def labels_of(path: Path) -> Numbers:
    """The values of a label volume's slice, [H, W], whole numbers.

    Raises:
        DataError: as `size_of`; for a DICOM file, since masks in DICOM are not read.
    """
    if not is_slice(path):
        raise DataError(
            f"{path} is a DICOM file, in which masks are not read",
            hint="save the mask as a PNG of the picture's name, or image and labels as NIfTI",
        )
    values = _slice(_volume(path.parent), path)
    whole = np.rint(values)
    if not np.array_equal(values, whole):
        raise DataError(
            f"{path.parent} holds fractions where labels are expected",
            hint="cut it at your threshold, or resample it by nearest neighbour",
        )
    return whole.astype(np.int64)


@dataclass(frozen=True)
class _Header:
    """Of a volume in right-anterior-superior order: its shape and affine, and how to get there."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    order: tuple[int, ...]
    flips: tuple[int, ...]


def library(name: str) -> Any:
    """`nibabel` or `pydicom`.

    Not by an import statement: the version of a library that only some folders need must not
    enter the hash of the code that reads all of them; it stands in the key of what was decoded.

    Raises:
        DataError: if the extra `medical` is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"{'NIfTI volumes are' if name == 'nibabel' else 'DICOM files are'} read by {name}, "
            "which is not installed",
            hint="pip install 'cdfss-bench[medical]'",
        ) from error


def _opened(path: Path) -> Any:
    nibabel = library("nibabel")
    try:
        found = nibabel.load(path)
        shape = tuple(int(n) for n in found.shape)
    except (nibabel.filebasedimages.ImageFileError, *_DAMAGED) as error:
        raise _unreadable(path, error) from error
    if len([n for n in shape[3:] if n != 1]) or len(shape) < 3:
        raise DataError(
            f"{path} has {len(shape)} dimensions ({_times(shape)}) in place of three",
            hint="save one channel or time point as a volume of its own",
        )
    return found


@lru_cache(maxsize=4096)
def _header_at(path: Path, signature: Signature) -> _Header:
    del signature
    found = _opened(path)
    directions = library("nibabel").io_orientation(found.affine)
    if np.isnan(directions).any():
        raise DataError(f"{path} has an affine of less than three dimensions", hint="save it anew")
    order = tuple(int(np.flatnonzero(directions[:, 0] == axis)[0]) for axis in range(3))
    flips = tuple(int(directions[axis, 1]) for axis in order)
    shape = tuple(int(found.shape[axis]) for axis in order)
    upright = library("nibabel").orientations.inv_ornt_aff(directions, found.shape[:3])
    return _Header(shape, np.asarray(found.affine @ upright, np.float64), order, flips)


def _header(path: Path) -> _Header:
    return _header_at(path, _signature(path))


@lru_cache(maxsize=2)
def _volume_at(path: Path, signature: Signature) -> Numbers:
    found, header = _opened(path), _header_at(path, signature)
    try:
        values = np.asanyarray(found.dataobj)
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    if values.dtype.fields or values.dtype.kind == "c":
        raise DataError(f"{path} holds colours or complex numbers", hint="save one channel")
    values = values.reshape(values.shape[:3]).transpose(header.order)
    return values[tuple(slice(None, None, flip) for flip in header.flips)]


def _volume(path: Path) -> Numbers:
    with _LOCK:  # threads that decode side by side read a volume once
        return _volume_at(path, _signature(path))


def _signature(path: Path) -> Signature:
    try:
        return signature_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _place(path: Path) -> tuple[int, int]:
    plane, _, number = path.name.rpartition("-")
    return PLANES[plane], int(number)


def _slice(volume: Numbers, path: Path) -> Numbers:
    """[H, W] as radiologists look at it: anterior or superior on top, right (or front) at left."""
    across, at = _place(path)
    return np.take(volume, at, axis=across)[::-1, ::-1].T


@lru_cache(maxsize=4096)
def _volume_limits(path: Path, signature: Signature, window: Window) -> tuple[float, float]:
    with _LOCK:
        volume = _volume_at(path, signature)
    return _limits(volume, window, str(path))


def _limits(values: Numbers, window: Window, key: str) -> tuple[float, float]:
    if not window.relative:
        return window.low, window.high
    sample = values.ravel()[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    if not np.isfinite(sample).all():
        sample = sample[np.isfinite(sample)]
        if not sample.size:
            raise DataError(f"{key} holds no numbers", hint="replace it")
    low, high = np.percentile(sample, (window.low, window.high))
    return float(low), float(high)


def _grey(values: Numbers, low: float, high: float) -> NDArray[np.uint8]:
    share = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / max(high - low, 1e-12)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


_RESCALE = (("RescaleSlope", 1), ("RescaleIntercept", 0))


def _dataset(path: Path, *, pixels: bool) -> Any:
    pydicom = library("pydicom")
    try:
        found = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (pydicom.errors.InvalidDicomError, *_DAMAGED) as error:
        raise _unreadable(path, error) from error
    if "Rows" not in found or "PhotometricInterpretation" not in found:
        raise DataError(f"{path} is a DICOM file without a picture", hint="move it away")
    if int(found.get("NumberOfFrames") or 1) > 1:
        raise DataError(
            f"{path} holds {found.NumberOfFrames} frames",
            hint="save each frame as a file of its own, or the volume as NIfTI (dcm2niix)",
        )
    return found


def _pixels(found: Any, path: Path) -> Numbers:
    try:
        return np.asarray(found.pixel_array)
    except (AttributeError, NotImplementedError, RuntimeError, *_DAMAGED) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the pixels of {path} cannot be decoded ({reason})",
            hint="for compressed files: pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg; or save it uncompressed",
        ) from error


def _stated(found: Any) -> tuple[float, float] | None:
    """The first window of a file, by the linear function of DICOM PS3.3 C.11.2.1.2."""
    center, width = (_first(found.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 1:
        return None
    return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None


_DAMAGED = (OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, zlib.error)


def _unreadable(path: Path, error: Exception) -> DataError:
    kind = "NIfTI volume" if suffix_of(path) in VOLUMES else "DICOM file"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path} is not a readable {kind} ({reason})",
        hint="replace the file, or remove it with its partner",
    )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
