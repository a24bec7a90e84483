"""The environment that travels in these tests, and what can be said of it on a host."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from tests.bed import Guest, Host, template_env, two_nodes

NAME = "trip"
NODES = ("node-1", "node-2")


@dataclass(frozen=True)
class Place:
    """An environment's host, and the database it uses there.

    :param env: variables of the database; none: SQLite
    """

    host: Host
    env: Mapping[str, str] = field(default_factory=dict)

    def dos(self, *arguments: str, **env: str) -> str:
        """Run a command that succeeds; returns what it printed."""
        return self.host.dos(*arguments, env={**self.env, **env}, timeout=300).stdout

    def refused(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Run a command that fails; returns its exit code and its one line."""
        done = self.host.dos(*arguments, env={**self.env, **env}, check=False, timeout=300)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stderr, done.stderr
        [line] = [x for x in done.stderr.splitlines() if not x.startswith("WARNING: ")]
        assert line.startswith("Error: "), done.stderr
        return done.returncode, line

    def create(self, name: str = NAME, *, boot: bool = True, **env: str) -> None:
        """The two nodes of the bed's template, booted, or off and with no system to boot.

        :param env: other variables of the template
        """
        env |= template_env(self.host, name=name, system=boot)
        self.dos("create-env", str(two_nodes(self.host)), **env)
        if boot:
            self.dos("start", name)
            for node in NODES:
                self.guest(node, name).wait_boot()

    def guest(self, node: str, name: str = NAME) -> Guest:
        return self.host.guest(f"{name}_{node}")

    def records(self, name: str = NAME) -> dict[str, Any]:
        """See :mod:`tests.journey.records`."""
        done = self.host.python("-m", "tests.journey.records", name, env=self.env)
        return json.loads(done.stdout)

    def devices(self, name: str = NAME) -> dict[str, Any]:
        """What a guest can see of its machine: everything but files and what QEMU was told."""
        return {
            domain.name(): _visible(etree.fromstring(domain.XMLDesc(0)))
            for domain in self.host.connection.listAllDomains()
            if domain.name().startswith(f"{name}_")
        }

    def networks(self) -> dict[str, Any]:
        return {
            network.name(): _network(etree.fromstring(network.XMLDesc(0)))
            for network in self.host.connection.listAllNetworks()
        }

    def export(self, *arguments: str, storage: str, name: str = NAME) -> dict[str, Any]:
        """The record of an export."""
        return json.loads(self.dos("export-env", name, "--storage", storage, "--json", *arguments))

    def manifest(self, storage: str, export: str = "latest") -> dict[str, Any]:
        shown = self.dos("show-export", export, "--storage", storage, "--json")
        return json.loads(shown)["manifest"]

    def snapshots(self, name: str = NAME) -> list[str]:
        return [item["name"] for item in json.loads(self.dos("snapshot-list", name, "--json"))]

    def is_empty(self) -> bool:
        """No domain, network, file or row of an environment is left."""
        connection = self.host.connection
        return (
            not connection.listAllDomains()
            and not connection.listAllNetworks()
            and not list(self.host.pool_dir.iterdir())
            and not self.dos("list")
        )


def _visible(domain: etree._Element) -> dict[str, Any]:
    return {
        "uuid": domain.findtext("uuid"),
        "memory": domain.findtext("memory"),
        "machine": domain.find("os/type").get("machine"),
        "macs": [mac.get("address") for mac in domain.findall("devices/interface/mac")],
        "nics": [model.get("type") for model in domain.findall("devices/interface/model")],
        "serials": [disk.findtext("serial") for disk in domain.findall("devices/disk")],
        "targets": [target.get("dev") for target in domain.findall("devices/disk/target")],
        "slots": sorted(
            tuple(sorted(address.attrib.items())) for address in domain.iter("address")
        ),
    }


def _network(root: etree._Element) -> dict[str, Any]:
    """All but the bridge's name, which is the host's own."""
    for bridge in root.findall("bridge"):
        bridge.attrib.pop("name")
    for nat in root.findall("forward/nat"):
        nat.getparent().remove(nat)
    return {child.tag: etree.tostring(child).strip().decode() for child in root}


def keep_images(place: Place) -> Path:
    """A copy of the pool's files with their chains, compared after the originals are gone."""
    kept = place.host.directory / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", place.host.pool_dir, kept], check=True)
    for image in kept.iterdir():
        info = image_info(image)
        if "backing-filename" in info:
            backing = kept / Path(info["backing-filename"]).name
            rebase = ["qemu-img", "rebase", "-u", "-b", str(backing)]
            rebase += ["-F", info["backing-filename-format"], str(image)]
            subprocess.run(rebase, check=True, capture_output=True)
    return kept


def image_info(image: Path) -> dict[str, Any]:
    command = ["qemu-img", "info", "-U", "--output=json", str(image)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def images_differ(one: Path, other: Path) -> str:
    """What ``qemu-img compare`` says where two chains do not show a guest the same bytes."""
    command = ["qemu-img", "compare", "-U", "-s", str(one), str(other)]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{one.name}: {done.stdout}{done.stderr}"
