"""Finding the pages in a file in which libvirt has saved a running guest.

The file, as libvirt 9 and QEMU 7.2 write it (found by looking at such files, and told in QEMU's
documentation of its migration stream): a header of 92 bytes, XML, then QEMU's stream. Of that only
the section ``ram`` is understood. It consists of records that begin with 8 bytes, big endian: an
address in multiples of 4096, and flags. The first record lists the memory blocks and their sizes;
each of the others holds a page, or says that one is zeros, or ends a part of the section.

Nothing here decides whether the file comes back as it was: that holds whatever the file contains.
What is not understood ends the search, and all that follows is kept as it is.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from ..format.layer import Origin
from ..writing.layer_source import LayerSource
from .recipe import BYTES, HEADER, MAX_STEPS, PAGE_SIZE, PAGES, ZEROS, Recipe

READ_SIZE = 4 << 20  # bytes read at a time
_ALIGNMENT = 64 * 1024  # bytes; memory blocks begin at multiples in the content

_SAVE_HEADER = struct.Struct("<16sIII")  # magic, version, bytes of XML, is the guest running
_SAVE_HEADER_SIZE = 92
_SAVE_MAGIC = b"LibvirtQemudSave"
_STREAM_MAGIC = b"QEVM\0\0\0\3"
_RAM_SECTION = b"\3ram\0\0\0\0\0\0\0\4"  # its name, instance 0, version 4
_RAM_SECTION_WITHIN = 4096  # bytes of the stream
_SECTION_PART, _SECTION_END, _SECTION_FOOTER = b"\2", b"\3", b"\x7e"
_SECTION_ID_SIZE = 4

_FLAGS = PAGE_SIZE - 1
_ZERO, _BLOCKS, _PAGE, _END, _SAME_BLOCK = 0x02, 0x04, 0x08, 0x10, 0x20
_PAGE_RECORD = struct.Struct(f">Q{PAGE_SIZE}x")
_ZERO_RECORD = struct.Struct(">QB")
_MOST_BLOCKS = 4096
# A page of zeros takes 9 bytes: a file that claims more memory than this is none of QEMU's.
_MOST_RAM_PER_BYTE = 512


class NotUnderstoodError(Exception):
    """What follows in the file is none of the records that are known here."""


@dataclass
class _Block:
    """A memory block of the guest.

    :param size: bytes
    :param base: where it begins in the content
    :param done: address up to which its pages have been seen; what comes again is kept as it is
    """

    size: int
    base: int
    done: int = 0


@dataclass
class Scan:
    """What was found.

    :param ram_size: bytes of the content in which pages lie; what is left of the file follows them
    :param rest_size: bytes of the file that lie in the content after the pages
    """

    recipe: Recipe = field(default_factory=Recipe)
    ram_size: int = 0
    rest_size: int = 0


def scan(source: LayerSource) -> tuple[Scan, Origin] | None:
    """Read a file from front to back and return where its pages are, or None if that is unknown."""
    stream = _Stream(source)
    scanner = _Scanner(stream)
    try:
        scanner.read_start()
    except NotUnderstoodError:
        return None
    with suppress(NotUnderstoodError):
        scanner.read_records()
    scanner.keep(source.size - scanner.found.recipe.size)
    if len(scanner.found.recipe) > MAX_STEPS:
        return None
    return scanner.found, Origin(source.size, stream.finish())


class _Stream:
    """A file that is read once from front to back; only so much of it is in memory."""

    def __init__(self, source: LayerSource) -> None:
        self._source = source
        self._state = blake3()
        self._read = 0  # bytes of the file
        self._data = b""
        self._at = 0  # in the data

    @property
    def size(self) -> int:
        return self._source.size

    def ahead(self, length: int) -> memoryview:
        """Return what comes next without skipping it, ``length`` bytes or more.

        :raises NotUnderstoodError: the file ends before
        """
        while len(self._data) - self._at < length:
            if self._read == self._source.size:
                raise NotUnderstoodError
            self._data = self._data[self._at :] + self._next()
            self._at = 0
        return memoryview(self._data)[self._at :]

    def skip(self, length: int) -> None:
        while len(self._data) - self._at < length:
            length -= len(self._data) - self._at
            if self._read == self._source.size:
                raise NotUnderstoodError
            self._data, self._at = self._next(), 0
        self._at += length

    def finish(self) -> str:
        """Read all that is left and return the digest of the file, hexadecimal."""
        while self._read < self._source.size:
            self._next()
        return self._state.hexdigest()

    def _next(self) -> bytes:
        data = self._source.pread(self._read, min(READ_SIZE, self._source.size - self._read))
        self._state.update(data)
        self._read += len(data)
        return data


class _Scanner:
    def __init__(self, stream: _Stream) -> None:
        self.found = Scan()
        self._stream = stream
        self._blocks: dict[bytes, _Block] = {}
        self._block: _Block | None = None  # that of the last record
        self._section = b""  # the id of the section

    def read_start(self) -> None:
        """Read up to the first page."""
        start = self._skip_to_section() + self._skip_blocks()
        self.found.ram_size = sum(_aligned(block.size) for block in self._blocks.values())
        self.keep(start)

    def read_records(self) -> None:
        """Read page after page until there is something else."""
        while len(self.found.recipe) <= MAX_STEPS:
            (header,) = HEADER.unpack_from(self._stream.ahead(HEADER.size))
            flags = header & _FLAGS
            if flags == _PAGE | _SAME_BLOCK:
                self._read_pages(header)
            elif flags == _ZERO | _SAME_BLOCK:
                self._read_zeros(header)
            elif flags in (_PAGE, _ZERO):
                self._read_first_of_block(header & ~_FLAGS, has_page=flags == _PAGE)
            elif flags == _END:
                self._read_end_of_part()
            else:
                raise NotUnderstoodError

    def keep(self, length: int) -> None:
        """Note bytes of the file that are kept as they are."""
        found = self.found
        found.recipe.append(BYTES, length, source=found.ram_size + found.rest_size)
        found.rest_size += length

    def _skip_to_section(self) -> int:
        """Go behind the header of the section and return how many bytes that are."""
        magic, _, xml_size, _ = _SAVE_HEADER.unpack_from(self._stream.ahead(_SAVE_HEADER_SIZE))
        start = _SAVE_HEADER_SIZE + int(xml_size)
        if magic != _SAVE_MAGIC:
            raise NotUnderstoodError
        self._stream.skip(start)
        stream = bytes(self._stream.ahead(_RAM_SECTION_WITHIN)[:_RAM_SECTION_WITHIN])
        at = stream.find(_RAM_SECTION)
        if not stream.startswith(_STREAM_MAGIC) or at < _SECTION_ID_SIZE:
            raise NotUnderstoodError
        self._section = stream[at - _SECTION_ID_SIZE : at]
        self._stream.skip(at + len(_RAM_SECTION))
        return start + at + len(_RAM_SECTION)

    def _skip_blocks(self) -> int:
        """Read the list of memory blocks and return how many bytes it takes."""
        (header,) = HEADER.unpack(self._take(HEADER.size))
        left, size, base = header & ~_FLAGS, HEADER.size, 0
        if header & _FLAGS != _BLOCKS or left > self._stream.size * _MOST_RAM_PER_BYTE:
            raise NotUnderstoodError
        while left > 0 and len(self._blocks) < _MOST_BLOCKS:
            name = self._take(self._take(1)[0])
            (length,) = HEADER.unpack(self._take(HEADER.size))
            if not name or not length or length % PAGE_SIZE or name in self._blocks:
                raise NotUnderstoodError
            self._blocks[name] = _Block(length, base)
            base += _aligned(length)
            left -= length
            size += 1 + len(name) + HEADER.size
        if left:
            raise NotUnderstoodError
        return size

    def _read_pages(self, header: int) -> None:
        block, address = self._block_at(header & ~_FLAGS)
        ahead = self._stream.ahead(_PAGE_RECORD.size)
        most = min(len(ahead) // _PAGE_RECORD.size, (block.size - address) // PAGE_SIZE)
        expected = header
        for (found,) in _PAGE_RECORD.iter_unpack(ahead[: most * _PAGE_RECORD.size]):
            if found != expected:
                break
            expected += PAGE_SIZE
        length = expected - header
        pages = length // PAGE_SIZE
        if address < block.done:
            self.keep(pages * _PAGE_RECORD.size)
        else:
            self.found.recipe.append(PAGES, pages, header=header, source=block.base + address)
            block.done = address + length
        self._stream.skip(pages * _PAGE_RECORD.size)

    def _read_zeros(self, header: int) -> None:
        ahead = self._stream.ahead(_ZERO_RECORD.size)
        most = len(ahead) // _ZERO_RECORD.size
        expected = header
        for found, fill in _ZERO_RECORD.iter_unpack(ahead[: most * _ZERO_RECORD.size]):
            if found != expected or fill:
                break
            expected += PAGE_SIZE
        pages = (expected - header) // PAGE_SIZE
        if not pages:  # filled with another byte
            raise NotUnderstoodError
        self.found.recipe.append(ZEROS, pages, header=header)
        self._stream.skip(pages * _ZERO_RECORD.size)

    def _read_first_of_block(self, address: int, *, has_page: bool) -> None:
        """Read a record with the name of its block, which holds until another is named."""
        ahead = self._stream.ahead(HEADER.size + 1)
        start = HEADER.size + 1 + ahead[HEADER.size]
        size = start + (PAGE_SIZE if has_page else 1)
        name = bytes(self._stream.ahead(size)[HEADER.size + 1 : start])
        self._block = self._blocks.get(name)
        block, _ = self._block_at(address)
        if has_page and address >= block.done:
            self.keep(start)
            self.found.recipe.append(BYTES, PAGE_SIZE, source=block.base + address)
            block.done = address + PAGE_SIZE
        else:
            self.keep(size)
        self._stream.skip(size)

    def _read_end_of_part(self) -> None:
        """Go to the next part of the section; where there is none, the rest is not understood."""
        footer, next_part = _SECTION_FOOTER + self._section, (_SECTION_PART, _SECTION_END)
        size = HEADER.size
        if self._stream.ahead(size + len(footer))[size:][: len(footer)] == footer:
            size += len(footer)
        size += 1 + _SECTION_ID_SIZE
        part = bytes(self._stream.ahead(size)[size - 1 - _SECTION_ID_SIZE : size])
        if part[:1] not in next_part or part[1:] != self._section:
            raise NotUnderstoodError
        self.keep(size)
        self._stream.skip(size)

    def _block_at(self, address: int) -> tuple[_Block, int]:
        """Return the block of the last record, in which a page at that address must lie."""
        if self._block is None or address > self._block.size - PAGE_SIZE:
            raise NotUnderstoodError
        return self._block, address

    def _take(self, length: int) -> bytes:
        data = bytes(self._stream.ahead(length)[:length])
        self._stream.skip(length)
        return data


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
