"""Networks in libvirt."""

from __future__ import annotations

from contextlib import ExitStack

import libvirt

from devops_snapshot.errors import NotFoundError

from ..models.address_pool import Address, AddressPool
from ..models.network import Interface, L2NetworkDevice
from ..models.params import ParamField, ParamMultiField, registered
from . import names, wiring
from .connection import find_network
from .driver import MODULE, LibvirtDriver
from .host_networks import define_on_own_bridge
from .network_problems import network_problems, network_start_problems
from .network_xml import BRIDGE, Dhcp, DhcpHost, HostAddress, NetworkSpec, network_xml
from .nwfilter import INTERFACE_PRIORITY, NETWORK_PRIORITY, Filtered, NwFilter
from .refusal import refuse

FORWARD_MODES = (None, "nat", "route", "bridge", "private", "vepa", "passthrough", "hostdev")
PXE_BOOT_FILE = "pxelinux.0"


@registered(f"{MODULE}:LibvirtL2NetworkDevice")
class LibvirtL2NetworkDevice(Filtered, L2NetworkDevice):
    """A network of libvirt's, with a bridge; ``stp`` None is as the driver says."""

    uuid: ParamField[str | None] = ParamField(None)
    forward = ParamMultiField(mode=ParamField(None, choices=FORWARD_MODES))
    dhcp: ParamField[bool] = ParamField(False)
    stp: ParamField[bool | None] = ParamField(None)
    has_pxe_server: ParamField[bool] = ParamField(False)
    tftp_root_dir: ParamField[str | None] = ParamField(None)
    vlan_ifaces: ParamField[list[int]] = ParamField([])
    parent_iface = ParamMultiField(
        phys_dev=ParamField(None), l2_net_dev=ParamField(None), tag=ParamField(None)
    )

    class Meta:
        proxy = True

    @property
    def driver(self) -> LibvirtDriver:
        driver: LibvirtDriver = super().driver
        return driver

    @property
    def network_name(self) -> str:
        """What the network is called in libvirt."""
        return names.network_name(self._environment_name, self.name)

    @property
    def libvirt_network(self) -> libvirt.virNetwork:
        """The network in libvirt; raises NotFoundError."""
        network = self._find()
        if network is None:
            raise NotFoundError(
                f"network '{self.network_name}' is not there on {self.driver.connection_string}"
            )
        return network

    @property
    def nwfilter(self) -> NwFilter | None:
        """The filter of all its traffic; None where the driver is to have none."""
        name = names.network_filter_name(self._environment_name, self.name)
        return self.driver.nwfilter(name, priority=NETWORK_PRIORITY)

    def bridge_name(self) -> str:
        """The bridge on libvirt's host."""
        with self.driver.asking(f"find the bridge of network '{self.network_name}'"):
            return str(self.libvirt_network.bridgeName())

    def exists(self) -> bool:
        """Whether libvirt has the network."""
        return self._find() is not None

    def is_active(self) -> bool:
        """Whether the network is there and up."""
        network = self._find()
        with self.driver.asking(f"look at network '{self.network_name}'"):
            return network is not None and bool(network.isActive())

    def define(self) -> None:
        """Define the network, started whenever libvirt starts; libvirt picks the bridge.

        :raises ConflictError: libvirt has a network or a filter of that name
        :raises TemplateError: a setting of the network makes no sense
        :raises UnsupportedError: a setting of the network is not supported
        """
        refuse(network_problems(self))
        with ExitStack() as undo, self.driver.asking(f"define network '{self.network_name}'"):
            if self.nwfilter is not None:
                self.nwfilter.define()
                undo.callback(self.nwfilter.remove)
            network = self._define(network_xml(self._spec()))
            undo.callback(network.undefine)
            network.setAutostart(True)
            self.uuid = network.UUIDString()
            self.save()
            undo.pop_all()

    def start(self) -> None:
        """Bring the network up, with its VLANs and its parent interface; what is there stays.

        VLANs and parents that cannot be had are told of in warnings.

        :raises NotFoundError: it is a bridge of the host that is not there
        """
        refuse(network_start_problems(self))
        self.bring_up()
        wiring.connect(self)

    def bring_up(self) -> None:
        """Bring the network up, joined to nothing else yet; nothing happens if it is up."""
        if not self.is_active():
            with self.driver.asking(f"start network '{self.network_name}'"):
                self.libvirt_network.create()

    def destroy(self) -> None:
        """Take the network down; nothing happens if it is."""
        if self.is_active():
            with self.driver.asking(f"stop network '{self.network_name}'"):
                self.libvirt_network.destroy()
            wiring.disconnect(self)

    def remove(self) -> None:
        """Delete the network and its filter, if libvirt has them, and the row."""
        network = self._find()
        if network is not None:
            with self.driver.asking(f"remove network '{self.network_name}'"):
                persistent = network.isPersistent()
                if network.isActive():
                    network.destroy()
                if persistent:
                    network.undefine()
            wiring.disconnect(self)
        if self.nwfilter is not None:
            self.nwfilter.remove()
        self.delete()

    def _define(self, xml: str) -> libvirt.virNetwork:
        if self.forward.mode == BRIDGE:
            return self.driver.conn.networkDefineXML(xml)
        return define_on_own_bridge(self.driver.conn, xml)

    @property
    def _environment_name(self) -> str:
        assert self.group is not None, "a network belongs to a group"
        assert self.group.environment is not None, "a group belongs to an environment"
        return self.group.environment.name

    def _find(self) -> libvirt.virNetwork | None:
        with self.driver.asking(f"look up network '{self.network_name}'"):
            return find_network(self.driver.conn, self.uuid)

    def _spec(self) -> NetworkSpec:
        if self.forward.mode == BRIDGE:
            bridge = self.parent_iface.phys_dev
            return NetworkSpec(name=self.network_name, forward=BRIDGE, bridge=bridge)
        return NetworkSpec(
            name=self.network_name,
            stp=self.driver.stp if self.stp is None else self.stp,
            forward=self.forward.mode,
            host=None if self.address_pool is None else self._host_address(self.address_pool),
        )

    def _host_address(self, pool: AddressPool) -> HostAddress:
        """The address reserved as ``l2_network_device``, else the subnet's first."""
        return HostAddress(
            address=pool.get_ip("l2_network_device") or str(pool.ip_network[1]),
            prefix=pool.ip_network.prefixlen,
            dhcp=self._dhcp(pool) if self.dhcp else None,
            tftp_root=self.tftp_root_dir if self.has_pxe_server else None,
            boot_file=PXE_BOOT_FILE if self.has_pxe_server else None,
        )

    def _dhcp(self, pool: AddressPool) -> Dhcp:
        start, end = pool.ip_range_start("dhcp"), pool.ip_range_end("dhcp")
        assert start is not None, "network_problems() refuses it"
        assert end is not None, "a range has two ends"
        addresses = Address.objects.filter(interface__l2_network_device=self)
        hosts = tuple(
            DhcpHost(address.interface.mac_address, address.ip_address, address.interface.node.name)
            for address in addresses.select_related("interface__node").order_by("interface", "id")
            if address.interface is not None and address.ip_address in pool.ip_network
        )
        return Dhcp(start, end, hosts)


@registered(f"{MODULE}:LibvirtInterface")
class LibvirtInterface(Filtered, Interface):
    """A network card; libvirt has it as part of the node's domain, and its filter."""

    class Meta:
        proxy = True

    @property
    def driver(self) -> LibvirtDriver:
        driver: LibvirtDriver = super().driver
        return driver

    @property
    def nwfilter(self) -> NwFilter | None:
        """The filter of its traffic; None where the driver is to have none."""
        network = self.l2_network_device
        if not isinstance(network, LibvirtL2NetworkDevice) or network.nwfilter is None:
            return None
        includes = network.nwfilter.name
        name = names.interface_filter_name(includes, self.mac_address)
        return self.driver.nwfilter(name, includes=includes, priority=INTERFACE_PRIORITY)

    def define(self) -> None:
        """Define its filter; the node's definition has the rest."""
        if self.nwfilter is not None:
            self.nwfilter.define()
        super().define()

    def remove(self) -> None:
        """Delete its filter, which no running domain may use, and the row."""
        if self.nwfilter is not None:
            self.nwfilter.remove()
        super().remove()
