"""The test guest's serial console: ask it to run commands, watch it count."""

from __future__ import annotations

import base64
import os
import re
import secrets
import select
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
from lxml import etree

if TYPE_CHECKING:
    from .host import Host

#: A request is one line of the guest's terminal, which takes 4095 characters.
LONGEST_COMMAND = 2900  # bytes, before base64
ANSWER = re.compile(rb"<(?P<token>[0-9a-f]+) (?P<status>\d+) (?P<output>[A-Za-z0-9+/=]*)>")

DOMAIN_XML = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='cdrom'/></os>
  <features><acpi/></features>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='{iso}'/><target dev='sda' bus='sata'/><readonly/>
    </disk>
    {disks}
    {interfaces}
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
  </devices>
</domain>
"""
DISK_XML = """\
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='{file}'/><target dev='sd{letter}' bus='virtio'/><serial>{serial}</serial>
    </disk>
"""
INTERFACE_XML = (
    "<interface type='network'><source network='{network}'/><model type='virtio'/></interface>"
)


def domain_xml(
    name: str,
    *,
    iso: Path,
    disks: Sequence[Path] = (),
    networks: Sequence[str] = (),
    memory: int = 128,
) -> str:
    """A domain that boots the test guest: for tests that need one without an environment.

    :param disks: qcow2 files; the first one is ``/dev/vda``
    :param memory: MiB
    """
    return DOMAIN_XML.format(
        name=name,
        uuid=uuid.uuid4(),
        memory=memory,
        iso=iso,
        disks="".join(
            DISK_XML.format(file=file, letter="bcdefgh"[index], serial=secrets.token_hex(16))
            for index, file in enumerate(disks)
        ),
        interfaces="".join(INTERFACE_XML.format(network=network) for network in networks),
    )


class GuestError(Exception):
    """The guest did not answer, or a command in it failed."""


class Guest:
    """The test guest in one domain, spoken to on its serial port.

    The port is one terminal: use one :class:`Guest` for a domain (``host.guest(name)`` gives
    always the same), and not from two threads. The domain may be stopped, restored or reverted
    meanwhile; only between two calls.
    """

    def __init__(self, host: Host, domain: str) -> None:
        self.host = host
        self.domain_name = domain
        self._run = ""
        self._terminal: int | None = None

    @property
    def domain(self) -> libvirt.virDomain:
        return self.host.connection.lookupByName(self.domain_name)

    def wait_boot(self, *, timeout: float = 60.0) -> None:
        """Return when the guest answers; what was asked before it was up is lost, so ask again.

        :raises GuestError: after ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        patience = 1.0  # seconds; grows, because on a busy machine every answer takes longer
        while True:
            try:
                self.run("true", timeout=patience)
                return
            except GuestError:
                if time.monotonic() > deadline:
                    raise
            patience *= 1.3

    def run(self, command: str, *, check: bool = True, timeout: float = 60.0) -> str:
        """Run a shell command in the guest.

        :return: its output and errors, without the last newline
        :raises GuestError: no answer within ``timeout`` seconds, or, with ``check``, it failed
        """
        script = command.encode()
        if len(script) > LONGEST_COMMAND:
            raise ValueError(f"a command of {len(script)} bytes is too long for the serial port")
        token = secrets.token_hex(8)
        deadline = time.monotonic() + timeout
        self._open()
        self._write(f"\n@{token} {base64.b64encode(script).decode()}\n".encode())
        status, output = self._read_answer(token, command=command, deadline=deadline)
        text = output.decode(errors="replace").removesuffix("\n")
        if check and status:
            raise GuestError(f"{self.domain_name}: {command!r} ended with {status}: {text}")
        return text

    def ticks(self) -> int:
        """How often the guest has counted since it booted, about 10 times a second."""
        return int(self.run("cat /run/ticks"))

    def write_file(self, path: str, content: bytes | str) -> None:
        """Write a file (or a block device, from its beginning) in the guest."""
        data = content.encode() if isinstance(content, str) else content
        step = 2000
        self.run(f": > {path}" if not path.startswith("/dev/") else "true")
        for offset in range(0, len(data), step):
            encoded = base64.b64encode(data[offset : offset + step]).decode()
            target = f"dd of={path} bs=1 seek={offset} conv=notrunc 2>/dev/null"
            self.run(f"echo {encoded} | base64 -d | {target}")

    def read_file(self, path: str) -> str:
        return self.run(f"cat {path}")

    def fill_disk(self, *, mebibytes: int, offset: int = 0, disk: str = "/dev/vda") -> str:
        """Write random data onto a disk at an offset (MiB) and to stable storage.

        :return: the SHA-256 of what was written
        """
        where = f"bs=1M count={mebibytes}"
        self.run(
            f"dd if=/dev/urandom of={disk} {where} seek={offset} conv=notrunc && sync",
            timeout=120.0,
        )
        return self.disk_digest(mebibytes=mebibytes, offset=offset, disk=disk)

    def disk_digest(
        self, *, mebibytes: int | None = None, offset: int = 0, disk: str = "/dev/vda"
    ) -> str:
        """The SHA-256 of a disk, or of so many MiB of it from an offset (MiB), uncached."""
        count = f"count={mebibytes}" if mebibytes is not None else ""
        self.run("echo 3 > /proc/sys/vm/drop_caches")
        answer = self.run(
            f"dd if={disk} bs=1M {count} skip={offset} 2>/dev/null | sha256sum", timeout=120.0
        )
        return answer.split()[0]

    def address(self, interface: str = "eth0", *, timeout: float = 30.0) -> str:
        """The IPv4 address that the guest got by DHCP.

        :raises GuestError: none within ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            shown = self.run(f"ip -4 -o addr show dev {interface}").split()
            if "inet" in shown:
                return shown[shown.index("inet") + 1].partition("/")[0]
            time.sleep(0.2)
        raise GuestError(f"{self.domain_name}: no address on {interface} within {timeout} s")

    def close(self) -> None:
        """Let go of the terminal; the next command opens it again."""
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None

    def _open(self) -> None:
        """Open the terminal of the domain's present QEMU: every start makes a new one."""
        root = etree.fromstring(self.domain.XMLDesc())
        source = root.find("devices/serial/source")
        if source is None:
            raise GuestError(f"{self.domain_name} has no serial terminal: is it running?")
        path = str(source.get("path"))
        run = path + str(root.get("id"))
        if self._terminal is None or run != self._run:
            self.close()
            self._terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            self._run = run

    def _write(self, data: bytes) -> None:
        assert self._terminal is not None
        while data:
            select.select([], [self._terminal], [], 1.0)
            data = data[os.write(self._terminal, data) :]

    def _read_answer(self, token: str, *, command: str, deadline: float) -> tuple[int, bytes]:
        assert self._terminal is not None
        seen = b""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                break
            try:
                seen += os.read(self._terminal, 65536)
            except OSError:  # QEMU has gone
                self.close()
                break
            for answer in ANSWER.finditer(seen):
                if answer["token"] == token.encode():
                    return int(answer["status"]), base64.b64decode(answer["output"])
        tail = seen[-400:].decode(errors="replace")
        raise GuestError(f"{self.domain_name}: no answer to {command!r}; last heard: {tail!r}")
