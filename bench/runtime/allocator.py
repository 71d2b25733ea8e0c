"""glibc's allocator, told to keep what it has.

By default it hands every block of some MB back to the kernel, which then clears the same pages for
the next tensor: a third of the time of a forward pass at 400 px, and most of its unsteadiness.
"""

import ctypes
import os
import sys
from functools import lru_cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # malloc.h
_NEVER, _AHEAD = 2**31 - 1, 256 << 20

VARIABLE = "CDFSS_ALLOCATOR"
"""Set to `default` to leave the allocator alone."""


@lru_cache(maxsize=1)
def keep_memory() -> str:
    """Lets this process keep freed memory, once; what was done, for the record: `keeps`, `default`.

    Nothing happens where there is no glibc, or where CDFSS_ALLOCATOR says `default`.
    """
    if os.environ.get(VARIABLE) == "default" or not sys.platform.startswith("linux"):
        return "default"
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return "default"
    wanted = (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, _NEVER),
        (_M_TOP_PAD, _AHEAD),
        (_M_ARENA_MAX, 1),  # else every thread keeps what it once needed for itself
    )
    accepted = [mallopt(name, value) == 1 for name, value in wanted]
    return "keeps" if all(accepted) else "default"


def state() -> str:
    """What `keep_memory` did; `default` if nobody asked it."""
    return keep_memory() if keep_memory.cache_info().currsize else "default"
