"""VLANs and parent interfaces, as the kernel has them after ``dos.py start``.

The commands run on the host itself: that is where the devices are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed import Host

TRUNK = {"vlan_ifaces": [100, 101]}
PUBLIC = {"parent_iface": {"l2_net_dev": "trunk", "tag": 100}}


class Lab:
    """An environment ``lab`` of networks alone."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self._template = directory / "lab.yaml"

    def create(self, **networks: dict[str, Any]) -> None:
        group = {
            "name": "default",
            "driver": {
                "name": "devops.driver.libvirt",
                "params": {"connection_string": self.host.uri},
            },
            "l2_network_devices": networks,
            "nodes": [],
        }
        settings = {"env_name": "lab", "address_pools": {}, "groups": [group]}
        self._template.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.host.dos("create-env", str(self._template))

    def dos(self, command: str) -> list[str]:
        """Run a command of the environment; returns its warnings."""
        return self.host.dos(command, "lab").stderr.splitlines()

    def bridge(self, name: str) -> str:
        return str(self.host.connection.networkLookupByName(f"lab_{name}").bridgeName())

    def links(self) -> dict[str, dict[str, Any]]:
        shown = self.host.run(["ip", "-json", "-details", "link", "show"]).stdout
        return {link["ifname"]: link for link in json.loads(shown)}

    def ip(self, command: str, *, check: bool = True) -> bool:
        return self.host.run(["ip", *command.split()], check=check).returncode == 0


@pytest.fixture
def lab(alpha: Host, tmp_path: Path) -> Iterator[Lab]:
    """The host has a cable: ``nic`` is the end to plug in, ``wire`` the other."""
    lab = Lab(alpha, tmp_path)
    lab.ip("link add nic type veth peer name wire")
    yield lab
    lab.ip("link del wire", check=False)


@pytest.fixture
def knows_vlans(lab: Lab) -> bool:
    """Whether the kernel does."""
    known = lab.ip("link add link wire name wire.1 type vlan id 1", check=False)
    if known:
        lab.ip("link del wire.1")
    return known


def test_a_device_of_the_host_becomes_a_port(lab: Lab) -> None:
    lab.create(admin={"parent_iface": {"phys_dev": "nic"}})
    assert "master" not in lab.links()["nic"]
    for _ in range(2):
        assert lab.dos("start") == []
        nic = lab.links()["nic"]
        assert nic["master"] == lab.bridge("admin")
        assert "UP" in nic["flags"]
    lab.ip("link set nic nomaster")
    assert lab.dos("start") == []
    assert lab.links()["nic"]["master"] == lab.bridge("admin")
    assert lab.dos("erase") == []
    left = lab.links()
    assert left.keys() == {"lo", "nic", "wire"}
    assert "master" not in left["nic"]


def test_what_the_host_lacks_is_told_and_the_rest_is_started(lab: Lab) -> None:
    lab.create(
        gone={"parent_iface": {"phys_dev": "eth9"}},
        taken={"parent_iface": {"phys_dev": "nic"}},
        untagged={"parent_iface": {"l2_net_dev": "gone"}},
    )
    lab.ip("link add other type bridge")
    lab.ip("link set nic master other")
    try:
        gone, taken, untagged = lab.dos("start")
    finally:
        lab.ip("link del other")
    assert gone == (
        "WARNING: network 'lab_gone' is not connected to eth9: "
        "network device eth9 is not there on the host"
    )
    assert "'lab_taken' is not connected to nic" in taken
    assert "a port of other already" in taken
    assert "'lab_untagged' is not connected to gone: a bridge cannot be a port" in untagged
    assert all(network.isActive() for network in lab.host.connection.listAllNetworks())
    assert lab.dos("erase") == []


@pytest.mark.parametrize("address", ["192.0.2.9/24", "2001:db8::9/64"])
def test_a_device_that_the_host_uses_is_left_alone(lab: Lab, address: str) -> None:
    lab.create(admin={"parent_iface": {"phys_dev": "nic"}})
    lab.ip(f"address add {address} dev nic")
    [warning] = lab.dos("start")
    assert f"nic is the host's own: {address.partition('/')[0]} would be cut off" in warning
    assert "master" not in lab.links()["nic"]
    lab.dos("erase")


