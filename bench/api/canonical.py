"""One spelling for every value whose hash stands in a record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no free choice of spacing, so that equal values hash equally.

    Raises:
        ValueError: if `value` holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    # surrogateescape: a path may hold bytes that are no UTF-8, and they are hashed as they are.
    raw = canonical_json(value).encode("utf-8", "surrogateescape")
    return hashlib.sha256(raw).hexdigest()


def seed_of(content: bytes) -> int:
    """63 bits of sha256: the seed of the private generator that belongs to `content`."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
