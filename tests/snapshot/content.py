"""Reading and writing whole disks, as the layers in the pool are and as a running QEMU does it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt_qemu
from blake3 import blake3

from devops_snapshot.qcow2 import read_header

from .model import SECTOR, SIZES, Write


class Reader:
    """Reads whole disks from outside; what has been read once is known again by its files' bytes.

    :param directory: for what is being read
    """

    def __init__(self, directory: Path) -> None:
        self._raw = directory / "content.raw"
        self._known: dict[tuple[bytes, ...], bytes] = {}

    def read(self, path: Path) -> bytes:
        """What a guest sees of a disk that stands on this image."""
        image_format = read_header(path).format
        command = ["qemu-img", "convert", "-U", "-f", image_format, "-O", "raw"]
        subprocess.run([*command, str(path), str(self._raw)], check=True)
        return self._raw.read_bytes()

    def difference(self, path: Path, expected: bytes) -> str | None:
        """Where it differs; None where it does not."""
        key = tuple(_digest(layer.read_bytes()) for layer in chain(path))
        if self._known.get(key) == _digest(expected):
            return None
        found = self.read(path)
        self._known[key] = _digest(found)
        return None if found == expected else _difference(found, expected)


def chain(path: Path) -> list[Path]:
    """The image and all below it, as the headers have it."""
    below = read_header(path).backing_file
    return [path, *(chain(Path(below)) if below else [])]


@contextmanager
def still(domains: Sequence[Any]) -> Iterator[None]:
    """QEMU writes out what it holds back when its guest is suspended."""
    for domain in domains:
        domain.suspend()
    yield
    for domain in domains:
        domain.resume()


def write_offline(path: Path, write: Write) -> None:
    image_format = read_header(path).format
    command = ["qemu-io", "-f", image_format, "-c", write.command, str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_live(domain: Any, write: Write) -> None:
    """By the QEMU that runs it, through its virtual disk. What is refused is not told here."""
    number = sorted(SIZES[write.node]).index(write.disk)
    device = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
    line = {"command-line": f'qemu-io -d {device} "{write.command}"'}
    message = {"execute": "human-monitor-command", "arguments": line}
    answer = libvirt_qemu.qemuMonitorCommand(domain, json.dumps(message), 0)
    assert json.loads(answer)["return"] == "", answer


def _digest(content: bytes) -> bytes:
    digest: bytes = blake3(content).digest()
    return digest


def _difference(found: bytes, expected: bytes) -> str:
    """Where two contents differ, by sectors."""
    if len(found) != len(expected):
        return f"{len(found)} bytes instead of {len(expected)}"
    wrong = [
        offset
        for offset in range(0, len(found), SECTOR)
        if found[offset : offset + SECTOR] != expected[offset : offset + SECTOR]
    ]
    first = wrong[0]
    return (
        f"{len(wrong)} sectors differ, the first at {first}: "
        f"{found[first]} instead of {expected[first]}"
    )
