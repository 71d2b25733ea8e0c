"""The one array that SBD's MATLAB files are read for: `GTcls.Segmentation`.

The format is MATLAB's level 5 (MathWorks, "MAT-File Format"): tagged elements, padded to eight
bytes; a struct is a matrix whose fields follow one another as matrices. Everything but the wanted
field is stepped over. SciPy's reader ends the process (a segmentation fault) on some damaged files,
where this one raises an error.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_INT8, _UINT8, _MATRIX, _COMPRESSED = 1, 2, 14, 15
_STRUCT, _UINT8_CLASS = 2, 9
_HEADER = 128
_MAX_BYTES = 64 * 2**20


class MatError(ValueError):
    """The bytes are not a MATLAB file of the kind that SBD holds."""


def segmentation(data: bytes) -> NDArray[np.uint8]:
    """`GTcls.Segmentation` of an SBD `cls/*.mat`, uint8 [H, W] of labels 0 to 20.

    Raises:
        MatError: if the file holds no such array.
    """
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise MatError("it is no MATLAB file of level 5")
    order = "<" if data[126:128] == b"IM" else ">"
    try:
        for kind, body in _elements(data[_HEADER:], order):
            if kind != _COMPRESSED:
                found = _in_struct(kind, body, order)
            else:
                unpacker = zlib.decompressobj()
                plain = unpacker.decompress(body, _MAX_BYTES)
                inner = next(_elements(plain, order), (0, b""))
                found = _in_struct(*inner, order)
            if found is not None:
                return found
    except (struct.error, zlib.error, StopIteration) as error:
        raise MatError(f"it is damaged ({error})") from error
    raise MatError("it holds no GTcls.Segmentation")


def _in_struct(kind: int, body: bytes, order: str) -> NDArray[np.uint8] | None:
    if kind != _MATRIX:
        return None
    parts = _elements(body, order)
    flags, _dimensions, name = next(parts)[1], next(parts)[1], next(parts)[1]
    if _class_of(flags, order) != _STRUCT or name != b"GTcls":
        return None
    width = struct.unpack(f"{order}i", next(parts)[1])[0]
    packed = next(parts)[1]
    names = [packed[i : i + width].rstrip(b"\0") for i in range(0, len(packed), max(width, 1))]
    for field, (_, value) in zip(names, parts, strict=False):
        if field == b"Segmentation":
            return _array(value, order)
    return None


def _array(body: bytes, order: str) -> NDArray[np.uint8]:
    parts = _elements(body, order)
    flags, dimensions, _name = next(parts)[1], next(parts)[1], next(parts)[1]
    kind, values = next(parts)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if _class_of(flags, order) != _UINT8_CLASS or kind not in (_INT8, _UINT8) or len(shape) != 2:
        raise MatError("its Segmentation is no array of bytes")
    if len(values) != shape[0] * shape[1]:
        raise MatError("its Segmentation is cut short")
    return np.frombuffer(values, np.uint8).reshape(shape, order="F")


def _class_of(flags: bytes, order: str) -> int:
    return struct.unpack(f"{order}I", flags[:4])[0] & 0xFF


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # up to four bytes stand inside the tag
            kind, size = kind & 0xFFFF, kind >> 16
            yield kind, data[place + 4 : place + 4 + size]
            place += 8
            continue
        place += 8
        if place + size > len(data):
            raise MatError("it is cut short")
        yield kind, data[place : place + size]
        place += size if kind == _COMPRESSED else size + (-size % 8)
