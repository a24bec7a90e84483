"""The driver of a group: which libvirt, which storage pool, and how its guests are built."""

from __future__ import annotations

from contextlib import AbstractContextManager

import libvirt
from netaddr import IPNetwork

from devops_snapshot.connection import open_connection
from devops_snapshot.storage_pool import get_pool

from ..models.driver import Driver
from ..models.params import ParamField, registered
from .connection import asking, shared_connection
from .host_networks import subnets
from .nwfilter import NwFilter

MODULE = "devops.driver.libvirt.libvirt_driver"
"""Where fuel-devops has its classes of this driver; rows name them."""


@registered(f"{MODULE}:LibvirtDriver")
class LibvirtDriver(Driver):
    """A libvirt and a storage pool of it; ``reboot_timeout`` in milliseconds."""

    connection_string: ParamField[str] = ParamField("qemu:///system")
    storage_pool_name: ParamField[str] = ParamField("default")
    stp: ParamField[bool] = ParamField(True)
    hpet: ParamField[bool] = ParamField(True)
    use_host_cpu: ParamField[bool] = ParamField(True)
    enable_acpi: ParamField[bool] = ParamField(False)
    enable_nwfilters: ParamField[bool] = ParamField(False)
    reboot_timeout: ParamField[int | None] = ParamField(None)
    use_hugepages: ParamField[bool] = ParamField(False)
    vnc_password: ParamField[str | None] = ParamField(None)

    class Meta:
        proxy = True

    @property
    def conn(self) -> libvirt.virConnect:
        """The connection that this process shares; it serves five requests at a time."""
        return shared_connection(self.connection_string)

    def open(self) -> AbstractContextManager[libvirt.virConnect]:
        """A connection of one's own, for a thread that keeps libvirt busy."""
        return open_connection(self.connection_string)

    @property
    def pool(self) -> libvirt.virStoragePool:
        """The storage pool; raises NotFoundError, and HypervisorError if it is not started."""
        return get_pool(self.conn, self.storage_pool_name, uri=self.connection_string)

    def asking(self, what: str) -> AbstractContextManager[None]:
        """Inside, libvirt's errors become "cannot <what> on <URI>: <reason>"."""
        return asking(self.connection_string, what)

    def nwfilter(self, name: str, *, priority: int, includes: str | None = None) -> NwFilter | None:
        """The network filter of that name; None where there are to be no filters."""
        if not self.enable_nwfilters:
            return None
        return NwFilter(self.conn, name, priority, self.asking, includes)

    def get_allocated_networks(self) -> list[IPNetwork]:
        """The subnets of all networks that libvirt has, running or not."""
        with self.asking("list the networks"):
            return subnets(self.conn)
