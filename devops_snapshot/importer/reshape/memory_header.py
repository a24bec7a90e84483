"""What libvirt writes into a memory file before QEMU's stream, read and written by ourselves.

libvirt refuses to give a saved guest another name or UUID, whichever way it is asked. So both are
changed where it looks for them. It leaves 64 KiB of zeros behind the definition for just such
changes: they are used, and the stream behind them stays where it is.

Layout (libvirt 0.9 to 12, ``qemu_saveimage.h``), little-endian on all that libvirt's x86 hosts
write::

    16 bytes   LibvirtQemudSave; LibvirtQemudPart while it is being written
    5 x 4      version (2), room, was running, format of the stream, offset of the cookie
    56         zeros
    room       definition, NUL, from the offset (if it is not 0) on: cookie, NUL; zeros
    ...        QEMU's stream, perhaps compressed

The bytes are not trusted: what libvirt would not have written is refused, and no more than a
mebibyte is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lxml import etree

from ...errors import FormatError
from ...snapshot.domain_xml import disks_of, parse, serialise
from .macs import plain_mac
from .parts import forget_the_host

_FIXED = struct.Struct("<16s5I56s")
_MAGIC, _UNFINISHED = b"LibvirtQemudSave", b"LibvirtQemudPart"
_VERSION = 2
MAX_ROOM = 1 << 20
"""Bytes; libvirt writes the definition, the cookie and 64 KiB."""
MAX_SIZE = _FIXED.size + MAX_ROOM
"""Bytes before QEMU's stream."""


@dataclass(frozen=True)
class MemoryHeader:
    """All that stands before QEMU's stream.

    :param room: bytes for definition and cookie
    :param was_running: as libvirt has it
    :param stream_format: likewise: 0 is QEMU's own
    :param definition: the ``<domain>`` that libvirt starts the guest from
    :param cookie: what else libvirt wants to know then: the CPU
    """

    room: int
    was_running: int
    stream_format: int
    definition: str
    cookie: str | None

    @property
    def size(self) -> int:
        """Bytes before QEMU's stream."""
        return _FIXED.size + self.room

    @classmethod
    def unpack(cls, data: bytes) -> MemoryHeader:
        """Read a header from the beginning of a memory file.

        :param data: at least as much as the header has; what follows is not looked at
        :raises FormatError: saying what is wrong
        """
        try:
            magic, version, room, was_running, stream_format, offset, unused = _FIXED.unpack_from(
                data
            )
        except struct.error:
            raise FormatError("a memory file is shorter than libvirt's header") from None
        if magic == _UNFINISHED:
            raise FormatError("a memory file was not written to its end")
        if magic != _MAGIC or version != _VERSION or any(unused):
            raise FormatError("a memory file does not begin as libvirt's (version 2) do")
        if not 0 < room <= MAX_ROOM or offset >= room or _FIXED.size + room > len(data):
            raise FormatError(f"the header of a memory file tells of {room} bytes, and of {offset}")
        content = data[_FIXED.size : _FIXED.size + room]
        definition, end = _text(content, 0)
        cookie = None
        if offset:
            if offset != end:
                raise FormatError(f"the cookie of a memory file is at {offset}, not at {end}")
            cookie, end = _text(content, offset)
        if content.count(0, end) != room - end:
            raise FormatError("there is something behind the definition in a memory file")
        return cls(room, was_running, stream_format, definition, cookie)

    def pack(self) -> bytes:
        """The bytes of the header.

        :raises FormatError: definition and cookie do not fit into the room that there is
        """
        definition = self.definition.encode() + b"\0"
        cookie = b"" if self.cookie is None else self.cookie.encode() + b"\0"
        content = definition + cookie
        if len(content) > self.room:
            raise FormatError(
                f"a memory file has {self.room} bytes of room for its definition, "
                f"{len(content)} are needed",
                hint="Choose a shorter name",
            )
        offset = 0 if self.cookie is None else len(definition)
        numbers = (_VERSION, self.room, self.was_running, self.stream_format, offset)
        return _FIXED.pack(_MAGIC, *numbers, b"") + content.ljust(self.room, b"\0")

    def is_behind_other_filters(self, definition: etree._Element) -> bool:
        """Whether this tells of the same domain, but of other network filters.

        :raises FormatError: what is in the file is no definition
        """
        root = _definition(self.definition)
        same = all(_only(root, tag).text == _only(definition, tag).text for tag in ("name", "uuid"))
        return same and _filters(root) != _filters(definition)

    def like(
        self, definition: etree._Element, *, paths: Mapping[str, str] | None = None
    ) -> MemoryHeader:
        """The header of the memory of a domain, as one of its snapshots has it.

        :param definition: ``<domain>`` of that snapshot, whose name, UUID, networks, filters and
            files it gets
        :param paths: path of a file in that definition to its path here
        :raises FormatError: what is in the file is no definition, or has other network cards
        """
        here = paths or {}
        root = _definition(self.definition)
        for tag in ("name", "uuid"):
            _only(root, tag).text = _only(definition, tag).text
        _plug(root, definition)
        files = {disk.target: disk.path for disk in disks_of(definition) if disk.path}
        _move_disks(root, {target: here.get(path, path) for target, path in files.items()})
        forget_the_host(root)
        return replace(self, definition=serialise(root))


def _text(content: bytes, start: int) -> tuple[str, int]:
    """A text that ends with NUL, and where the next could begin."""
    end = content.find(0, start)
    if end <= start:
        raise FormatError("a definition in a memory file is empty or has no end")
    try:
        return content[start:end].decode(), end + 1
    except UnicodeDecodeError as error:
        raise FormatError(f"a definition in a memory file is no text: {error}") from None


def _definition(xml: str) -> etree._Element:
    root = parse(xml)
    if root.tag != "domain":
        raise FormatError("the definition in a memory file is not that of a domain")
    return root


def _filters(root: etree._Element) -> list[str]:
    """Of all cards."""
    references = root.iterfind("devices/interface/filterref")
    return sorted(reference.get("filter", "") for reference in references)


def _only(root: etree._Element, tag: str) -> etree._Element:
    found = root.findall(tag)
    if len(found) != 1:
        raise FormatError(f"the definition in a memory file has {len(found)} elements <{tag}>")
    return found[0]


def _plug(root: etree._Element, like: etree._Element) -> None:
    """Into the networks, and behind the filters, that the cards of the other one have."""
    cards = {_mac(card): card for card in like.iterfind("devices/interface")}
    for card in root.findall("devices/interface"):
        other = cards.get(_mac(card))
        if other is None:
            raise FormatError("a memory file has a network card that its snapshot does not have")
        card.set("type", "network")  # libvirt says "bridge" in networks of that forward mode
        for tag, attribute in (("source", "network"), ("filterref", "filter")):
            for stale in card.findall(tag):
                card.remove(stale)
            for told in other.findall(tag):
                etree.SubElement(card, tag, {attribute: told.get(attribute, "")})


def _mac(card: etree._Element) -> str:
    mac = card.find("mac")
    return "" if mac is None else plain_mac(mac.get("address", ""))


def _move_disks(root: etree._Element, files: Mapping[str, str]) -> None:
    for disk in root.findall("devices/disk"):
        for chain in disk.findall("backingStore"):  # believed by QEMU, and out of date
            disk.remove(chain)
        target, source = disk.find("target"), disk.find("source")
        file = None if target is None else files.get(target.get("dev", ""))
        if source is not None and file is not None:
            source.clear()
            source.set("file", file)
