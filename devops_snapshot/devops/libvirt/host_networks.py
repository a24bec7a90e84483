"""The networks that a libvirt host has, whoever defined them, and how a new one joins them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import libvirt
from lxml import etree
from netaddr import IPNetwork, cidr_abbrev_to_verbose

from devops_snapshot.errors import HypervisorError

ATTEMPTS = 20
PAUSE = 0.2
"""Seconds, at most, before another attempt."""


def subnets(connection: libvirt.virConnect) -> list[IPNetwork]:
    """The subnets of all networks, running or not; without a mask it is the address's class."""
    found = []
    for network in _descriptions(connection):
        for ip in network.iterfind("ip[@address]"):
            address, mask = ip.get("address", ""), ip.get("prefix") or ip.get("netmask")
            subnet = f"{address}/{mask}" if mask else cidr_abbrev_to_verbose(address)
            found.append(IPNetwork(subnet).cidr)
    return found


def define_on_own_bridge(connection: libvirt.virConnect, xml: str) -> libvirt.virNetwork:
    """Define a network whose XML names no bridge, on one that no other network has.

    libvirt picks the first ``virbrN`` that neither a network nor a device of its host bears, but
    two that define at once may get the same (18 of 240 with eight threads, measured); the second to
    start would then fail. So whoever sees that its bridge is not its own tries again.

    :raises HypervisorError: other networks were always faster
    :raises libvirt.libvirtError: libvirt refuses the network
    """
    for _ in range(ATTEMPTS):
        network = connection.networkDefineXML(xml)
        bridges = [description.find("bridge") for description in _descriptions(connection)]
        names = [bridge.get("name") for bridge in bridges if bridge is not None]
        if names.count(network.bridgeName()) == 1:
            return network
        network.undefine()
        time.sleep(random.uniform(0, PAUSE))
    raise HypervisorError(f"found no free bridge in {ATTEMPTS} attempts", hint="Try again")


def _descriptions(connection: libvirt.virConnect) -> Iterator[etree._Element]:
    """The XML of every network, but for those that vanish meanwhile."""
    for network in connection.listAllNetworks():
        try:
            yield etree.fromstring(network.XMLDesc())
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
