"""Arrays of unsigned numbers as the repository stores them: little endian, whatever the machine."""

from __future__ import annotations

import sys
from array import array


def to_bytes(numbers: array[int]) -> bytes:
    """Return an array of type ``I`` (32 bits) or ``Q`` (64 bits) in little endian."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def from_bytes(typecode: str, data: bytes) -> array[int]:
    """Undo :func:`to_bytes`."""
    numbers = array(typecode, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