def test_vlans_of_a_bridge_are_ports_of_others(lab: Lab, knows_vlans: bool) -> None:
    """The parent comes second, as templates have it in any order."""
    if not knows_vlans:
        pytest.skip("the kernel of this machine knows no VLANs")
    lab.create(public=PUBLIC, trunk=TRUNK)
    for _ in range(2):
        assert lab.dos("start") == []
        trunk, public = lab.bridge("trunk"), lab.bridge("public")
        links = lab.links()
        for tag in (100, 101):
            vlan = links[f"{trunk}.{tag}"]
            assert (vlan["link"], vlan["linkinfo"]["info_data"]["id"]) == (trunk, tag)
            assert "UP" in vlan["flags"]
            assert vlan["ifalias"] == "devops lab_trunk"
        assert links[f"{trunk}.100"]["master"] == public
        assert "master" not in links[f"{trunk}.101"]
    assert tagged_ping(lab, bridge=trunk, tag=100, address=public_address(lab))
    assert not tagged_ping(lab, bridge=trunk, tag=101, address=public_address(lab))
    assert lab.dos("erase") == []
    assert lab.links().keys() == {"lo", "nic", "wire"}


def public_address(lab: Lab) -> str:
    """Of the host, in the network that takes VLAN 100 off the trunk."""
    lab.ip(f"address replace 192.0.2.1/24 dev {lab.bridge('public')}")
    return "192.0.2.1"


def tagged_ping(lab: Lab, *, bridge: str, tag: int, address: str) -> bool:
    """Whether an address answers a machine on the bridge that speaks in that VLAN."""
    lab.ip("netns add machine")
    try:
        lab.ip("link add plug type veth peer name eth0 netns machine")
        lab.ip(f"link set plug master {bridge} up")
        for command in (
            "link set eth0 up",
            f"link add link eth0 name eth0.{tag} type vlan id {tag}",
            f"address add 192.0.2.2/24 dev eth0.{tag}",
            f"link set eth0.{tag} up",
        ):
            lab.ip(f"-netns machine {command}")
        ping = ["ip", "netns", "exec", "machine", "busybox", "ping", "-c", "1", "-W", "5", address]
        tries = (lab.host.run(ping, check=False).returncode == 0 for _ in range(3))
        return any(tries)
    finally:
        lab.ip("netns delete machine")


def test_a_vlan_of_a_device_of_the_host_goes_with_the_network_that_made_it(
    lab: Lab, knows_vlans: bool
) -> None:
    if not knows_vlans:
        pytest.skip("the kernel of this machine knows no VLANs")
    lab.ip("link add link nic name nic.7 type vlan id 7")
    parents = {f"net{tag}": {"parent_iface": {"phys_dev": "nic", "tag": tag}} for tag in (7, 8)}
    lab.create(**parents)
    assert lab.dos("start") == []
    for tag in (7, 8):
        assert lab.links()[f"nic.{tag}"]["master"] == lab.bridge(f"net{tag}")
    assert lab.dos("erase") == []
    assert lab.links().keys() == {"lo", "nic", "wire", "nic.7"}


def test_a_kernel_that_knows_no_vlans(lab: Lab, knows_vlans: bool) -> None:
    if knows_vlans:
        pytest.skip("the kernel of this machine knows VLANs")
    lab.create(trunk=TRUNK, public=PUBLIC)
    first, second, third = lab.dos("start")
    bridge = lab.bridge("trunk")
    for warning, tag in ((first, 100), (second, 101)):
        assert warning.startswith(f"WARNING: network 'lab_trunk' has no VLAN {tag}: ")
        assert f"'ip link add link {bridge} name {bridge}.{tag} type vlan id {tag}'" in warning
        assert warning.endswith("load its module 8021q")
    assert third.startswith("WARNING: network 'lab_public' is not connected to VLAN 100 of trunk:")
    assert all(network.isActive() for network in lab.host.connection.listAllNetworks())
    assert lab.dos("erase") == []
