"""What libvirt tells of the file of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lxml import etree

from ..hypervisor import asking


@dataclass(frozen=True)
class VolumeState:
    """What stays the same while nobody writes to a volume's file.

    :param size: bytes of the file, holes included; not what a guest sees
    :param allocated: bytes on disk
    :param modified: time of the last modification, as libvirt writes it
    """

    size: int
    allocated: int
    modified: str

    @classmethod
    def of(cls, volume: Any) -> VolumeState:
        """Ask libvirt, which looks at the file.

        :raises HypervisorError: it is gone
        """
        with asking(f"looking at {volume.name()}"):
            root = etree.fromstring(volume.XMLDesc())
        return cls(
            size=int(root.findtext("physical") or root.findtext("capacity") or 0),
            allocated=int(root.findtext("allocation") or 0),
            modified=root.findtext("target/timestamps/mtime") or "",
        )

    @property
    def is_sparse(self) -> bool:
        """Whether so much of it is holes that they are worth to be told."""
        return self.allocated < self.size // 2
