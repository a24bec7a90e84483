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
WRITTEN = 16  # MiB on each disk
OFFSET = 8  # MiB
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
class Work:
    """What a node has written."""

    note: str
    disk: str

    @classmethod
    def found_on(cls, node: Guest) -> Work:
        return cls(
            note=node.read_file(NOTE), disk=node.disk_digest(mebibytes=WRITTEN, offset=OFFSET)
        )

    def __str__(self) -> str:
        return f"note in memory: {self.note!r}, {WRITTEN} MiB on disk: sha256 {self.disk[:16]}..."


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
    with clock.part("alpha: create and boot an environment"):
        create(alpha)
    with clock.part("its nodes write to their disks"):
        work = {name: work_on(guest(alpha, name)) for name in NODES}
    with clock.part("alpha: snapshot"):
        before = ticks_of(alpha)
        Shell(alpha).dos("snapshot", ENVIRONMENT, SNAPSHOT)
        frozen_at = time.monotonic()
        after = ticks_of(alpha)
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
        first = ticks_of(beta)
    with clock.part("beta: the same environment, its guests count on"):
        away = time.monotonic() - frozen_at
        for name in NODES:
            check_work(guest(beta, name), work[name])
            print(
                f"{name}# frozen between ticks {before[name]} and {after[name]}, "
                f"back {away:.0f} s later at tick {first[name]}, now {guest(beta, name).ticks()}"
            )
            require(before[name] < first[name], f"{name} does not count on")
            require(first[name] < after[name] + 5 * away, f"{name} was not frozen")
        Shell(beta).dos("show", ENVIRONMENT)
        Shell(beta).dos("snapshot-list", ENVIRONMENT)
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
    shell.dos("show", ENVIRONMENT)


def work_on(node: Guest) -> Work:
    """Let a node write to its disk and its memory."""
    node.fill_disk(mebibytes=WRITTEN, offset=OFFSET)
    node.write_file(NOTE, f"{node.domain_name} was here")
    work = Work.found_on(node)
    print(f"{node.domain_name}# {work}", flush=True)
    return work


def check_work(node: Guest, work: Work) -> None:
    found = Work.found_on(node)
    print(f"{node.domain_name}# {found}", flush=True)
    require(found == work, f"{node.domain_name} is not as it was: {work}")


def ticks_of(host: Host) -> dict[str, int]:
    """How far each guest has counted; 10 times a second at most."""
    return {name: guest(host, name).ticks() for name in NODES}


def report(clock: Clock, storage: Storage, host: Host) -> None:
    print("\n# times and bytes")
    for title, seconds in clock.seconds.items():
        print(f"{seconds:7.1f} s    {title}")
    print(f"{sum(clock.seconds.values()):7.1f} s    together")
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
