"""Reading and adapting domain XML: which file stands behind which disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from ..errors import FormatError

# libvirt's documents need no entities, no DTD and no network; neither does anything hostile get
# them.
# Comments would split texts, so that libvirt reads another text than whoever looks at it here.
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    remove_blank_text=True,
    remove_comments=True,
    remove_pis=True,
)

LARGEST = 2 << 20
"""Characters of a document; parsed, it takes up to thirty times as many bytes."""

_LONGEST_REASON = 200  # characters that are told of what the parser says


@dataclass(frozen=True)
class DomainDisk:
    """One ``<disk>`` of a domain.

    :param target: ``sda``, ``sdb`` ... whatever the bus
    :param device: ``disk``, ``cdrom`` ...
    :param format: driver type: ``qcow2``, ``raw``
    :param path: its file; None for an empty drive
    :param writable: the guest can change it, so that a snapshot needs an overlay
    :param shared: it can be changed by several guests, or over several paths, at once: no overlay
        can be put on it, so that a snapshot needs a copy
    """

    target: str
    device: str
    format: str
    path: str | None
    writable: bool
    shared: bool = False


def parse(xml: str | bytes) -> etree._Element:
    """Parse a document of libvirt's.

    :raises FormatError: not well-formed, or larger than any
    """
    if len(xml) > LARGEST:
        raise FormatError(f"an XML document of {len(xml)} characters, which libvirt never writes")
    try:
        root = etree.fromstring(xml, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:  # the latter: an encoding is declared
        reason = str(error)[:_LONGEST_REASON]
        raise FormatError(f"not an XML document: {reason}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise FormatError("an XML document with a DOCTYPE, which libvirt never writes")
    return root


def serialise(element: etree._Element) -> str:
    """The element as libvirt takes it."""
    return etree.tostring(element, encoding="unicode", pretty_print=True)


def disks_of(domain: etree._Element) -> tuple[DomainDisk, ...]:
    """All disks of a ``<domain>`` (or ``<inactiveDomain>``) element, in document order."""
    return tuple(_disk(element) for element in domain.findall("./devices/disk"))


def _disk(element: etree._Element) -> DomainDisk:
    device = element.get("device", "disk")
    source = element.find("source")
    driver = element.find("driver")
    target = element.find("target")
    if target is None or not target.get("dev"):
        raise FormatError("a <disk> without a target")
    can_be_written = device == "disk" and element.find("readonly") is None
    shared = can_be_written and element.find("shareable") is not None
    return DomainDisk(
        target=target.get("dev", ""),
        device=device,
        format="raw" if driver is None else driver.get("type", "raw"),
        path=None if source is None else source.get("file"),
        writable=can_be_written and not shared,
        shared=shared,
    )


def open_chains(domain: etree._Element) -> dict[str, tuple[str, ...]]:
    """Of a running domain: disk target to all files that QEMU has open for it, top first."""
    chains = {}
    for disk in domain.findall("./devices/disk"):
        target, level, chain = disk.find("target"), disk, list[str]()
        while (source := level.find("source")) is not None:
            chain.append(source.get("file", ""))
            below = level.find("backingStore")
            if below is None:
                break
            level = below
        if target is not None and chain:
            chains[target.get("dev", "")] = tuple(chain)
    return chains


def with_sources(
    domain: etree._Element, sources: Mapping[str, tuple[str, str]], *, emulator: str | None = None
) -> etree._Element:
    """A copy whose disks stand on other files, run by another emulator if one is given.

    ``<backingStore>`` is dropped from every disk: where it stays, QEMU believes it and silently
    skips layers; without it, libvirt reads the chain from the images.

    :param sources: disk target to (path, format)
    """
    copy = parse(etree.tostring(domain))
    program = copy.find("./devices/emulator")
    if emulator is not None and program is not None:
        program.text = emulator
    for element in copy.findall("./devices/disk"):
        for stale in element.findall("backingStore") + element.findall("mirror"):
            element.remove(stale)
        target = element.find("target")
        if target is None or target.get("dev") not in sources:
            continue
        path, image_format = sources[str(target.get("dev"))]
        source = element.find("source")
        if source is None:
            source = etree.SubElement(element, "source")
        for stale in list(source):
            source.remove(stale)
        source.attrib.pop("index", "")
        source.set("file", path)
        driver = element.find("driver")
        if driver is not None:
            driver.set("type", image_format)
    return copy
