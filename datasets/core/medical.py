"""Slices of NIfTI volumes and single DICOM files, as pictures of 8 bits and as label maps.

NumPy does all that decides a pixel; nibabel and pydicom, the extra `medical`, only take the stored
numbers out of the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cdfss_bench.errors import DataError

from . import volumes
from .medical_files import DAMAGED, DICOM, is_slice, library, suffix_of, unreadable
from .windows import Numbers, Window, grey, limits

_RESCALE = (("RescaleSlope", 1), ("RescaleIntercept", 0))


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a slice or a DICOM file.

    Raises:
        DataError: as `volumes.slices_of`; if a file is no DICOM picture.
    """
    if is_slice(path):
        return volumes.size_of(path)
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
        ends = volumes.limits_of(path.parent, window)
        return Image.fromarray(grey(volumes.values_of(path), *ends)).convert("RGB")
    found = _dataset(path, pixels=True)
    if (kind := str(found.PhotometricInterpretation)) == "RGB":
        return Image.fromarray(_pixels(found, path)).convert("RGB")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path} is a DICOM picture in {kind}", hint="save it as PNG")
    slope, rise = (float(found.get(key) or default) for key, default in _RESCALE)
    values = _pixels(found, path) * np.float64(slope) + np.float64(rise)
    ends = _stated(found) if window.stated else None
    shown = grey(values, *(ends or limits(values, window, str(path))))
    return Image.fromarray(255 - shown if kind == "MONOCHROME1" else shown).convert("RGB")


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
    values = volumes.values_of(path)
    whole = np.rint(values)
    if not np.array_equal(values, whole):
        raise DataError(
            f"{path.parent} holds fractions where labels are expected",
            hint="cut it at your threshold, or resample it by nearest neighbour",
        )
    return whole.astype(np.int64)


def _dataset(path: Path, *, pixels: bool) -> Any:
    pydicom = library("pydicom")
    try:
        found = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (pydicom.errors.InvalidDicomError, *DAMAGED) as error:
        raise unreadable(path, error) from error
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
    except (AttributeError, NotImplementedError, RuntimeError, *DAMAGED) as error:
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
