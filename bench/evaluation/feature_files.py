"""Encoder outputs on disk, so that a second run encodes nothing.

One safetensors file per picture and network, named by a hash of all that decides it: the network
with its weights and code, the picture's pixels, and what computes them. A file that is damaged is
not believed (each has a checksum) and made anew. Values come back to the bit, and so does the order
in memory, by which kernels choose how to round. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cdfss_bench.canonical import digest
from cdfss_bench.errors import UserError
from cdfss_bench.files import write_atomically
from cdfss_bench.methods.core.feature_batch import FeatureBatch

DEFAULT_SIZE = 20 * 2**30
"""Bytes that the folder may hold."""

_KEPT = 0.9
"""The share of the size that is left after the files that were used longest ago were deleted."""

_SUFFIX = ".safetensors"


@dataclass
class FeatureFiles:
    """Features of one network in a folder that all networks share.

    Attributes:
        folder: of the files.
        network: hash of all that decides the features of a picture beside the picture.
        half: whether values are known to be those of fp16, and are kept as such.
        size: bytes that the folder may hold; the files used longest ago are deleted.
        notes: what went wrong, for the record.
        found: pictures that were read here in place of being encoded.
    """

    folder: Path
    network: str
    half: bool = False
    size: int = DEFAULT_SIZE
    notes: dict[str, None] = field(default_factory=dict[str, None])
    found: int = 0
    _held: int | None = None

    def key(self, picture: NDArray[np.uint8], device: str) -> str:
        """The name of a picture's features.

        Args:
            picture: uint8 [H, W, 3], as it is encoded.
            device: where it is encoded; another may round otherwise.
        """
        kind = torch.device(device).type
        name = torch.cuda.get_device_name(device) if kind == "cuda" else ""
        pixels = hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()
        return digest([self.network, picture.shape, pixels, kind, name, torch.__version__])

    def get(self, key: str, device: str) -> FeatureBatch | None:
        """The features of a picture, one row, or None where there are none, or a damaged file."""
        path = self._path(key)
        try:
            row = _read(path)
            os.utime(path)  # what was used last is deleted last
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            self.notes[f"feature cache: {path.name} is damaged and was made anew ({error})"] = None
            return None
        self.found += 1
        return row.to(device)

    def put(self, key: str, row: FeatureBatch) -> None:
        """Keep one row of features; a folder that cannot be written costs time, not results."""
        path = self._path(key)
        data = _packed(row, half=self.half)
        try:
            self._make_room(len(data))
            write_atomically(path, data)
        except (OSError, UserError) as error:
            problem = error.problem if isinstance(error, UserError) else str(error)
            self.notes[f"feature cache: {problem}"] = None

    def taken_notes(self) -> list[str]:
        """The notes since this was last asked."""
        notes = list(self.notes)
        self.notes.clear()
        return notes

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _make_room(self, size: int) -> None:
        if self._held is None or self._held + size > self.size:
            # Other processes write here too: what it holds is counted, not remembered.
            self._held = _pruned(self.folder, self.size - size)
        self._held += size


def _pruned(folder: Path, size: int) -> int:
    """Bytes that a folder holds, after the oldest files were deleted if they are too many."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.glob(f"*/*{_SUFFIX}"):
        with suppress(OSError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    held = sum(bytes_ for _, bytes_, _ in files)
    if held <= size:
        return held
    for _, bytes_, path in sorted(files):
        if held <= _KEPT * size:
            break
        with suppress(OSError):
            path.unlink()
            held -= bytes_
    return held


def _packed(row: FeatureBatch, *, half: bool) -> bytes:
    tensors: dict[str, torch.Tensor] = {}
    orders: dict[str, str] = {}
    for name, tensor in row.tensors.items():
        strides = tensor.stride()
        order = sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis))
        flat = tensor.detach().permute(order).contiguous().cpu()
        if half and flat.dtype == torch.float32 and torch.equal(flat.half().float(), flat):
            flat = flat.half()
            orders[f"{name} dtype"] = "float32"
        tensors[name] = flat
        orders[f"{name} order"] = " ".join(map(str, order))
    height, width = row.size
    said = {"size": f"{height} {width}", "names": "\n".join(row.tensors), **orders}
    said["crc32"] = str(_checksum(tensors))
    return save(tensors, said)


def _read(path: Path) -> FeatureBatch:
    with safe_open(path, "pt") as file:
        said = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in said["names"].split("\n")}
    if str(_checksum(tensors)) != said["crc32"]:
        raise ValueError("its checksum differs")
    found: dict[str, torch.Tensor] = {}
    for name, flat in tensors.items():
        order = [int(axis) for axis in said[f"{name} order"].split()]
        back = sorted(range(len(order)), key=lambda axis: order[axis])
        full = flat.float() if f"{name} dtype" in said else flat
        found[name] = full.permute(back)
    height, width = (int(word) for word in said["size"].split())
    return FeatureBatch((height, width), found)


def _checksum(tensors: dict[str, torch.Tensor]) -> int:
    found = 0
    for name, tensor in sorted(tensors.items()):
        body = tensor.contiguous().flatten().view(torch.uint8).numpy()
        found = zlib.crc32(body.data, zlib.crc32(name.encode(), found))
    return found
