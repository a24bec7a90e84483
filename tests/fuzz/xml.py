"""XML of libvirt's as an attacker would change it."""

from __future__ import annotations

import copy

from hypothesis import strategies as st
from lxml import etree

from . import hostile

VALUES = (
    "",
    " ",
    "/etc/shadow",
    "../../../../etc/shadow",
    "/var/lib/libvirt/images/../../../../etc/shadow",
    "json:{'driver':'file'}",
    "nbd:unix:/run/x",
    "fat:rw:/etc",
    "-x",
    "a,b=c",
    "two\nlines",
    "\x85\u2028",
    "\u202etxt",
    "qcow2",
    "raw",
    "memory",
    "block",
    "network",
    "external",
    "internal",
    "manual",
    "kvm",
    "0",
    "-1",
    "9" * 30,
    "9" * 5000,
    "18446744073709551615",
    "1.5",
    "GiB",
    "x" * 300,
    "é" * 200,
)
ELEMENTS = (
    "<x/>",
    "<source file='/etc/shadow'/>",
    "<source dev='/dev/sda'/>",
    "<source network='default'/>",
    "<disk type='block'><source dev='/dev/sda'/><target dev='vdz'/></disk>",
    "<disk type='file'><source file='/etc/shadow'/><target dev='vdz'/></disk>",
    "<disk name='vdz' snapshot='external' type='file'><source file='/etc/shadow'/></disk>",
    "<hostdev mode='subsystem' type='usb'><source/></hostdev>",
    "<filesystem><source dir='/'/><target dir='x'/></filesystem>",
    "<memory snapshot='external' file='/etc/shadow'/>",
    "<memory unit='TiB'>1000000</memory>",
    "<name>other</name>",
    "<uuid>11111111-2222-3333-4444-555555555555</uuid>",
    "<driver type='qcow2'/>",
    "<domain type='kvm'><name>x</name></domain>",
    "<seclabel type='none'/>",
    "<cputune><vcpusched vcpus='0' scheduler='fifo' priority='99'/></cputune>",
    "<cpu><numa><cell id='0' cpus='0' memory='999999999999' unit='TiB'/></numa></cpu>",
    "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<q:arg value='-S'/></q:commandline>",
)
CONTENT = ("<!-- x -->", "<?x y?>", "<![CDATA[<x/>]]>", "&#10;", "&lt;", "a<b/>c")


@st.composite
def changed(draw: st.DrawFn, xml: str) -> str:
    """The document with some elements changed, repeated or lost, or its text spoilt."""
    if draw(st.integers(0, 7)) == 0:
        return draw(hostile.spoilt(xml.encode(), most=2)).decode(errors="replace")
    root = etree.fromstring(xml)
    for _ in range(draw(st.integers(1, 3))):
        elements = [element for element in root.iter() if isinstance(element.tag, str)]
        element = elements[draw(st.integers(0, len(elements) - 1))]
        _change(draw, element, elements)
    text = etree.tostring(root, encoding="unicode")
    if draw(st.integers(0, 4)) == 0:
        at = [i for i, character in enumerate(text) if character == ">"]
        place = draw(st.sampled_from(at)) + 1
        text = text[:place] + draw(st.sampled_from(CONTENT)) + text[place:]
    return text


def _change(draw: st.DrawFn, element: etree._Element, others: list[etree._Element]) -> None:
    how = draw(st.sampled_from(["attribute", "attribute", "text", "add", "add", "repeat", "lose"]))
    parent = element.getparent()
    if how == "attribute":
        known = [str(key) for key in element.attrib] or ["type"]
        new = ["file", "type", "snapshot", "unit", "socket", "queues"]
        element.set(draw(st.sampled_from([*known, *known, *new])), _fit(draw(_values)))
    elif how == "text":
        element.text = _fit(draw(_values))
    elif how == "add":
        element.insert(0, etree.fromstring(draw(st.sampled_from(ELEMENTS))))
    elif how == "repeat":
        element.append(copy.deepcopy(others[draw(st.integers(0, len(others) - 1))]))
    elif parent is not None:
        parent.remove(element)


_values = st.one_of(st.sampled_from(VALUES), st.text(max_size=10))


def _fit(text: str) -> str:
    """XML has no other control characters, however they are written."""
    return "".join(
        c
        for c in text
        if c in "\t\n\x85"
        or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
    )
