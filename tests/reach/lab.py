"""Environments of one node, and what is seen of env-shells on their host."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.apps import apps

from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.networks import define_networks, keep_originals
from devops_snapshot.importer.target import Target
from devops_snapshot.manifest import document
from devops_snapshot.manifest.reading import original_network
from devops_snapshot.snapshot.undo import Undo
from tests.bed import Guest, Host, Process
from tests.bed.guest_image import guest_iso
from tests.devops.databases import sqlite_environment, used_database

TEMPLATE = Path(__file__).with_name("one_node.yaml")
BEGUN, NEXT = "BEGUN", "NEXT"


@dataclass(frozen=True)
class Lab:
    """One environment.

    :param env: variables of its database
    """

    host: Host
    name: str
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, host: Host, name: str) -> Lab:
        """The environment in a database of its own, which lets two have the same subnets."""
        directory = host.home / ".devops"
        directory.mkdir(exist_ok=True)
        lab = cls(host, name, sqlite_environment(directory / f"{name}.sqlite3"))
        lab.dos("create-env", str(TEMPLATE), ENV_NAME=name, GUEST_ISO=str(guest_iso()))
        return lab

    @classmethod
    def isolated(cls, host: Host, name: str) -> Lab:
        """One whose networks have no address on the host, so that the next gets the same ones."""
        lab = cls.create(host, name)
        lab.isolate()
        return lab

    @property
    def guest(self) -> Guest:
        return self.host.guest(f"{self.name}_node-1")

    def dos(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.host.dos(*arguments, env={**self.env, **env})

    def shell(
        self, *command: str, check: bool = True, input: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """``dos.py env-shell ENV COMMAND``"""
        arguments = ["env-shell", self.name, *command]
        return self.host.dos(*arguments, env={**self.env, **env}, check=check, input=input)

    def sees(self, *command: str, **env: str) -> str:
        """What a command inside prints."""
        return self.shell(*command, **env).stdout

    def sees_all(self, *commands: Sequence[str]) -> list[str]:
        """What each of these prints, in one env-shell; they may fail."""
        script = f"; echo {NEXT}; ".join(shlex.join(command) for command in commands)
        return self.shell("sh", "-c", script, check=False).stdout.split(f"{NEXT}\n")

    def refused(self, *command: str) -> tuple[int, str]:
        """The exit code of an env-shell that fails, and its one line."""
        done = self.shell(*command, check=False)
        assert done.returncode, done.stdout
        assert "Traceback" not in done.stderr
        [line] = [x for x in done.stderr.splitlines() if not x.startswith("WARNING: ")]
        return done.returncode, line

    @contextmanager
    def open(self, *command: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """An env-shell whose command has begun; by default it waits for ever."""
        script = f"echo {BEGUN}; exec " + (" ".join(command) or "sleep 1000")
        with self.start("sh", "-c", script, env=env) as process:
            assert process.stdout is not None
            if process.stdout.readline().strip() != BEGUN:
                raise AssertionError(process.communicate()[1])
            yield process

    @contextmanager
    def start(self, *command: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """An env-shell, asked to end in the end."""
        argv = [sys.executable, "-m", "devops_snapshot", "env-shell", self.name, *command]
        with self.host.popen(argv, env={**self.env, **(env or {})}) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(timeout=60)

    def boot(self) -> Guest:
        self.dos("start", self.name)
        self.guest.wait_boot()
        return self.guest

    def isolate(self) -> None:
        """Define its networks once more, as an import with ``--isolated`` does."""
        target = Target(self.host.uri, "default")
        with self.database():
            environment = apps.get_model("devops", "Environment").get(name=self.name)
            rows = list(environment.get_env_l2_network_devices())
            networks = [SimpleNamespace(id=row.id, network=_running(row)) for row in rows]
            plan: Any = SimpleNamespace(
                target=target,
                choices=Choices(isolated=True),
                network_uuids={each.network.name: str(uuid.uuid4()) for each in networks},
                manifest=SimpleNamespace(environment=SimpleNamespace(networks=networks)),
            )
            for row in rows:
                self.network(row.name).undefine()
            uuids = define_networks(plan, Undo())
            for row in rows:
                row.uuid = uuids[row.id]
                row.save()
            keep_originals(plan, environment, uuids)

    @contextmanager
    def database(self) -> Iterator[None]:
        with used_database(self.env):
            yield

    def network(self, name: str) -> Any:
        return self.host.connection.networkLookupByName(f"{self.name}_{name}")

    def bridge(self, name: str) -> str:
        return str(self.network(name).bridgeName())


def _running(row: Any) -> document.Network:
    """The network as it would be exported while its guests run."""
    network = original_network(row)
    assert network is not None, "it is defined"
    return network.model_copy(update={"active": True})


def run_in(host: Host, *command: str) -> str:
    return host.run(command).stdout


def left_on(host: Host) -> list[str]:
    """Everything that env-shells have made and not removed."""
    namespaces = run_in(host, "ip", "netns", "list").split()
    links = run_in(host, "sh", "-c", "ls /sys/class/net").split()
    directories = run_in(host, "sh", "-c", "ls -d /run/devops_snapshot/env-shell/*/ || true")
    networks = [network.name() for network in host.connection.listAllNetworks()]
    processes = run_in(host, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' ")
    return [
        *(name for name in namespaces if name.startswith("devops-")),
        *(name for name in links if name.startswith("ds")),
        *directories.split(),
        *(name for name in networks if name.startswith("devops-")),
        *(["dnsmasq"] if "dnsmasq --conf-file=- " in processes else []),
    ]


def gone_soon(host: Host, *, seconds: float = 10.0) -> bool:
    """Whether nothing is left, or will be in a moment."""
    deadline = time.monotonic() + seconds
    while left_on(host):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=9).read().decode())"


def fetch(address: str, what: str) -> Sequence[str]:
    """A command that prints what the guest's web server has under that name."""
    return [sys.executable, "-c", FETCH, f"http://{address}/{what}"]


def serve(guest: Guest, what: str, content: str) -> None:
    """Let the guest answer on port 80."""
    guest.run(f"mkdir -p /tmp/www; echo {content} > /tmp/www/{what}; httpd -h /tmp/www || true")


def ping(address: str) -> Sequence[str]:
    return ["busybox", "ping", "-c", "1", "-W", "3", address]
