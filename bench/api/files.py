"""Files that are whole or absent, whatever happens to the process that writes them."""

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cdfss_bench.errors import UserError


@contextmanager
def explained_os_errors(path: Path, doing: str) -> Generator[None]:
    """Turns the operating system's refusals (disk full, read-only, no permission) into sentences.

    Raises:
        UserError: with the path and what to do, in place of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk of {path} while {doing}",
                hint="free some space and type the same command again; finished work is kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"{path} may not be written while {doing} ({error.strerror})",
                hint="name a folder you may write to",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise UserError(
                f"{path} cannot be written while {doing} ({error.strerror})",
                hint="name another file or folder",
            ) from error
        raise


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes `data` to `path` so that readers see the old file or the new one, never a part.

    Raises:
        UserError: if the disk is full or the folder may not be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    with explained_os_errors(path, f"writing {path.name or path}"):
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A pipe or a device (`-o /dev/stdout`) is written to; nobody wants it replaced.
            with path.open("wb") as file:
                file.write(raw)
            return
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; records and weights are meant to be shared.
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
