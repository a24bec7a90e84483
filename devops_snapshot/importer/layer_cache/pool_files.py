"""Files of the storage pool that may have what an import needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt

from ...contract import Pool
from ...errors import DevopsError
from ...hypervisor import asking
from ...snapshot.domain_xml import disks_of, parse
from ...snapshot.images import images_of
from ...snapshot.pool import is_local
from ...store import FileAtHand, LayerReader
from ...write_guard import guarded

_MOST = 4
"""Files of one size that are looked at."""


@dataclass(frozen=True)
class PoolFiles:
    """What there is in a pool.

    :param by_size: bytes to the files that have so many
    :param unwritten: files that others only read: something stands on them, or they are in a drive
        that cannot write
    """

    by_size: Mapping[int, Sequence[Path]] = field(default_factory=dict)
    unwritten: frozenset[Path] = frozenset()

    @classmethod
    def of(cls, pool: Pool) -> PoolFiles:
        """Look at all of them; a pool of another host has none that could be used."""
        if not is_local(pool):
            return cls()
        by_size: dict[int, list[Path]] = defaultdict(list)
        images = images_of(pool).values()
        for image in images:
            path = Path(image.path)
            if path.is_file() and not path.is_symlink():
                by_size[path.stat().st_size].append(path)
        read, written = _used(pool.conn)
        read |= {image.backing for image in images if image.backing}
        return cls(by_size, frozenset(Path(path) for path in read - written))

    def alike(self, size: int) -> list[Path]:
        """Files that may be what is wanted, or may have been it once."""
        return list(self.by_size.get(size, ()))[:_MOST]

    def find(self, layer: LayerReader) -> Path | None:
        """A file that is the wanted one, and that nobody writes to."""
        for path in self.alike(layer.size):
            if path in self.unwritten and is_same(layer, path):
                return path
        return None


def is_same(layer: LayerReader, path: Path) -> bool:
    """Whether a file is the wanted one, and nobody is writing to it."""
    try:
        with guarded([str(path)]), FileAtHand.open(path) as file:
            return layer.is_in(file)
    except DevopsError:
        return False


def _used(connection: Any) -> tuple[set[str], set[str]]:
    """Files that domains read only, and those that they write to."""
    read: set[str] = set()
    written: set[str] = set()
    for document in _definitions(connection):
        for disk in disks_of(parse(document)):
            if disk.path:
                (written if disk.writable or disk.shared else read).add(disk.path)
    return read, written


def _definitions(connection: Any) -> Iterator[str]:
    with asking("reading the definitions of domains"):
        for domain in connection.listAllDomains():
            yield domain.XMLDesc(0)
            yield domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
