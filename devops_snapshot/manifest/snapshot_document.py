"""What the metadata of a snapshot may say, beside the definitions in it: an allow-list.

libvirt deletes the files that a snapshot names with it, and looks for them in other ways than a
reader of its documentation would: any element in ``<disks>`` is a disk to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from ..snapshot.guard import MARK
from .definition import foreign, garbled, twice

_SNAPSHOT = frozenset(
    "name description state creationTime parent memory disks domain inactiveDomain cookie "
    "revertDisks active".split()
)
_DISK = frozenset(("driver", "source", MARK))
_KINDS = ("no", "internal", "external", "manual")
_DEFINITIONS = ("domain", "inactiveDomain")
_DROPPED = ("revertDisks",)  # by an import
_PLAIN = ("name", "description", "state", "creationTime", "parent", "disks")  # no attributes
_FREE_TEXT = ("description", "cookie")


def faults_of_snapshot(root: etree._Element) -> Iterator[str]:
    """What no snapshot of an environment has.

    :param root: ``<domainsnapshot>``
    """
    yield from foreign(root, _SNAPSHOT)
    yield from twice(root)
    yield from garbled(root, besides=(*_DEFINITIONS, *_DROPPED, *_FREE_TEXT))
    for child in root:
        for key in child.attrib if child.tag in _PLAIN else ():
            yield f"<{child.tag} {key!s}=...>"
    for text in root.findall("description"):
        yield from foreign(text, ())
    for parent in root.findall("parent"):
        yield from foreign(parent, ("name",))
        yield from twice(parent)
    for memory in root.findall("memory"):
        yield from foreign(memory, ())
        yield from _kind(memory)
        if memory.get("snapshot") != "external" and memory.get("file") is not None:
            yield "a file of memory that is not external"
    for disks in root.findall("disks"):
        yield from foreign(disks, ("disk",))
        for disk in disks:
            yield from _of_disk(disk)


def _kind(element: etree._Element) -> Iterator[str]:
    kind = element.get("snapshot", "no")
    if kind not in _KINDS:
        yield f"<{element.tag} snapshot={kind!r}>"


def _of_disk(disk: etree._Element) -> Iterator[str]:
    yield from foreign(disk, _DISK)
    yield from twice(disk)
    yield from _kind(disk)
    if disk.get("type", "file") != "file":
        yield f"<disk type={disk.get('type')!r}>"
    for child in disk:
        yield from foreign(child, ())
    for source in disk.findall("source"):
        unknown = [str(key) for key in source.attrib if key not in ("file", "index")]
        yield from (f"<source {key}=...>" for key in unknown)
    for driver in disk.findall("driver"):
        if driver.get("type", "qcow2") != "qcow2":
            yield f"<driver type={driver.get('type')!r}>"
