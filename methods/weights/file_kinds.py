"""What a file that should hold weights really is, by its first bytes; nothing in it is executed."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from cdfss_bench.errors import WeightsError

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".npz", ".pkl")
"""What weights files are called."""

GET_AGAIN = "download or copy the file itself again"

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, which `git lfs pull` replaces by the file"),
    (b"\x1f\x8b", "a gzip archive, to be unpacked first"),
    (b"BZh", "a bzip2 archive, to be unpacked first"),
    (b"\xfd7zXZ", "an xz archive, to be unpacked first"),
    (b"7z\xbc\xaf", "a 7z archive, to be unpacked first"),
    (b"Rar!", "a RAR archive, to be unpacked first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "a single NumPy array"),
    (b"%PDF", "a PDF document"),
)
_START = 512


def refuse_missing(path: Path) -> None:
    """Refuses a path at which no file is.

    Raises:
        WeightsError: if there is nothing, or a folder.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file())
        shown = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        raise WeightsError(
            f"{path} is a folder, not a weights file",
            hint=f"name one of its files: {shown}" if inside else "name the file",
        )
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist")


def unreadable(
    path: Path, kind: str, otherwise: str = "it is damaged or incomplete"
) -> WeightsError:
    """What refuses a file that cannot be read as one of `kind`: what it is, or `otherwise`."""
    reason = f"it is {what}" if (what := oddity(path)) else otherwise
    return WeightsError(f"{path} is not a readable {kind} file: {reason}", hint=GET_AGAIN)


def is_safetensors(path: Path) -> bool:
    """Whether the file is named or begins like a safetensors file."""
    start = _start_of(path)
    if path.suffix == ".safetensors":
        return not start.startswith(b"PK\x03\x04")  # torch.save's, named like one
    length = int.from_bytes(start[:8], "little")
    return len(start) > 8 and start[8:9] == b"{" and 2 <= length <= path.stat().st_size - 8


def is_npz(path: Path) -> bool:
    """Whether the file is named or built like an archive of NumPy arrays."""
    return path.suffix == ".npz" or any(name.endswith(".npy") for name in members(path)[:1])


def members(path: Path) -> list[str]:
    """Names in a zip archive; empty for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def is_torchscript(path: Path) -> bool:
    """Whether the file is a program of `torch.jit.save` instead of plain tensors."""
    return any(name.endswith("/constants.pkl") for name in members(path))


def oddity(path: Path) -> str:
    """What the file is instead of weights, as `an HTML page`; empty where that is not known."""
    start = _start_of(path)
    if not start:
        return "an empty file"
    for beginning, what in _STARTS:
        if start.startswith(beginning):
            return what
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        return "a web page, as a failed download leaves it"
    if start.startswith(b"PK"):
        return _odd_archive(path)
    if text.startswith((b"{", b"[")) and b"\0" not in start:
        return "JSON text"
    if _is_tar(path):
        return "a tar archive, to be unpacked first"
    if not set(start) - set(range(32, 127)) - set(b"\t\r\n\f"):
        return "plain text"
    return ""


def _odd_archive(path: Path) -> str:
    names = members(path)
    if not names:
        return "a zip archive whose end is missing or damaged"
    if not any(name.endswith("data.pkl") for name in names):
        return f"a zip archive without a checkpoint's parts ({names[0]} ...), to be unpacked first"
    return ""


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, ValueError, EOFError):
        return False


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_START)
