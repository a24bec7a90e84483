"""Files as libvirt writes them when it saves a guest, made of as few words as can be."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PAGE = 4096
ZERO, BLOCKS, DATA, END, SAME_BLOCK = 0x02, 0x04, 0x08, 0x10, 0x20
SECTION = struct.pack(">I", 3)
RAM = 1 << 20  # bytes


@dataclass(frozen=True)
class Page:
    """A page of a block; without content it is one of zeros.

    :param named: the record tells the name of the block, even if it is that of the one before
    """

    block: str
    number: int
    content: bytes | None = None
    named: bool = False

    def record(self, before: Page | None) -> bytes:
        same = before is not None and before.block == self.block and not self.named
        flags = (ZERO if self.content is None else DATA) | (SAME_BLOCK if same else 0)
        header = struct.pack(">Q", self.number * PAGE | flags)
        name = b"" if same else _named(self.block)
        return header + name + (b"\0" if self.content is None else self.content)


def saved(
    blocks: Mapping[str, int],
    parts: Sequence[Iterable[Page]],
    *,
    xml: bytes = b"<domain/>",
    compressed: int = 0,
    rest: bytes = b"state of devices" * 100,
    footers: bool = True,
) -> bytes:
    """Return a file.

    :param blocks: bytes of each memory block
    :param parts: of the section with the memory
    """
    footer = b"\x7e" + SECTION if footers else b""
    header = struct.pack("<16s5I", b"LibvirtQemudSave", 2, len(xml), 1, compressed, 0)
    stream = [b"QEVM\0\0\0\3\7\0\0\0\rpc-i440fx-7.2\1", SECTION, b"\3ram\0\0\0\0\0\0\0\4"]
    stream.append(struct.pack(">Q", sum(blocks.values()) | BLOCKS))
    stream += [_named(name) + struct.pack(">Q", size) for name, size in blocks.items()]
    stream.append(struct.pack(">Q", END) + footer)
    before: Page | None = None
    for number, part in enumerate(parts):
        stream.append((b"\3" if number + 1 == len(parts) else b"\2") + SECTION)
        for page in part:
            stream.append(page.record(before))
            before = page
        stream.append(struct.pack(">Q", END) + footer)
    return b"".join([header.ljust(92, b"\0"), xml, *stream, rest])


def pages(content: Mapping[int, bytes], *, block: str = "pc.ram", size: int = RAM) -> list[Page]:
    """Return all pages of a block, ascending, as QEMU sends them; those not given are zeros."""
    return [Page(block, number, content.get(number)) for number in range(size // PAGE)]


def _named(block: str) -> bytes:
    return bytes([len(block)]) + block.encode()
