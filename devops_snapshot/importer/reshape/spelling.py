"""Telling the same address in other letters.

fuel-devops's tables take each MAC address and each subnet once (``UNIQUE`` on
``devops_interface.mac_address`` and ``devops_address_pool.net``), and a copy that comes back from
memory has those of its original. But they are text: ``10.109.0.0/24`` is ``10.109.0.0/024`` as
well, and ``64:ec:..`` is ``64:EC:..``, for netaddr, for libvirt, for everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, product

from lxml import etree

from ...manifest.document import AddressPool, Interface, Manifest, Node
from ...manifest.nwfilters import interface_filter_name
from ...manifest.spelled import keeping
from .macs import plain_mac
from .parts import with_definitions, with_nodes

_OCTETS = 6
_LONGEST = 255  # characters that a row takes


def spelled_apart(
    manifest: Manifest, *, macs: Collection[str] = (), subnets: Collection[str] = ()
) -> Manifest:
    """The manifest with rows that can stand in the same database as others.

    Rows, and filters that are called after them: domains, networks and DHCP entries keep the usual
    spelling.

    :param macs: those that the database has
    :param subnets: likewise; of networks that are isolated, for no others may have the same
    """

    def of_node(node: Node) -> Node:
        spelled = [_spelled(interface, taken_macs) for interface in node.interfaces]
        filters = {
            before.nwfilter.name: after.nwfilter.name
            for before, after in zip(node.interfaces, spelled, strict=True)
            if before.nwfilter and after.nwfilter and before != after
        }
        node = node.model_copy(update={"interfaces": tuple(spelled)})
        return _with_filters(node, filters) if filters else node

    taken_macs, taken_subnets = set(macs), set(subnets)
    manifest = with_nodes(manifest, of_node)
    pools = tuple(_spelled_pool(pool, taken_subnets) for pool in manifest.environment.address_pools)
    environment = manifest.environment.model_copy(update={"address_pools": pools})
    return manifest.model_copy(update={"environment": environment})


def _spelled(interface: Interface, taken: set[str]) -> Interface:
    """The row in other letters, and its filter, which is called after it."""
    original = interface.mac_address
    mac = _free(_macs(original), taken)
    if mac == original:
        return interface
    there = interface.nwfilter
    if there is not None:
        name = interface_filter_name(there.includes or "", mac)
        there = there.model_copy(update={"name": name})
    params = keeping(interface.params, original)
    return interface.model_copy(update={"mac_address": mac, "nwfilter": there, "params": params})


def _spelled_pool(pool: AddressPool, taken: set[str]) -> AddressPool:
    net = _free(_subnets(pool.net), taken)
    if net == pool.net:
        return pool
    return pool.model_copy(update={"net": net, "params": keeping(pool.params, pool.net)})


def _with_filters(node: Node, renamed: Mapping[str, str]) -> Node:
    def definition(root: etree._Element) -> None:
        for reference in root.iterfind("devices/interface/filterref[@filter]"):
            name = reference.get("filter", "")
            reference.set("filter", renamed.get(name, name))

    return with_definitions(node, definition=definition)


def _free(spellings: Iterator[str], taken: set[str]) -> str:
    """The first that is not taken; from now on it is. If all are, the database will refuse it."""
    first = next(spellings)
    found = next((text for text in chain([first], spellings) if text not in taken), first)
    taken.add(found)
    return found


def _macs(mac: str) -> Iterator[str]:
    """As it was exported; then those that libvirt takes, then those that people understand."""
    yield mac
    plain = plain_mac(mac)
    if len(plain) != 2 * _OCTETS:
        return
    for separators in product(":-", repeat=_OCTETS - 1):
        between = [*separators, ""]
        text = "".join(plain[2 * i : 2 * i + 2] + between[i] for i in range(_OCTETS))
        cases = [(c,) if not c.isalpha() else (c, c.upper()) for c in text]
        yield from map("".join, product(*cases))


def _subnets(subnet: str) -> Iterator[str]:
    """As it was exported; then with more and more zeros before the prefix length."""
    yield subnet
    address, slash, prefix = subnet.partition("/")
    if not prefix.isdecimal():
        return
    length = prefix.lstrip("0") or "0"
    for zeros in range(_LONGEST - len(subnet)):
        yield f"{address}{slash}{'0' * zeros}{length}"
