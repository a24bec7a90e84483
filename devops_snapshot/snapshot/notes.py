"""Notes on running domains, which libvirt keeps for exactly as long as QEMU runs.

They tell the next command what one that was killed had begun: a guest that it held still, or let
run for a moment. They are elements of the domain's ``<metadata>``, on the running domain alone.
"""

from __future__ import annotations

from typing import Any

import libvirt
from lxml import etree

from ..connection import found
from ..hypervisor import asking

_LIFE = "life"
_URI = "urn:devops-snapshot:"
_ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def write(domain: Any, name: str, **values: str) -> None:
    """Leave a note on a domain that is on, in place of an earlier one of that name."""
    text = etree.tostring(etree.Element(name, {**values, _LIFE: _life(domain)}), encoding="unicode")
    _set(domain, name, text)


def read(domain: Any, name: str) -> dict[str, str] | None:
    """The values of a note; None where there is none."""
    with asking(f"reading a note on {domain.name()}"):
        if not domain.isActive():
            return None
        text = found(
            lambda uri: domain.metadata(_ELEMENT, uri, _LIVE),
            _URI + name,
            libvirt.VIR_ERR_NO_DOMAIN_METADATA,
        )
    if text is None:
        return None
    values = {str(key): str(value) for key, value in etree.fromstring(text).attrib.items()}
    return values if values.pop(_LIFE, None) == _life(domain) else None


def remove(domain: Any, name: str) -> None:
    """Take a note away, if it is there and the domain is on."""
    if read(domain, name) is not None:
        _set(domain, name, None)


def _life(domain: Any) -> str:
    """Of the QEMU that runs: a note that came back with a memory file is from another one."""
    return str(domain.ID())


def without_notes(definition: etree._Element) -> None:
    """Remove all notes from a ``<domain>``: they are true of the running one only."""
    for metadata in definition.findall("./metadata"):
        for element in list(metadata):
            if isinstance(element.tag, str) and element.tag.startswith("{" + _URI):
                metadata.remove(element)
        if not len(metadata):
            definition.remove(metadata)


def _set(domain: Any, name: str, text: str | None) -> None:
    with asking(f"leaving a note on {domain.name()}"):
        domain.setMetadata(_ELEMENT, text, f"devops-{name}", _URI + name, _LIVE)
