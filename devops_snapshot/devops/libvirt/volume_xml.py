"""A storage volume as libvirt's XML."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from .elements import E


@dataclass(frozen=True)
class Backing:
    """The image that a new qcow2 volume lies on."""

    path: str
    format: str


@dataclass(frozen=True)
class VolumeSpec:
    """A volume to be created; ``capacity`` in bytes as the guest sees it."""

    name: str
    capacity: int
    format: str
    backing: Backing | None = None


def volume_xml(volume: VolumeSpec) -> str:
    """What ``virStoragePool.createXML`` takes to make the volume, readable by everybody.

    Without ``<allocation>`` libvirt would write a raw one full of zeros, up to its capacity.
    """
    root = E.volume(
        E.name(volume.name),
        E.capacity(str(volume.capacity), unit="bytes"),
        E.allocation("0"),
        E.target(E.format(type=volume.format), E.permissions(E.mode("0644"))),
    )
    if volume.backing is not None:
        root.append(
            E.backingStore(E.path(volume.backing.path), E.format(type=volume.backing.format))
        )
    return etree.tostring(root, encoding="unicode")
