"""Networks, as libvirt reports them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from netaddr import IPNetwork

from devops_snapshot.connection import open_connection
from devops_snapshot.devops.libvirt.host_networks import define_on_own_bridge
from devops_snapshot.devops.libvirt.network import LibvirtL2NetworkDevice
from devops_snapshot.devops.libvirt.network_xml import NetworkSpec, network_xml
from devops_snapshot.errors import ConflictError, NotFoundError, TemplateError, UnsupportedError
from tests.bed import Host

from .builder import DHCP_RANGE, Builder
from .semantic import said

pytestmark = pytest.mark.usefixtures("database")


def reported(device: LibvirtL2NetworkDevice) -> str:
    """libvirt's XML, without what it chose itself."""
    return said(device.libvirt_network.XMLDesc(1), without=["uuid", "mac", "bridge/@name"])


def test_an_isolated_network_starts_stops_and_goes(alpha: Host) -> None:
    device = Builder(alpha).network("private")
    device.define()
    assert device.libvirt_network.name() == device.network_name == "env_private"
    assert device.libvirt_network.UUIDString() == device.uuid
    assert device.libvirt_network.autostart()
    assert device.exists()
    assert not device.is_active()
    assert reported(device) == said(
        "<network><name>env_private</name><bridge stp='on' delay='0'/></network>"
    )
    for _ in range(2):
        device.start()
        assert device.is_active()
    for _ in range(2):
        device.destroy()
        assert not device.is_active()
    device.start()
    device.remove()
    assert alpha.connection.listAllNetworks() == []
    assert not LibvirtL2NetworkDevice.objects.filter(name="private").exists()


def test_a_nat_network_hands_out_addresses(alpha: Host) -> None:
    builder = Builder(alpha)
    pool = builder.address_pool("pool", "10.108.0.0/24", ip_ranges=DHCP_RANGE)
    device = builder.network("admin", address_pool=pool, dhcp=True, forward={"mode": "nat"})
    interface = {"label": "eth0", "l2_network_device": "admin", "mac_address": "64:00:00:00:00:01"}
    builder.node("slave-01", interfaces=[interface])
    device.define()
    assert reported(device) == said("""
        <network>
          <name>env_admin</name>
          <forward mode='nat'/>
          <bridge stp='on' delay='0'/>
          <ip address='10.108.0.1' prefix='24'>
            <dhcp>
              <range start='10.108.0.2' end='10.108.0.254'/>
              <host mac='64:00:00:00:00:01' name='slave-01' ip='10.108.0.2'/>
            </dhcp>
          </ip>
        </network>""")
    device.start()
    assert device.is_active()


def test_the_reserved_address_stp_and_route(alpha: Host) -> None:
    builder = Builder(alpha, stp=True)
    pool = builder.address_pool("pool", "10.108.0.0/25", ip_reserved={"l2_network_device": "-2"})
    device = builder.network("public", address_pool=pool, stp=False, forward={"mode": "route"})
    device.define()
    assert reported(device) == said("""
        <network>
          <name>env_public</name>
          <forward mode='route'/>
          <bridge stp='off' delay='0'/>
          <ip address='10.108.0.126' prefix='25'/>
        </network>""")
    device.start()


def test_the_driver_decides_on_stp_where_the_network_does_not(alpha: Host) -> None:
    device = Builder(alpha, stp=False).network("private")
    device.define()
    assert "stp='off'" in device.libvirt_network.XMLDesc()


def test_a_pxe_server_is_announced_and_served(alpha: Host) -> None:
    builder = Builder(alpha)
    pool = builder.address_pool("pool", "10.108.0.0/24", ip_ranges=DHCP_RANGE)
    device = builder.network(
        "admin",
        address_pool=pool,
        dhcp=True,
        has_pxe_server=True,
        tftp_root_dir=str(alpha.home),
    )
    device.define()
    text = device.libvirt_network.XMLDesc()
    assert f"<tftp root='{alpha.home}'/>" in text
    assert "<bootp file='pxelinux.0'/>" in text
    device.start()


def test_bridges_avoid_those_of_networks_and_devices_of_the_host(alpha: Host) -> None:
    alpha.run(["ip", "link", "add", "virbr1", "type", "bridge"])
    try:
        builder = Builder(alpha)
        devices = [builder.network(name) for name in ("a", "b", "c")]
        for device in devices:
            device.define()
        assert [device.bridge_name() for device in devices] == ["virbr0", "virbr2", "virbr3"]
    finally:
        alpha.run(["ip", "link", "del", "virbr1"])


def test_bridges_stay_apart_when_many_define_at_once(alpha: Host) -> None:
    def define(number: int) -> str:
        with open_connection(alpha.uri) as connection:
            xml = network_xml(NetworkSpec(f"network{number}"))
            return str(define_on_own_bridge(connection, xml).bridgeName())

    with ThreadPoolExecutor(8) as threads:
        bridges = list(threads.map(define, range(16)))
    assert len(set(bridges)) == 16


