"""Rows written for a template are those that fuel-devops would have written."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from devops_snapshot.devops.models import Environment
from devops_snapshot.devops.template import load_template
from devops_snapshot.errors import ConflictError, DevopsError

from .databases import TABLES

TEMPLATES = Path(__file__).with_name("templates")
LIBVIRT = "devops.driver.libvirt.libvirt_driver"


def make(name: str, template: str = "lab.yaml", **environ: str) -> Environment:
    settings = load_template(TEMPLATES / template, {"ENV_NAME": name, **environ})
    return Environment.create_environment(settings)


def query(database: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def params(database: Path, table: str) -> list[str]:
    return [str(text) for (text,) in query(database, f"SELECT params FROM {table} ORDER BY id")]


def test_params_are_the_given_values_then_the_class_then_the_defaults(database: Path) -> None:
    make("lab")
    assert params(database, "devops_driver") == [
        '{"connection_string":"test:///default","storage_pool_name":"images","stp":true,'
        '"hpet":false,"use_host_cpu":true,"_class":"' + LIBVIRT + ':LibvirtDriver",'
        '"enable_acpi":false,"enable_nwfilters":false,"reboot_timeout":null,'
        '"use_hugepages":false,"vnc_password":null}'
    ]
    assert params(database, "devops_address_pool") == [
        '{"vlan_start":0,"ip_reserved":{"gateway":"10.77.0.1","l2_network_device":"10.77.0.1",'
        '"default_master":"10.77.0.2"},"ip_ranges":{"dhcp":["10.77.0.3","10.77.0.200"],'
        '"default":["10.77.0.2","10.77.0.254"]},"_class":"devops.models.network:AddressPool",'
        '"vlan_end":null,"tag":null}',
        '{"vlan_start":940,"vlan_end":951,"_class":"devops.models.network:AddressPool",'
        '"tag":null,"ip_reserved":{},"ip_ranges":{}}',
    ]
    assert params(database, "devops_l2_network_device") == [
        '{"forward":{"mode":"nat"},"dhcp":true,"_class":"' + LIBVIRT + ':LibvirtL2NetworkDevice",'
        '"uuid":null,"stp":null,"has_pxe_server":false,"tftp_root_dir":null,"vlan_ifaces":[],'
        '"parent_iface":{"phys_dev":null,"l2_net_dev":null,"tag":null}}',
        '{"dhcp":false,"_class":"' + LIBVIRT + ':LibvirtL2NetworkDevice",'
        '"uuid":null,"forward":{"mode":null},"stp":null,"has_pxe_server":false,'
        '"tftp_root_dir":null,"vlan_ifaces":[],'
        '"parent_iface":{"phys_dev":null,"l2_net_dev":null,"tag":null}}',
    ]
    rest_of_node = (
        '"uuid":null,"hypervisor":"kvm","os_type":"hvm","architecture":"x86_64",'
        '"has_vnc":true,"has_videocard":true,"bootmenu_timeout":0,"numa":[],'
        '"cloud_init_volume_name":null,"cloud_init_iface_up":null,"bmc_network":false,'
        '"bmc_user":"admin","bmc_password":"r00tme","bmc_port":null,"kernel_cmd":null,'
        '"ssh_port":22,"bootstrap_timeout":600,"deploy_timeout":3600,"deploy_check_cmd":null}'
    )
    node_class = f'"_class":"{LIBVIRT}:LibvirtNode",'
    assert params(database, "devops_node") == [
        '{"boot":["hd","cdrom"],"vcpu":2,"memory":2048,' + node_class + rest_of_node,
        '{"boot":["network","hd"],"vcpu":1,"memory":2560,' + node_class + rest_of_node,
        '{"boot":["network","hd"],"vcpu":1,"memory":1536,' + node_class + rest_of_node,
    ]
    rest_of_volume = (
        '"serial":null,"wwn":null,"multipath_count":0,"cloudinit_meta_data":null,'
        '"cloudinit_user_data":null,"shared_backing_store_name":null}'
    )
    volume_class = f'"_class":"{LIBVIRT}:LibvirtVolume","uuid":null,'
    with_source = volume_class + '"capacity":null,' + rest_of_volume
    with_capacity = volume_class + '"source_image":null,' + rest_of_volume
    assert params(database, "devops_volume") == [
        '{"format":"qcow2","source_image":"/srv/golden/base.qcow2",' + with_source,
        '{"capacity":1.5,"format":"qcow2",' + with_capacity,
        '{"format":"raw","source_image":"/srv/golden/master.iso",' + with_source,
        '{"capacity":20,"format":"qcow2",' + with_capacity,
        '{"capacity":20,"format":"qcow2",' + with_capacity,
    ]
    disk = '"target_dev":"%s","_class":"' + LIBVIRT + ':LibvirtDiskDevice"}'
    virtio = '{"device":"disk","type":"file","bus":"virtio",' + disk % "sda"
    cdrom = '{"device":"cdrom","type":"file","bus":"ide",' + disk % "sdb"
    assert params(database, "devops_diskdevice") == [virtio, cdrom, virtio, virtio]
    plain = '{"features":[],"_class":"' + LIBVIRT + ':LibvirtInterface"}'
    dpdk = plain.replace("[]", '["dpdk"]')
    assert params(database, "devops_interface") == [plain, plain, dpdk, plain, dpdk]


def test_other_columns(database: Path) -> None:
    make("lab")
    assert query(database, "SELECT name FROM devops_driver") == [("devops.driver.libvirt",)]
    assert query(database, "SELECT name, driver_id, environment_id FROM devops_group") == [
        ("default", 1, 1)
    ]
    assert query(database, "SELECT name, net FROM devops_address_pool ORDER BY id") == [
        ("admin-pool", "10.77.0.0/24"),
        ("private-pool", "10.77.1.0/24"),
    ]
    assert query(
        database, "SELECT name, address_pool_id, group_id FROM devops_network_pool ORDER BY id"
    ) == [("fuelweb_admin", 1, 1), ("private", 2, 1)]
    assert query(
        database,
        "SELECT name, backing_store_id, group_id, node_id FROM devops_volume ORDER BY id",
    ) == [
        ("golden", None, 1, None),
        ("system", 1, None, 1),
        ("iso", None, None, 1),
        ("system", None, None, 2),
        ("system", None, None, 3),
    ]
    assert query(
        database, "SELECT label, type, model, node_id FROM devops_interface ORDER BY id"
    ) == [
        ("eth0", "network", "e1000", 1),
        ("eth0", "network", "virtio", 2),
        ("eth1", "network", "virtio", 2),
        ("eth0", "network", "virtio", 3),
        ("eth1", "network", "virtio", 3),
    ]
    addresses = query(database, "SELECT ip_address FROM devops_address ORDER BY id")
    # that of the master is reserved; the others come from the range, where there is one
    assert [address for (address,) in addresses] == [
        "10.77.0.2",
        "10.77.0.3",
        "10.77.1.2",
        "10.77.0.4",
        "10.77.1.3",
    ]
    configs = query(
        database,
        "SELECT label, networks, aggregation, parents FROM devops_network_config WHERE node_id = 2",
    )
    assert configs == [
        ("eth0", '["fuelweb_admin"]', None, "[]"),
        ("eth1", '["private"]', None, "[]"),
    ]
    macs = [str(mac) for (mac,) in query(database, "SELECT mac_address FROM devops_interface")]
    assert len(set(macs)) == 5
    assert all(re.fullmatch("64(:[0-9a-f]{2}){5}", mac) for mac in macs)


def test_a_bond_on_tagged_networks(database: Path) -> None:
    environment = make("bonded", "bond.yaml")
    node = environment.get_node(name="worker")
    assert [
        (str(i), i.l2_network_device and i.l2_network_device.name) for i in node.interfaces
    ] == [
        ("first", "trunk"),
        ("second", "trunk"),
        ("loose", None),
    ]
    assert [address for i in node.interfaces for address in i.addresses] == []
    bond = node.network_configs[0]
    assert (bond.label, bond.aggregation, bond.parents) == (
        "bond0",
        "active-backup",
        ["first", "second"],
    )
    public = environment.get_env_l2_network_device(name="public")
    assert (public.parent_iface.l2_net_dev, public.parent_iface.tag) == ("trunk", 200)
    assert environment.get_env_l2_network_device(name="trunk").vlan_ifaces == [200, 201]
    pool = environment.get_address_pool(name="public-pool")
    assert (pool.ip_range_start("floating"), pool.gateway) == ("10.78.0.128", "10.78.0.1")


def test_nothing_is_left_of_an_environment_that_cannot_be_made(database: Path) -> None:
    make("first")
    with pytest.raises(ConflictError, match="No free subnet is left for address pool 'private-poo"):
        make("second", LAB_POOL="10.79.0.0/24:24")
    with pytest.raises(ConflictError, match="Environment 'first' already exists"):
        make("first")
    with pytest.raises(DevopsError, match=r"200 \(ip_ranges dhcp .* is no address in 10\.80"):
        make("third", LAB_POOL="10.80.0.0/24:26")
    assert query(database, "SELECT name FROM devops_environment") == [("first",)]
    assert query(database, "SELECT count(*) FROM devops_driver") == [(1,)]
    assert query(database, "SELECT count(*) FROM devops_address_pool") == [(2,)]


def test_a_second_environment_gets_other_subnets(database: Path) -> None:
    make("first")
    second = make("second", LAB_POOL="10.77.0.0/16:23")
    assert [pool.net for pool in second.get_address_pools()] == ["10.77.2.0/23", "10.77.4.0/23"]


def test_the_network_of_libvirt_is_avoided(database: Path) -> None:
    # libvirt's test driver has a network 192.168.122.0/24
    environment = make("lab", LAB_POOL="192.168.122.0/23,10.77.0.0/16:24")
    assert [pool.net for pool in environment.get_address_pools()] == [
        "192.168.123.0/24",
        "10.77.0.0/24",
    ]


def test_deleting_an_environment_leaves_no_row(database: Path) -> None:
    environment = make("lab")
    for group in environment.get_groups():
        group.driver.delete()
    environment.delete()
    assert {table: query(database, f"SELECT count(*) FROM {table}") for table in TABLES} == {
        table: [(0,)] for table in TABLES
    }
