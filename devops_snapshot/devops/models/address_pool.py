"""Address pools: which subnet an environment's network has, and which addresses in it are taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, models, transaction
from netaddr import AddrFormatError, IPAddress, IPNetwork

from devops_snapshot.errors import ConflictError, DevopsError

from .base import BaseModel
from .params import ParamedModel, ParamField, registered

FIRST_HOST, LAST_HOST = 2, -2
"""Where addresses are taken from without a range: after the gateway, before the last address."""


@registered("devops.models.network:AddressPool")
class AddressPool(ParamedModel, BaseModel):
    """A subnet of an environment with its reserved addresses and ranges (all as strings)."""

    environment = models.ForeignKey("Environment", on_delete=models.CASCADE)
    name = models.CharField(max_length=255)
    net = models.CharField(max_length=255, unique=True)

    vlan_start: ParamField[int | None] = ParamField(None)
    vlan_end: ParamField[int | None] = ParamField(None)
    tag: ParamField[int | None] = ParamField(None)
    ip_reserved: ParamField[dict[str, Any]] = ParamField({})
    ip_ranges: ParamField[dict[str, Any]] = ParamField({})

    class Meta:
        db_table = "devops_address_pool"
        unique_together = ("name", "environment")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def address_pool_create(
        cls, name: str, environment: Any, pool: Iterable[IPNetwork], **params: Any
    ) -> AddressPool:
        """A pool on the first of the subnets ``pool`` that no other environment has.

        Integers in ``ip_reserved`` and ``ip_ranges`` are indexes into the subnet. Raises
        ConflictError if the name is taken or no subnet is left.
        """
        if environment.get_address_pools(name=name).exists():
            raise ConflictError(
                f"Environment {environment.name!r} already has address pool {name!r}"
            )
        for net in pool:
            row = cls(environment=environment, name=name, net=str(net), **params)
            row.resolve_indexes()
            try:
                with transaction.atomic():
                    row.save()
            except IntegrityError:  # another command took this subnet a moment ago
                continue
            return row
        raise ConflictError(
            f"No free subnet is left for address pool {name!r}",
            hint="Name another `net` in the template or erase an environment",
        )

    def resolve_indexes(self) -> None:
        """Turn indexes such as ``+1`` and ``-2`` into addresses of the subnet."""
        self.ip_reserved = {
            name: self._address(value, f"ip_reserved {name}")
            for name, value in self.ip_reserved.items()
        }
        self.ip_ranges = {
            name: [self._address(value, f"ip_ranges {name}") for value in bounds]
            for name, bounds in self.ip_ranges.items()
        }

    def _address(self, value: Any, place: str) -> str:
        try:
            if isinstance(value, int) or str(value).startswith(("+", "-")):
                return str(self.ip_network[int(value)])
            return str(IPAddress(str(value)))
        except (IndexError, ValueError, TypeError, AddrFormatError) as error:
            raise DevopsError(
                f"{value!r} ({place} of address pool {self.name!r}) is no address in {self.net}"
            ) from error

    @property
    def ip_network(self) -> IPNetwork:
        """The subnet."""
        return IPNetwork(self.net)

    @property
    def gateway(self) -> str:
        """The reserved address ``gateway``, else the first one of the subnet."""
        return self.get_ip("gateway") or str(self.ip_network[1])

    def get_ip(self, ip_name: str) -> str | None:
        """The address reserved under that name."""
        address = self.ip_reserved.get(ip_name)
        return None if address is None else str(address)

    def ip_range_start(self, range_name: str) -> str | None:
        """First address of a range."""
        return self._range_bound(range_name, 0)

    def ip_range_end(self, range_name: str) -> str | None:
        """Last address of a range."""
        return self._range_bound(range_name, 1)

    def _range_bound(self, range_name: str, index: int) -> str | None:
        bounds = self.ip_ranges.get(range_name)
        return None if bounds is None else str(bounds[index])

    def ip_range_set(self, range_name: str, ip_range_start: str, ip_range_end: str) -> None:
        """Add a range; raises ConflictError if there is one of that name."""
        if range_name in self.ip_ranges:
            raise ConflictError(f"Address pool {self.name!r} already has a range {range_name!r}")
        self.ip_ranges = {**self.ip_ranges, range_name: [ip_range_start, ip_range_end]}
        self.save()

    def next_ip(self) -> IPAddress:
        """The first address that no interface has and nobody reserved.

        Taken from the range ``dhcp`` if there is one. Raises ConflictError if none is left.
        """
        network = self.ip_network
        first = IPAddress(self.ip_range_start("dhcp") or network[FIRST_HOST])
        last = IPAddress(self.ip_range_end("dhcp") or network[LAST_HOST])
        taken = set(self._taken_addresses())
        for number in range(int(first), int(last) + 1):
            address = IPAddress(number, version=network.version)
            if address in network and str(address) not in taken:
                return address
        raise ConflictError(f"No free address is left in address pool {self.name!r} ({self.net})")

    def _taken_addresses(self) -> Iterable[str]:
        yield from map(str, self.ip_reserved.values())
        yield from Address.objects.filter(
            interface__l2_network_device__address_pool=self
        ).values_list("ip_address", flat=True)


class NetworkPool(BaseModel):
    """Which address pool a logical (OpenStack) network uses in a group."""

    group = models.ForeignKey("Group", null=True, on_delete=models.CASCADE)
    address_pool = models.ForeignKey("AddressPool", null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=255)

    class Meta:
        db_table = "devops_network_pool"

    def __str__(self) -> str:
        return self.name

    @property
    def _pool(self) -> AddressPool:
        if self.address_pool is None:
            raise DevopsError(f"Network pool {self.name!r} has no address pool")
        return self.address_pool

    @property
    def gateway(self) -> str:
        """The gateway of the address pool."""
        return self._pool.gateway

    @property
    def vlan_start(self) -> int | None:
        """The VLAN, or the first of the VLANs."""
        return self._pool.vlan_start or self._pool.tag

    @property
    def vlan_end(self) -> int | None:
        """The last of the VLANs."""
        return self._pool.vlan_end

    @property
    def net(self) -> str:
        """The subnet in CIDR notation."""
        return self._pool.net

    def ip_range(
        self,
        range_name: str | None = None,
        relative_start: int = FIRST_HOST,
        relative_end: int = LAST_HOST,
    ) -> tuple[str, str]:
        """First and last address of a range, by default the one named as the group.

        A range that is not there is made from the indexes and stored.
        """
        name = range_name or (self.group.name if self.group else "default")
        pool = self._pool
        if name not in pool.ip_ranges:
            network = pool.ip_network
            pool.ip_range_set(name, str(network[relative_start]), str(network[relative_end]))
        start, end = pool.ip_ranges[name]
        return str(start), str(end)


class Address(models.Model):
    """An address of an interface."""

    interface = models.ForeignKey("Interface", null=True, on_delete=models.CASCADE)
    ip_address = models.GenericIPAddressField()

    class Meta:
        db_table = "devops_address"
        verbose_name_plural = "addresses"

    def __str__(self) -> str:
        return self.ip_address
