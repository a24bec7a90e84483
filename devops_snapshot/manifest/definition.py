"""What the definition of a domain may say: an allow-list.

A manifest is not to be trusted, and a definition reaches deep into the host: devices, files,
sockets, firmware, arguments of QEMU. Only what environments of fuel-devops have passes, wherever
the definition stands: in the manifest, in a snapshot's metadata or inside a memory state. What is
refused here on import is refused on export as well, so that no export is made in vain.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lxml import etree

from ..errors import FormatError
from .bounds import excesses, memory_of

_DOMAIN = frozenset(
    "name uuid title description metadata memory currentMemory maxMemory memoryBacking vcpu vcpus "
    "cputune iothreads resource os features cpu clock on_poweroff on_reboot on_crash pm devices "
    "seclabel".split()
)
_OS = frozenset(("type", "boot", "bootmenu", "bios"))
_CHARACTER_DEVICE = frozenset("source target protocol alias address".split())
_PLACE = frozenset(("alias", "address"))
# What each device may have inside it.
_DEVICES = {
    "emulator": frozenset[str](),
    "disk": _PLACE
    | frozenset(
        "driver source target serial wwn vendor product readonly shareable boot iotune blockio "
        "geometry backingStore mirror".split()
    ),
    "controller": _PLACE | frozenset("driver target model master".split()),
    "interface": _PLACE
    | frozenset("mac source target model driver link mtu boot filterref".split()),
    "serial": _CHARACTER_DEVICE,
    "console": _CHARACTER_DEVICE,
    "channel": _CHARACTER_DEVICE,
    "input": _PLACE | {"driver"},
    "graphics": frozenset(
        "listen channel image jpeg zlib playback streaming clipboard mouse filetransfer".split()
    ),
    "audio": frozenset[str](),
    "sound": _PLACE | {"codec"},
    "video": _PLACE | frozenset(("model", "driver")),
    "memballoon": _PLACE | frozenset(("stats", "driver")),
    "rng": _PLACE | frozenset(("backend", "rate", "driver")),
    "watchdog": _PLACE,
    "panic": _PLACE,
    "hub": _PLACE,
}
# The kinds of a device that stay within libvirt and QEMU.
_KINDS = {
    "disk": ("file",),
    "interface": ("network",),
    "serial": ("pty",),
    "console": ("pty",),
    "channel": ("unix", "spicevmc", "pty"),
    "input": ("mouse", "tablet", "keyboard"),
    "graphics": ("vnc", "spice"),
    "audio": ("none", "spice"),
}
# What may stand several times in its parent. libvirt reads the first of all others, or the last,
# depending on its version, while others read another one.
_REPEATED = {
    "domain": ("seclabel",),
    "os": ("boot",),
    "graphics": ("listen", "channel"),
    "sound": ("codec",),
}
_CPU_TIME = frozenset(
    "shares period quota global_period global_quota emulator_period emulator_quota "
    "iothread_period iothread_quota vcpupin emulatorpin iothreadpin".split()
)
# Names that libvirt hands to QEMU as they are.
_NAMES = {
    "os/type": "machine arch",
    "cpu/feature": "name",
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._+-]*")
_CARDS = re.compile(r"virtio(-.*)?|e1000[a-z0-9-]*|rtl8139|pcnet|ne2k_pci|vmxnet3|igb|i825.*")
_MEMORY_BACKING = frozenset(("hugepages", "nosharepages"))
_NO_DUMP = frozenset(("destroy", "restart", "preserve", "rename-restart"))
_WATCHDOG = frozenset(("reset", "shutdown", "poweroff", "pause", "none", "inject-nmi"))
_LISTENERS = ("address", "network", "none")
_ENTROPY = ("/dev/random", "/dev/urandom", "/dev/hwrng")
_TERMINALS = "/dev/pts/"
_CHANNELS = ("/var/lib/libvirt/qemu/channel/", "/run/libvirt/qemu/channel/")
_LONGEST_SHOWN = 40  # characters
_LONGEST_NAME = 255  # characters that libvirt takes for the name of a file
_FREE_TEXT = frozenset("title description metadata seclabel resource".split())
# Where a slash may stand because the place is checked by itself, or replaced, or names no file.
_SLASHES = frozenset(
    [
        ("devices/emulator", ""),
        ("devices/disk/source", "file"),
        ("devices/disk/serial", ""),
        ("devices/disk/vendor", ""),
        ("devices/disk/product", ""),
        ("devices/rng/backend", ""),
        ("devices/graphics", "passwd"),
        ("devices/console", "tty"),
        *((f"devices/{device}/source", "path") for device in ("serial", "console", "channel")),
        ("clock", "timezone"),
    ]
)


@dataclass(frozen=True)
class Definition:
    """A definition with nothing in it that could reach into the host.

    :param type: ``kvm`` or ``qemu``
    :param memory: bytes that it may fill
    :param networks: names of the networks that it is plugged into
    :param nwfilters: names of the filters of its traffic
    """

    name: str
    uuid: str
    type: str
    architecture: str
    memory: int
    networks: frozenset[str]
    nwfilters: frozenset[str]
    root: etree._Element


def check_definition(owner: str, root: etree._Element) -> Definition:
    """Refuse what no environment of fuel-devops has.

    :param owner: whose it is, for the message
    :param root: ``<domain>``, or an ``<inactiveDomain>`` of a snapshot
    :raises FormatError: naming the element
    """
    kind, name, uuid = root.get("type", ""), root.findtext("name"), root.findtext("uuid")
    machine = root.find("os/type")
    named = name and uuid and max(len(name), len(uuid)) <= _LONGEST_NAME
    if kind not in ("kvm", "qemu") or not name or not uuid or not named or machine is None:
        raise FormatError(f"{owner} has no usable domain definition")
    for fault in _faults(root):
        raise FormatError(
            f"the definition of {owner} has {fault}, which no environment of fuel-devops has"
        )
    sources = root.findall("devices/interface/source")
    nwfilters = root.findall("devices/interface/filterref")
    return Definition(
        name=name,
        uuid=uuid,
        type=kind,
        architecture=architecture_of(root),
        memory=memory_of(root),
        networks=frozenset(source.get("network", "") for source in sources),
        nwfilters=frozenset(nwfilter.get("filter", "") for nwfilter in nwfilters),
        root=root,
    )


def architecture_of(root: etree._Element) -> str:
    """Of the processors of a ``<domain>``."""
    machine = root.find("os/type")
    return "" if machine is None else machine.get("arch", "")


def _faults(root: etree._Element) -> Iterator[str]:
    yield from foreign(root, _DOMAIN)
    yield from twice(root, _REPEATED["domain"])
    yield from (f"<domain {key!s}=...>" for key in root.attrib if key not in ("type", "id"))
    for backing in root.findall("memoryBacking"):
        yield from foreign(backing, _MEMORY_BACKING)
    for text in (*root.findall("title"), *root.findall("description")):
        yield from foreign(text, ())
    for tuning in root.findall("cputune"):
        yield from foreign(tuning, _CPU_TIME)
    crash = root.findtext("on_crash", "destroy")
    if crash not in _NO_DUMP:
        yield f"<on_crash>{crash}</on_crash>"
    system = root.find("os")
    if system is not None:
        yield from foreign(system, _OS)
        yield from twice(system, _REPEATED["os"])
        yield from (f"<os {attribute!s}=...>" for attribute in system.attrib)
    for label in root.findall("seclabel"):
        unconfined = label.get("type") != "dynamic" and label.get("model") != "none"
        if unconfined or label.find("baselabel") is not None:
            yield "a <seclabel> of its own"
    for devices in root.findall("devices"):
        yield from foreign(devices, _DEVICES)
        for device in _elements(devices):
            yield from _device_faults(device)
    for child in _elements(root):
        if child.tag not in _FREE_TEXT:
            yield from _paths(child, str(child.tag))
    yield from garbled(root, besides=_FREE_TEXT)
    yield from _names(root)
    yield from excesses(root)


def twice(parent: etree._Element, repeated: Collection[str] = ()) -> Iterator[str]:
    """Children of one name, but for those that may stand several times."""
    counted = Counter(str(child.tag) for child in _elements(parent))
    yield from (f"<{tag}> twice" for tag, n in counted.items() if n > 1 and tag not in repeated)


def garbled(element: etree._Element, *, besides: Collection[str] = ()) -> Iterator[str]:
    """Texts that libvirt would read otherwise than others do, or that no terminal shows.

    :param besides: children that may say anything
    """
    parts = [element.text, *(child.tail for child in element)]
    text = "".join(filter(None, parts)).strip()
    if text and len(element):
        yield f"text beside elements in <{element.tag}>"
    yield from (f"the foreign {name!s}" for name in (element.tag, *element.keys()) if "{" in name)
    for value in (text, *map(str, element.attrib.values())):
        if not value.isprintable():
            yield f"{value[:_LONGEST_SHOWN]!r} in <{element.tag}>"
    for child in _elements(element):
        if child.tag not in besides:
            yield from garbled(child)


def _names(root: etree._Element) -> Iterator[str]:
    values = [element.text or "" for element in root.findall("cpu/model")]
    for place, attributes in _NAMES.items():
        for element in root.findall(place):
            values += [element.get(attribute, "") for attribute in attributes.split()]
    for value in values:
        if not _PLAIN_NAME.fullmatch(value):
            yield f"the name {value[:_LONGEST_SHOWN]!r}"


def _elements(parent: etree._Element) -> Iterator[etree._Element]:
    """The children, without comments and processing instructions."""
    return (child for child in parent if isinstance(child.tag, str))


def foreign(element: etree._Element, allowed: Collection[str]) -> Iterator[str]:
    """Children that are not allowed."""
    for child in _elements(element):
        if child.tag not in allowed:
            yield f"<{etree.QName(child).localname}> in <{etree.QName(element).localname}>"


def _device_faults(device: etree._Element) -> Iterator[str]:
    tag, kind = str(device.tag), device.get("type", "")
    yield from foreign(device, _DEVICES.get(tag, ()))
    yield from twice(device, _REPEATED.get(tag, ()))
    if tag in _KINDS and kind not in _KINDS[tag]:
        yield f"<{tag} type={kind!r}>"
    if tag == "disk":
        yield from _disk_faults(device)
    elif tag == "interface":
        for nwfilter in device.findall("filterref"):
            yield from foreign(nwfilter, ())
        for model in device.findall("model"):
            if not _CARDS.fullmatch(model.get("type", "virtio")):
                yield f"<model type={model.get('type')!r}> in <interface>"
    elif tag == "rng":
        yield from _entropy_faults(device)
    elif tag == "graphics":
        kinds = [listen.get("type", "") for listen in device.findall("listen")]
        yield from (f"<listen type={kind!r}>" for kind in kinds if kind not in _LISTENERS)
        if "socket" in device.attrib:
            yield f"<graphics socket={device.get('socket')!r}>"
    elif tag == "watchdog" and device.get("action", "reset") not in _WATCHDOG:
        yield f"<watchdog action={device.get('action')!r}>"
    elif tag in ("serial", "console", "channel"):
        yield from _socket_faults(device)


def _disk_faults(disk: etree._Element) -> Iterator[str]:
    if disk.get("device", "disk") not in ("disk", "cdrom"):
        yield f"<disk device={disk.get('device')!r}>"


def _entropy_faults(rng: etree._Element) -> Iterator[str]:
    for backend in rng.findall("backend"):
        model = backend.get("model")
        harmless = model == "builtin" or (model == "random" and backend.text in _ENTROPY)
        if not harmless or len(backend):
            yield f"<backend model={model!r}>{backend.text or ''}</backend>"


def _socket_faults(device: etree._Element) -> Iterator[str]:
    """Terminals and agents' sockets are named by libvirt; a name of another is somebody's file."""
    tag, is_channel = str(device.tag), device.get("type") == "unix"
    for source in device.findall("source"):
        path = posixpath.normpath(source.get("path", ""))
        own = path.startswith(_CHANNELS if is_channel else _TERMINALS)
        if (source.get("path") and not own) or source.get("mode", "bind") != "bind":
            yield f"<{tag}> on {source.get('path')!r}"


def _paths(element: etree._Element, place: str) -> Iterator[str]:
    """Whatever looks like the path of a file, where none belongs."""
    if place in ("devices/disk/backingStore", "devices/disk/mirror"):
        return  # dropped wherever a definition is used
    values = {"": element.text or "", **{str(k): str(v) for k, v in element.attrib.items()}}
    for attribute, value in values.items():
        if "/" in value and (place, attribute) not in _SLASHES:
            yield f"the path {value.strip()!r} in <{element.tag}>"
    for child in _elements(element):
        yield from _paths(child, f"{place}/{child.tag}")
