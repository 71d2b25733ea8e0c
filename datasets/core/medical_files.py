"""Which files hold volumes or DICOM pictures, and by which library they are read."""

from __future__ import annotations

import importlib
import importlib.metadata
import zlib
from pathlib import Path
from typing import Any

from cdfss_bench.errors import DataError

VOLUMES = (".nii", ".nii.gz")
DICOM = (".dcm", ".dicom", ".ima")
DAMAGED = (OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, zlib.error)


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


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for a damaged volume or DICOM file."""
    kind = "NIfTI volume" if suffix_of(path) in VOLUMES else "DICOM file"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path} is not a readable {kind} ({reason})",
        hint="replace the file, or remove it with its partner",
    )


def times(shape: tuple[int, ...]) -> str:
    """A shape in words, `24x20x6`."""
    return "x".join(map(str, shape))
