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

Range = tuple[IPAddress, IPAddress]
"""First and last address."""

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
        [] if each.isolated or each.gateway is None else list(islice(_spare(each), _TRIED))
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


def _spare(attachment: Attachment) -> Iterator[IPAddress]:
    assert attachment.gateway is not None, "nobody asks otherwise"
    dhcp = attachment.dhcp
    return spare_addresses(
        attachment.gateway.network,
        taken={attachment.gateway.ip, *_known(attachment)},
        ranges=_ranges(attachment.pool),
        dhcp=[] if dhcp is None else [(dhcp.start, dhcp.end)],
    )


def spare_addresses(
    subnet: IPNetwork,
    *,
    taken: Collection[IPAddress],
    ranges: Sequence[Range],
    dhcp: Sequence[Range],
) -> Iterator[IPAddress]:
    """Addresses that nobody is known to have, the least likely to be anybody's first.

    :param ranges: that addresses are taken from by whoever deploys something: to be spared
    :param dhcp: given away to any guest that asks: the last resort
    """
    yield from _outside([*ranges, *dhcp], subnet, taken)
    yield from (each for each in _outside(dhcp, subnet, taken) if _is_in(each, ranges))
    yield from (each for each in _outside([], subnet, taken) if _is_in(each, dhcp))


def _outside(
    ranges: Sequence[Range], subnet: IPNetwork, taken: Collection[IPAddress]
) -> Iterator[IPAddress]:
    """From the top of the subnet down; neither the first nor the last address is a host's."""
    last = subnet.num_addresses - 2
    for index in range(last, max(last - _LOOKED_AT, 0), -1):
        address = subnet[index]
        if address not in taken and not _is_in(address, ranges):
            yield address


def _is_in(address: IPAddress, ranges: Sequence[Range]) -> bool:
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


def _ranges(pool: Any) -> list[Range]:
    if pool is None:
        return []
    ranges = (pool.params.get("ip_ranges") or {}).values()
    return [(ip_address(start), ip_address(end)) for start, end in ranges]
