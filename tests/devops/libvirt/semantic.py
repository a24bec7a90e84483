"""Comparing XML by what it says, apart from spaces and the order of attributes and elements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from lxml import etree

Said: TypeAlias = "tuple[str, tuple[tuple[str, str], ...], str, tuple[Said, ...]]"

ORDERED = frozenset({"boot", "disk", "interface", "host", "cell"})
"""Elements whose order among themselves means something."""

ADDED_TO_DOMAINS = (
    "uuid",
    "currentMemory",
    "vcpu/@placement",
    "os/type/@machine",
    "cpu",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "devices/*/address",
    "devices/controller[@type!='usb']",
    "devices/controller/@index",
    "devices/disk[@device='cdrom']/readonly",
    "devices/serial/target/model",
    "devices/serial/target/@type",
    "devices/input",
    "devices/audio",
    "devices/memballoon",
    "devices/graphics/listen",
    "devices/graphics/@port",
    "devices/video/model/@primary",
    "devices/video/model/@vram",  # 9216 KiB, rounded up to 16384 by libvirt
)
"""What libvirt 9 writes into a domain of its own accord, as XPath."""


def said(xml: str, *, without: Iterable[str] = ()) -> Said:
    """What a document says: tag, attributes, text and children of its root.

    :param without: XPath expressions of the elements and attributes to leave out
    """
    root = etree.fromstring(xml)
    for path in without:
        for found in root.xpath(path):
            _drop(found)
    return _said(root)


def _said(element: etree._Element) -> Said:
    children = [child for child in element if isinstance(child.tag, str)]
    ordered = tuple(_said(child) for child in children if child.tag in ORDERED)
    others = sorted(_said(child) for child in children if child.tag not in ORDERED)
    attributes = tuple(sorted((str(key), str(value)) for key, value in element.attrib.items()))
    return str(element.tag), attributes, (element.text or "").strip(), (*ordered, *others)


def _drop(found: etree._Element | etree._ElementUnicodeResult) -> None:
    parent = found.getparent()
    assert parent is not None, "the root itself"
    if isinstance(found, etree._Element):
        parent.remove(found)
    else:
        del parent.attrib[found.attrname]
