"""Which address the namespace has on a network.

Of an isolated network, the gateway's: nobody else has it. On others the host has that, and the
namespace needs one that no guest has; guests of a deployed cloud have addresses that neither the
database nor libvirt knows of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address, ip_interface
from itertools import islice
from typing import Any

from django.apps import apps

from ..errors import ConflictError
from ..hypervisor import asking
from .arp import who_answers
from .attachment import Attachment, IPAddress, IPInterface, IPNetwork
from .namespace import Namespace

_TRIED = 16
"""Addresses; with that many that answer, something else is wrong."""

_LOOKED_AT = 4096
"""At most, of a large subnet."""


def settle_addresses(
    namespace: Namespace, attachments: Sequence[Attachment]
) -> list[IPInterface | None]:
    """Give each device its address, unless it has one from an earlier env-shell; returns them.

    :raises ConflictError: there is none left
    """
    settled = {each.number: _present(namespace, each) for each in attachments}
    new = [each for each in attachments if settled[each.number] is None]
    for each, address in zip(new, _choose(namespace, new), strict=True):
        settled[each.number] = address
        if address is not None:
            namespace.ip("address", "add", str(address), "dev", each.device)
    return [settled[each.number] for each in attachments]


def _present(namespace: Namespace, attachment: Attachment) -> IPInterface | None:
    [device] = namespace.ip("address", "show", "dev", attachment.device)
    for entry in device["addr_info"]:
        address = ip_interface(f"{entry['local']}/{entry['prefixlen']}")
        if address.network == attachment.subnet:
            return address
    return None


def _choose(
    namespace: Namespace, attachments: Sequence[Attachment]
) -> Iterator[IPInterface | None]:
    """One for each; all networks are asked at once, since that takes most of a second."""
    candidates = [
        [] if each.isolated or each.gateway is None else list(islice(spare_addresses(each), _TRIED))
        for each in attachments
    ]
    devices = [each.device for each in attachments]
    with ThreadPoolExecutor() as executor:
        answers = list(executor.map(partial(who_answers, namespace), devices, candidates))
    for each, addresses, taken in zip(attachments, candidates, answers, strict=True):
        if each.isolated or each.gateway is None:
            yield each.gateway
        else:
            yield _first_free(each, addresses, taken)


def _first_free(
    attachment: Attachment, addresses: Sequence[IPAddress], taken: Collection[IPAddress]
) -> IPInterface:
    for address in addresses:
        if address not in taken:
            assert attachment.subnet is not None, "these are of its subnet"
            return ip_interface(f"{address}/{attachment.subnet.prefixlen}")
    raise ConflictError(
        f"no address of network {attachment.network!r} ({attachment.subnet}) is free for env-shell"
    )


def spare_addresses(attachment: Attachment) -> Iterator[IPAddress]:
    """Addresses that nobody is known to have, the least likely to be anybody's first.

    Those in no range of the address pool come first, then those that only DHCP does not hand out.
    """
    subnet, gateway = attachment.subnet, attachment.gateway
    assert subnet is not None, "it has a gateway"
    assert gateway is not None, "it has a gateway"
    taken = {gateway.ip, *_known(attachment)}
    ranges = _ranges(attachment)
    dhcp = [] if attachment.dhcp is None else [(attachment.dhcp.start, attachment.dhcp.end)]
    yield from _outside([*ranges, *dhcp], subnet, taken)
    yield from (each for each in _outside(dhcp, subnet, taken) if _is_in(each, ranges))
    yield from (each for each in _outside([], subnet, taken) if _is_in(each, dhcp))


def _outside(
    ranges: Sequence[tuple[IPAddress, IPAddress]], subnet: IPNetwork, taken: set[IPAddress]
) -> Iterator[IPAddress]:
    """From the top of the subnet down; neither the first nor the last address is a host's."""
    last = subnet.num_addresses - 2
    for index in range(last, max(last - _LOOKED_AT, 0), -1):
        address = subnet[index]
        if address not in taken and not _is_in(address, ranges):
            yield address


def _is_in(address: IPAddress, ranges: Sequence[tuple[IPAddress, IPAddress]]) -> bool:
    return any(int(start) <= int(address) <= int(end) for start, end in ranges)


def _known(attachment: Attachment) -> Iterator[IPAddress]:
    """Addresses of nodes, of the pool's reservations, of leases."""
    if attachment.dhcp is not None:
        yield from (address for _, address, _ in attachment.dhcp.hosts)
    if attachment.pool is not None:
        reserved = attachment.pool.params.get("ip_reserved") or {}
        yield from map(ip_address, map(str, reserved.values()))
        rows = apps.get_model("devops", "Address").objects.filter(
            interface__l2_network_device__address_pool=attachment.pool
        )
        yield from (ip_address(row.ip_address) for row in rows)
    yield from _leased(attachment.row)


def _leased(row: Any) -> Iterator[IPAddress]:
    with asking(f"asking for the leases of network {row.name}"):
        network = row.driver.conn.networkLookupByUUIDString(row.params["uuid"])
        leases = network.DHCPLeases()
    yield from (ip_address(lease["ipaddr"]) for lease in leases)


def _ranges(attachment: Attachment) -> list[tuple[IPAddress, IPAddress]]:
    if attachment.pool is None:
        return []
    ranges = (attachment.pool.params.get("ip_ranges") or {}).values()
    return [(ip_address(start), ip_address(end)) for start, end in ranges]