def test_allocated_networks_are_all_subnets_that_libvirt_has(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("a", address_pool=builder.address_pool("a", "10.108.0.0/24")).define()
    builder.network("b").define()
    alpha.connection.networkDefineXML("""
        <network><name>c</name><ip address='192.168.7.1' netmask='255.255.255.0'/>
        <ip family='ipv6' address='fd00::1' prefix='64'/></network>""")
    alpha.connection.networkDefineXML("<network><name>d</name><ip address='10.9.8.1'/></network>")
    assert set(builder.driver.get_allocated_networks()) == {
        IPNetwork("10.108.0.0/24"),
        IPNetwork("192.168.7.0/24"),
        IPNetwork("fd00::/64"),
        IPNetwork("10.0.0.0/8"),
    }


def test_a_bridge_of_the_host(alpha: Host) -> None:
    builder = Builder(alpha)
    pool = builder.address_pool("pool", "10.108.0.0/24")
    device = builder.network(
        "lan",
        address_pool=pool,
        dhcp=True,
        forward={"mode": "bridge"},
        parent_iface={"phys_dev": "br-lan"},
    )
    device.define()
    assert said(device.libvirt_network.XMLDesc(), without=["uuid"]) == said("""
        <network>
          <name>env_lan</name>
          <forward mode='bridge'/>
          <bridge name='br-lan'/>
        </network>""")
    assert device.bridge_name() == "br-lan"
    with pytest.raises(NotFoundError, match=r"br-lan of network 'lan' is not there.*ip link add"):
        device.start()
    alpha.run(["ip", "link", "add", "br-lan", "type", "veth", "peer", "name", "other"])
    with pytest.raises(ConflictError, match="br-lan of network 'lan' is no bridge"):
        device.start()
    alpha.run(["ip", "link", "del", "br-lan"])
    alpha.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    try:
        device.start()
        assert device.is_active()
        device.remove()
        assert alpha.run(["ip", "link", "show", "br-lan"]).stdout
    finally:
        alpha.run(["ip", "link", "del", "br-lan"])


def test_a_bridge_of_the_host_needs_a_name(alpha: Host) -> None:
    device = Builder(alpha).network("lan", forward={"mode": "bridge"})
    with pytest.raises(TemplateError, match=r"'bridge', but no bridge.*phys_dev"):
        device.define()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"vlan_ifaces": [1, 4095]}, "has VLAN 4095, which is none from 1 to 4094"),
        ({"vlan_ifaces": ["100"]}, "has VLAN '100'"),
        ({"parent_iface": {"l2_net_dev": "other", "tag": 0}}, "has VLAN 0"),
        ({"parent_iface": {"phys_dev": "eth1; reboot"}}, "cannot be a network device"),
        ({"parent_iface": {"phys_dev": "-eth1"}}, "cannot be a network device"),
        ({"parent_iface": {"phys_dev": "enx0123456789", "tag": 100}}, "cannot be a network device"),
        ({"parent_iface": {"l2_net_dev": "net"}}, "has itself as its parent_iface"),
    ],
)
def test_vlans_and_parents_that_make_no_sense(
    alpha: Host, params: dict[str, object], message: str
) -> None:
    device = Builder(alpha).network("net", **params)
    with pytest.raises(TemplateError, match=message):
        device.define()
    assert alpha.connection.listAllNetworks() == []


@pytest.mark.parametrize("mode", ["private", "vepa", "passthrough", "hostdev"])
def test_other_forward_modes_are_refused_before_anything_is_made(alpha: Host, mode: str) -> None:
    device = Builder(alpha).network("public", forward={"mode": mode})
    with pytest.raises(UnsupportedError, match=f"forward mode '{mode}' of network 'public'"):
        device.define()
    assert alpha.connection.listAllNetworks() == []


def test_dhcp_without_addresses_to_hand_out_is_refused(alpha: Host) -> None:
    builder = Builder(alpha)
    with pytest.raises(TemplateError, match="'bare' has dhcp, but no address_pool"):
        builder.network("bare", dhcp=True).define()
    pool = builder.address_pool("pool", "10.108.0.0/24")
    with pytest.raises(TemplateError, match="address pool 'pool' has no ip_ranges 'dhcp'"):
        builder.network("admin", dhcp=True, address_pool=pool).define()


def test_a_name_that_is_taken_is_refused(alpha: Host) -> None:
    alpha.connection.networkDefineXML("<network><name>env_private</name></network>")
    device = Builder(alpha).network("private")
    with pytest.raises(ConflictError, match="network 'env_private' is already there on qemu"):
        device.define()


def test_a_network_that_libvirt_lost_is_removed_all_the_same(alpha: Host) -> None:
    device = Builder(alpha).network("private")
    device.define()
    device.libvirt_network.undefine()
    assert not device.exists()
    assert not device.is_active()
    device.destroy()
    with pytest.raises(NotFoundError, match="network 'env_private' is not there on qemu"):
        device.start()
    device.remove()
    assert not LibvirtL2NetworkDevice.objects.exists()
