"""Bringing a node back from a memory file on given disks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libvirt
from lxml import etree

from ..hypervisor import asking
from .domain_xml import parse, serialise, with_sources
from .guard import guarded
from .notes import without_notes


def adapted_to_memory(
    connection: Any,
    memory_path: str,
    sources: Mapping[str, tuple[str, str]],
    *,
    emulator: str | None,
) -> str:
    """The ``<domain>`` for :func:`restore_memory`, with its disks on ``sources``.

    Starts from the XML inside the file: it is the one whose guest ABI the memory fits. Its disks,
    however, name the layers that were frozen then; left alone, the guest would write into them.

    :param sources: disk target to (path, format)
    :param emulator: path of QEMU on this host; the file names the one where it was saved
    :raises HypervisorError: libvirt cannot read the file
    """
    with asking(f"reading the domain in {memory_path}"):
        saved = connection.saveImageGetXMLDesc(
            memory_path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
        )
    definition = with_sources(parse(saved), sources, emulator=emulator)
    without_notes(definition)
    return serialise(definition)


def restore_memory(connection: Any, memory_path: str, definition: str) -> None:
    """Let a guest come back, paused, from a memory file.

    :param definition: as :func:`adapted_to_memory` makes it
    :raises HypervisorError: libvirt or QEMU refused
    """
    with asking(f"restoring the memory from {memory_path}"):
        connection.restoreFlags(memory_path, definition, libvirt.VIR_DOMAIN_SAVE_PAUSED)


def define(
    connection: Any, definition: etree._Element, sources: Mapping[str, tuple[str, str]]
) -> Any:
    """Define (again) a domain on ``sources``."""
    adapted = with_sources(definition, sources)
    with asking(f"defining domain {adapted.findtext('name')}"):
        return connection.defineXML(serialise(adapted))


def forget_chains(domain: Any) -> None:
    """Let libvirt read the chains from the images when the domain starts the next time.

    While a guest runs, libvirt writes them into the persistent definition as well. There they stay,
    and QEMU believes them, when layers have been merged or chains flattened since.
    """
    with asking(f"reading the definition of {domain.name()}"):
        flags = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
        inactive = parse(domain.XMLDesc(flags))
    if inactive.find("./devices/disk/backingStore/source") is not None:
        define(domain.connect(), inactive, {})


def redefine(domain: Any, document: str, *, current: bool = True) -> Any:
    """Tell libvirt of a snapshot, if ``current`` as the one that "now" descends from."""
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
    if current:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
    with asking(f"recording a snapshot of {domain.name()}"):
        version = domain.connect().getLibVersion()
        return domain.snapshotCreateXML(guarded(document, libvirt_version=version), flags)
