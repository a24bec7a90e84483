"""Keeping memory for the next block instead of giving it back to the kernel.

Blocks of 1 MiB pass through exports and imports by the thousand. The C library gives each back and
asks for it again, and the kernel fills every page with zeros: a tenth of an export's time.
"""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_BLOCK = 32 * 1024 * 1024  # bytes; the most that older releases of glibc accept
_KEPT = 16 * 1024 * 1024  # bytes that the heap of one thread may keep


@cache
def keep_blocks() -> None:
    """Do so in this process, where the C library is glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
