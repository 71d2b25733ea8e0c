"""Standard output and standard error that never end in a traceback.

Characters that the encoding of a stream lacks are written as ASCII that looks like them. What
cannot be written at all, on a full disk or to a closed pipe, is an `OutputError`, which `main`
turns into a sentence and an exit code; what is lost on standard error stops no work.
"""

import codecs
import errno
import io
import os
import sys
import unicodedata
from typing import Any, TextIO, cast


class OutputError(Exception):
    """Standard output, or the reader of standard error, is gone.

    Attributes:
        reason: of the operating system.
        is_left: whether the reader closed the pipe (`| head`), which is its right.
    """

    def __init__(self, error: OSError):
        super().__init__(str(error))
        self.reason = error.strerror or str(error)
        self.is_left = isinstance(error, BrokenPipeError) or error.errno == errno.EPIPE


class _Output(io.RawIOBase):
    """The bytes of a stream.

    Args:
        raw: where they go; None for a stream that was closed before the program began.
        is_needed: whether it carries data; of talk all but a reader who left is passed over.
    """

    def __init__(self, raw: io.RawIOBase | None, *, is_needed: bool):
        super().__init__()
        self._raw = raw
        self._is_needed = is_needed
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return super().fileno() if self._raw is None else self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw is not None and self._raw.isatty()

    def write(self, data: Any, /) -> int | None:
        if self.error is not None:
            return len(data)  # has been told; what is left in buffers is let go
        try:
            if self._raw is None:
                raise OSError(errno.EBADF, "it is closed")
            return self._raw.write(data)
        except OSError as error:
            self.error = error
            told = OutputError(error)
            if self._is_needed or told.is_left:
                raise told from error
            return len(data)


def guard_streams() -> None:
    """From now on `sys.stdout` and `sys.stderr` write what they can, and raise `OutputError`."""
    codecs.register_error(_LOOKS_LIKE, _looking_alike)
    sys.stdout = _guarded(sys.stdout, 1, is_needed=True)
    sys.stderr = _guarded(sys.stderr, 2, is_needed=False)


def finish() -> int:
    """Hands on what is still in buffers; 2 where something was lost on standard error, else 0.

    Raises:
        OutputError: if standard output cannot take it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    raw: object = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    lost = raw.error if isinstance(raw, _Output) else None
    return 2 if lost is not None and lost.errno != errno.EBADF else 0


def _guarded(stream: TextIO | None, descriptor: int, *, is_needed: bool) -> TextIO:
    if stream is None:
        # A file that is opened next must not become standard output by its number.
        _occupy(descriptor)
        raw, encoding, is_terminal = None, "utf-8", False
    else:
        buffer = getattr(stream, "buffer", None)
        found: object = getattr(buffer, "raw", buffer)
        if not isinstance(found, io.RawIOBase):
            return stream  # not the system's: a test or a notebook reads it
        raw, encoding, is_terminal = found, stream.encoding, stream.isatty()
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(cast("Any", _Output(raw, is_needed=is_needed))),
        encoding=encoding,
        errors=_LOOKS_LIKE,
        line_buffering=is_terminal or not is_needed,
    )


def _occupy(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_WRONLY)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)


_LOOKS_LIKE = "cdfss-bench-looks-like"

_ASCII = {
    "·": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "±": "+/-",
    "×": "x",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "•": "*",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}


def _looking_alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    if "\u2500" <= character <= "\u257f":
        name = unicodedata.name(character)
        return "-" if "VERTICAL" not in name and "HORIZONTAL" in name else "|"
    if "\u2580" <= character <= "\u259f":
        return "#"
    raised = "^" if unicodedata.decomposition(character).startswith("<super>") else ""
    parts = unicodedata.normalize("NFKD", character).replace("\u2044", "/")
    # Accents go; a number must not become another one (1/2 and 10^6 are no 12 and 106).
    return raised + (parts.encode("ascii", "ignore").decode() or "?")
