"""An environment leaves one libvirt host and comes back to life on another.

Two libvirt hosts, ``alpha`` and ``beta``, and a storage node are brought up on this machine, all
private; what is typed on them is shown with a prompt. Run by ``scripts/demo.sh``.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bed import Bed, Guest, Host, Storage, namespaces_available, template_env, two_nodes

ENVIRONMENT = "demo"
SNAPSHOT = "error_test"
NODES = ("node-1", "node-2")
WRITTEN = 24  # MiB on each disk
NOTE = "/run/note"  # in the guest's memory, on no disk


class DemoError(Exception):
    """Something came back different from what was sent away."""


@dataclass
class Clock:
    """How long each part took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        print(f"\n# {title}", flush=True)
        started = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - started


@dataclass(frozen=True)
class Shell:
    """A terminal on a host: shows what is typed there and what comes back.

    :raises DemoError: (``dos``) the command failed
    """

    host: Host
    env: dict[str, str] = field(default_factory=dict)

    def dos(self, *arguments: str) -> None:
        print(f"{self.host.name}$ dos.py {shlex.join(arguments)}", flush=True)
        done = self.host.dos(*arguments, env=self.env, check=False)
        print(done.stdout + done.stderr, end="", flush=True)
        require(done.returncode == 0, f"that command ended with {done.returncode}")

    def export(self) -> None:
        for name, value in self.env.items():
            print(f"{self.host.name}$ export {name}={shlex.quote(value)}")


@dataclass(frozen=True)
class Memory:
    """What a node is known by when it was frozen."""

    ticks: int
    note: str
    disk: str

    @classmethod
    def of(cls, node: Guest) -> Memory:
        disk = node.disk_digest(mebibytes=WRITTEN, offset=8)
        return cls(ticks=node.ticks(), note=node.read_file(NOTE), disk=disk)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    namespaces = namespaces_available()
    if not namespaces:
        print("No rights for namespaces: two libvirt connections without networks instead of hosts")
    try:
        with Bed(namespaces=namespaces) as bed:
            travel(bed, Clock())
    except KeyboardInterrupt:
        sys.exit(130)
    except DemoError as error:
        sys.exit(f"demo: {error}")


def travel(bed: Bed, clock: Clock) -> None:
    with clock.part("two libvirt hosts and a storage node"):
        alpha, beta, storage = bed.host("alpha"), bed.host("beta"), bed.storage()
        print(f"alpha {alpha.pool_dir}\nbeta  {beta.pool_dir}\n{storage.url}")
    with clock.part("alpha: create, start, write"):
        create(alpha)
        known = {name: work(guest(alpha, name), name) for name in NODES}
    with clock.part("alpha: snapshot"):
        Shell(alpha).dos("snapshot", ENVIRONMENT, SNAPSHOT)
    frozen_at = time.monotonic()
    latest = {name: guest(alpha, name).ticks() for name in NODES}
    with clock.part("alpha: export"):
        Shell(alpha).dos(
            "export-env", ENVIRONMENT, "--snapshot", SNAPSHOT, "--storage", storage.url
        )
    with clock.part("alpha: erase"):
        Shell(alpha).dos("erase", ENVIRONMENT)
        Shell(alpha).dos("list")
        require(alpha.connection.listAllDomains() == [], "domains are left on alpha")
    with clock.part("beta: import"):
        Shell(beta).dos("list-exports", "--storage", storage.url)
        Shell(beta).dos("import-env", f"latest:{ENVIRONMENT}", "--storage", storage.url)
    with clock.part("beta: is it the same?"):
        Shell(beta).dos("show", ENVIRONMENT)
        Shell(beta).dos("snapshot-list", ENVIRONMENT)
        for name in NODES:
            compare(known[name], latest[name], guest(beta, name), time.monotonic() - frozen_at)
    report(clock, storage, beta)


def create(host: Host) -> None:
    shutil.copy(two_nodes(host), host.home / "demo.yaml")
    shell = Shell(host, template_env(host, name=ENVIRONMENT))
    shell.export()
    shell.dos("create-env", "demo.yaml")
    shell.dos("start", ENVIRONMENT)
    for name in NODES:
        guest(host, name).wait_boot()
    shell.dos("list")


def work(node: Guest, name: str) -> Memory:
    """Let a node write to its disk and its memory."""
    node.fill_disk(mebibytes=WRITTEN, offset=8)
    node.write_file(NOTE, f"{name} was here")
    known = Memory.of(node)
    print(f"{name}# wrote {WRITTEN} MiB, sha256 {known.disk[:16]}..., at tick {known.ticks}")
    return known


def compare(known: Memory, latest: int, node: Guest, elapsed: float) -> None:
    """:param latest: a tick soon after the snapshot
    :param elapsed: seconds since then
    """
    first = node.ticks()
    now = Memory.of(node)
    print(f"{node.domain_name}# note: {now.note}; disk: sha256 {now.disk[:16]}...")
    print(
        f"{node.domain_name}# frozen between ticks {known.ticks} and {latest}; "
        f"counts on: {first}, {now.ticks} ({elapsed:.0f} s later)"
    )
    require(now.note == known.note, f"{node.domain_name} forgot its note")
    require(now.disk == known.disk, f"{node.domain_name} has another disk")
    require(known.ticks <= first < now.ticks, f"{node.domain_name} does not count on")
    require(first < latest + 10 * elapsed, f"{node.domain_name} was not frozen")


def report(clock: Clock, storage: Storage, host: Host) -> None:
    print("\n# times and bytes")
    for title, seconds in clock.seconds.items():
        print(f"{seconds:7.1f} s   {title}")
    print(f"{sum(clock.seconds.values()):7.1f} s   together")
    for title, path in (
        ("in the storage pool of beta", host.pool_dir),
        ("on the storage node", storage.path_of(storage.url)),
    ):
        print(f"{size_on_disk(path) / 2**20:7.1f} MiB {title}")


def guest(host: Host, node: str) -> Guest:
    return host.guest(f"{ENVIRONMENT}_{node}")


def size_on_disk(directory: Path) -> int:
    """Bytes that the files there take, without their holes."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)


if __name__ == "__main__":
    main()
