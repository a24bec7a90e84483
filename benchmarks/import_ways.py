"""Two ways in which an environment comes to a host: ours, and by hand."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from tests.bed import Storage
from tests.importer.features import POOL, Lab

from .import_step import DEFINE, DOWNLOAD, PARTS, RESTORE

MIB = 1 << 20
NAME = "bench"
STEP = Path(__file__).with_name("import_step.py")
PORT = 2222
"""Of a second sshd on the storage node: the first one lets nobody run rsync."""
RECEIVED = re.compile(r"Total bytes received: ([\d,.]+)")


@dataclass(frozen=True)
class Cost:
    """What one import took.

    :param seconds: by part
    :param whole: seconds until the command, or the last of them, has ended
    :param on_disk: seconds until all is on the disk, too
    :param received: MiB
    :param peak: MiB of memory of our process
    """

    seconds: dict[str, float]
    whole: float
    on_disk: float
    received: float
    peak: float | None = None


@dataclass(frozen=True)
class Export:
    """One state of the environment, exported and as files.

    :param memory: files in the pool by domain
    :param files: a directory of the storage node with all files
    :param definitions: of networks and domains
    """

    id: str
    memory: dict[str, str]
    files: str
    networks: dict[str, str]
    domains: dict[str, str]


class Way(ABC):
    """To a host that has nothing of the environment, unless it is said."""

    name: str

    @abstractmethod
    def bring(self, export: Export, *, memory: bool) -> Cost:
        """Until the guests run: from memory, or, without, from their disks."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the environment; what makes the next one cheaper stays."""


@dataclass(frozen=True)
class Ours(Way):
    lab: Lab
    storage: str
    name = "ours"

    def bring(self, export: Export, *, memory: bool) -> Cost:
        report = self.lab.host.directory / "report.json"
        began = time.monotonic()
        arguments = [export.id, "--storage", self.storage, "--json"]
        arguments += [] if memory else ["--disks-only", "--start"]
        command = ["python", str(STEP), str(report), str(began), *arguments]
        done = self.lab.host.run(command, env=self.lab.env, timeout=None)
        whole = time.monotonic() - began
        told, record = json.loads(report.read_text()), json.loads(done.stdout)
        received = record["bytes_received"] / MIB
        return Cost(told["seconds"], whole, _synced(began), received, told["peak"])

    def drop(self) -> None:
        self.lab.dos("erase", NAME)


@dataclass(frozen=True)
class ByHand(Way):
    """``rsync``, then ``virsh``, command by command; files keep their paths."""

    lab: Lab
    storage: Storage
    name = "by hand"

    def bring(self, export: Export, *, memory: bool) -> Cost:
        seconds = dict.fromkeys(PARTS, 0.0)
        began = time.monotonic()
        received = self._rsync(export, memory=memory)
        seconds[DOWNLOAD] = time.monotonic() - began
        self._define(export)
        seconds[DEFINE] = time.monotonic() - began - sum(seconds.values())
        for domain, file in export.memory.items():
            self._virsh("restore", file, "--running") if memory else self._virsh("start", domain)
        seconds[RESTORE] = time.monotonic() - began - sum(seconds.values())
        return Cost(seconds, sum(seconds.values()), _synced(began), received)

    def drop(self) -> None:
        for domain in self.lab.host.connection.listAllDomains():
            domain.destroy()
            domain.undefine()
        for network in self.lab.host.connection.listAllNetworks():
            network.destroy()
            network.undefine()

    def _rsync(self, export: Export, *, memory: bool) -> float:
        """MiB that came."""
        home, to = self.lab.host.home, self.storage.login
        options = ["-F", f"{home}/.ssh/config", "-p", str(PORT), "-c", "aes128-gcm@openssh.com"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        left_out = [] if memory else ["--exclude=*memory*"]
        source = f"{to.user}@{to.address}:{export.files}/"
        command = ["rsync", "-aS", "--stats", *left_out, "-e", shlex.join(["ssh", *options])]
        done = self.lab.host.run([*command, source, f"{POOL}/"], timeout=None)
        found = RECEIVED.search(done.stdout)
        assert found is not None, done.stdout
        return int(re.sub("[,.]", "", found[1])) / MIB

    def _define(self, export: Export) -> None:
        for name, xml in export.networks.items():
            self._virsh("net-define", self._written(name, xml))
            self._virsh("net-start", name)
        for name, xml in export.domains.items():
            self._virsh("define", self._written(name, xml))

    def _written(self, name: str, xml: str) -> str:
        path = self.lab.host.directory / f"{name}.xml"
        path.write_text(xml)
        return str(path)

    def _virsh(self, *arguments: str) -> None:
        self.lab.host.run(["virsh", "-q", "-c", self.lab.host.uri, *arguments], timeout=None)


def _synced(began: float) -> float:
    subprocess.run(["sync"], check=True)
    return time.monotonic() - began
