"""How much of this host a definition may ask for, and how much it does.

libvirt and QEMU take numbers from a definition that become memory, threads or terminals of the
host. What is refused here is far above what any environment has.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

_UNITS = {
    **dict.fromkeys(("b", "bytes"), 1),
    **{unit: 1000**power for power, unit in enumerate(("kb", "mb", "gb", "tb"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
    **{unit: 1024**power for power, unit in enumerate("kmgt", 1)},
}
"""Of sizes in libvirt's XML, in small letters; bytes."""

MOST_MEMORY = 1 << 44
"""Bytes of one guest."""

_NUMBERS = {
    "vcpu": 1024,
    "iothreads": 256,
}
_ATTRIBUTES = {
    # attribute of anything inside of a device: highest value
    "queues": 256,
    "rx_queue_size": 1 << 16,
    "tx_queue_size": 1 << 16,
    "heads": 16,
    # KiB of the memory of a screen
    "ram": 1 << 18,
    "vram": 1 << 18,
    "vram64": 1 << 18,
    "vgamem": 1 << 18,
}
MOST_DEVICES = 1024
"""Of one guest, with its controllers."""

_MOST_TERMINALS = 32  # of one guest: the host has a few thousand
_TERMINALS = ("serial", "console", "channel")


def memory_of(definition: etree._Element) -> int:
    """Bytes that a guest may fill: libvirt takes the sum of NUMA cells where there are any.

    :param definition: for which :func:`excesses` yields nothing
    """
    cells = sum(_size(cell.get("memory", ""), cell) or 0 for cell in _cells(definition))
    told = [_size(definition.findtext(tag) or "0", definition.find(tag)) for tag in _MEMORY]
    return max(cells, *(size or 0 for size in told))


_MEMORY = ("memory", "currentMemory")


def _cells(definition: etree._Element) -> list[etree._Element]:
    return definition.findall("cpu/numa/cell")


def _size(text: str, told: etree._Element | None) -> int | None:
    """Bytes; None: that is no size."""
    unit = "KiB" if told is None else told.get("unit", "KiB")
    factor = _UNITS.get(unit.lower())
    number = _number(text)
    return None if factor is None or number is None else number * factor


def _number(text: str) -> int | None:
    """Ordinary digits, and so few of them that they are a number of something."""
    stripped = text.strip()
    is_one = stripped.isascii() and stripped.isdecimal() and len(stripped) < 20
    return int(stripped) if is_one else None


def excesses(definition: etree._Element) -> Iterator[str]:
    """Numbers that are none, or beyond all measure.

    :param definition: ``<domain>`` in which no element stands twice
    """
    sizes = [(tag, definition.findtext(tag), definition.find(tag)) for tag in _MEMORY]
    sizes.append(("maxMemory", definition.findtext("maxMemory"), definition.find("maxMemory")))
    sizes += [("cell", cell.get("memory", ""), cell) for cell in _cells(definition)]
    for tag, text, element in sizes:
        size = 0 if text is None else _size(text, element)
        if size is None or size > MOST_MEMORY:
            yield f"{str(text)[:20]!r} as <{tag}>"
    if memory_of(definition) > MOST_MEMORY:
        yield "NUMA cells of too much memory"
    for tag, most in _NUMBERS.items():
        text = definition.findtext(tag)
        number = 0 if text is None else _number(text)
        if number is None or number > most:
            yield f"{str(text)[:20]!r} as <{tag}>"
    for devices in definition.findall("devices"):
        yield from _of_devices(devices)


def _of_devices(devices: etree._Element) -> Iterator[str]:
    if len(devices) > MOST_DEVICES:
        yield f"{len(devices)} devices"
    terminals = sum(len(devices.findall(tag)) for tag in _TERMINALS)
    if terminals > _MOST_TERMINALS:
        yield f"{terminals} terminals and channels"
    for attribute, most in _ATTRIBUTES.items():
        for element in devices.iterfind(f".//*[@{attribute}]"):
            number = _number(element.get(attribute, ""))
            if number is None or number > most:
                yield f"<{element.tag} {attribute}={element.get(attribute, '')[:20]!r}>"
