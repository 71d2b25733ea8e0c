"""Tiny NIfTI volumes and DICOM files."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

SHAPE = (24, 20, 6)
"""Voxels of a volume along its stored axes."""


def labels(key: int = 0) -> NDArray[np.uint8]:
    """A label volume: 1 in slices 1 to 4, 2 in slices 3 and 4; 0 and 5 are empty."""
    found = np.zeros(SHAPE, np.uint8)
    found[4 + key : 12 + key, 5:15, 1:5] = 1
    found[16:20, 5:9, 3:5] = 2
    return found


def scan(key: int = 0) -> NDArray[np.int16]:
    """A scan whose objects are bright; every voxel differs from its neighbours."""
    noise = np.random.RandomState(key).randint(-20, 20, SHAPE)
    return (noise - 1000 + 800 * labels(key).astype(np.int64)).astype(np.int16)


def save_volume(path: Path, values: NDArray[Any], affine: NDArray[Any] | None = None) -> None:
    """A NIfTI file; by default its axes run to right, anterior and superior."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def save_dicom(path: Path, values: NDArray[np.int16], series: str = "", **tags: object) -> None:
    """An uncompressed DICOM file of one signed 16-bit frame."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    found = Dataset()
    found.file_meta = meta
    found.SOPClassUID = meta.MediaStorageSOPClassUID
    found.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    found.SeriesInstanceUID = series or generate_uid()
    found.Rows, found.Columns = values.shape
    found.SamplesPerPixel, found.PixelRepresentation = 1, 1
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 16, 15
    found.PhotometricInterpretation = "MONOCHROME2"
    for tag, value in tags.items():
        setattr(found, tag, value)
    found.PixelData = values.astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
