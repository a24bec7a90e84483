"""The models' own doings: addresses, ranges, disks, and what templates leave out."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command

from devops_snapshot.devops.models import AddressPool, Driver, Environment, Group, Node
from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError, UnsupportedError

TEST_DRIVER = "test:///default"


@pytest.fixture
def group(database: Path) -> Group:
    return Environment.create("lab").add_group(
        "default", "devops.driver.libvirt", connection_string=TEST_DRIVER
    )


def add_pool(
    group: Group, net: str = "10.77.0.0/24", *, name: str = "pool", **params: object
) -> AddressPool:
    assert group.environment is not None
    return group.environment.add_address_pool(name, net, **params)


def add_node(group: Group, name: str, **interface: object) -> Node:
    return group.add_node(name, interfaces=[{"label": "eth0", **interface}])


def test_the_migration_says_what_the_models_say(database: Path) -> None:
    call_command("makemigrations", "devops", check_changes=True, dry_run=True)


def test_sections_of_a_template_may_be_empty(database: Path) -> None:
    nothing = {"interfaces": None, "network_config": {"eth0": None}, "volumes": None}
    driver = {"name": "devops.driver.libvirt", "params": {"connection_string": TEST_DRIVER}}
    empty = {"address_pools": None, "network_pools": None, "group_volumes": None}
    environment = Environment.create_environment(
        {
            "env_name": "lab",
            "address_pools": {"pool": {"net": "10.77.0.0/24", "params": None}},
            "groups": [
                {
                    "name": "a",
                    "driver": driver,
                    "l2_network_devices": {"net": None},
                    "nodes": [{"name": "x", "params": nothing}, {"name": "y", "params": None}],
                },
                {**{key: None for key in empty if key != "address_pools"}, "name": "b"}
                | {"driver": driver, "nodes": None, "l2_network_devices": None},
            ],
        }
    )
    assert [str(node) for node in environment.get_nodes()] == ["x", "y"]
    assert [str(group) for group in environment.get_groups()] == ["a", "b"]


def test_addresses(group: Group) -> None:
    pool = add_pool(group, "10.77.0.0/29", ip_reserved={"gateway": 1, "default_b": "+4", "x": 3})
    group.add_l2_network_device("net", address_pool="pool")
    nodes = [add_node(group, name, l2_network_device="net") for name in ("a", "b", "c")]
    # 1 is the gateway's, 3 and 4 are reserved, 7 is the broadcast address
    addresses = [node.get_ip_address_by_network_name("net") for node in nodes]
    assert addresses == ["10.77.0.2", "10.77.0.4", "10.77.0.5"]
    assert pool.gateway == "10.77.0.1"
    assert str(add_node(group, "d", l2_network_device="net").interfaces[0].addresses[0]).endswith(
        ".6"
    )
    with pytest.raises(ConflictError, match=r"No free address is left in address pool 'pool' \(10"):
        add_node(group, "e", l2_network_device="net")


def test_addresses_come_from_the_range_dhcp(group: Group) -> None:
    add_pool(group, ip_ranges={"dhcp": ["+20", -5]})
    group.add_l2_network_device("net", address_pool="pool")
    node = add_node(group, "a", l2_network_device="net")
    assert node.get_ip_address_by_network_name("net") == "10.77.0.20"
    with pytest.raises(NotFoundError, match="Node 'a' has no interface in network 'other'"):
        node.get_ip_address_by_network_name("other")


def test_without_a_pool_there_are_no_addresses(group: Group) -> None:
    group.add_l2_network_device("net")
    node = add_node(group, "a", l2_network_device="net")
    with pytest.raises(NotFoundError, match="Node 'a' has no address in network 'net'"):
        node.get_ip_address_by_network_name("net")


@pytest.mark.parametrize("value", [300, "x", "10.77.0.256", None, [1]])
def test_what_is_no_address(group: Group, value: object) -> None:
    with pytest.raises(DevopsError, match=r"\(ip_reserved gateway of address pool 'pool'\) is no"):
        add_pool(group, ip_reserved={"gateway": value})


def test_ranges(group: Group) -> None:
    pool = add_pool(group, ip_ranges={"floating": [128, -2]})
    assert (pool.ip_range_start("floating"), pool.ip_range_end("floating")) == (
        "10.77.0.128",
        "10.77.0.254",
    )
    assert pool.ip_range_start("other") is None
    pool.ip_range_set("other", "10.77.0.7", "10.77.0.9")
    with pytest.raises(ConflictError, match="'pool' already has a range 'other'"):
        pool.ip_range_set("other", "10.77.0.7", "10.77.0.9")
    network_pool = group.add_network_pool("public", "pool")
    assert network_pool.ip_range("floating") == ("10.77.0.128", "10.77.0.254")
    assert network_pool.ip_range() == ("10.77.0.2", "10.77.0.254")  # made and named as the group
    assert AddressPool.objects.get().ip_ranges["default"] == ["10.77.0.2", "10.77.0.254"]
    assert (network_pool.gateway, network_pool.net) == ("10.77.0.1", "10.77.0.0/24")


def test_an_address_pool_of_that_name(group: Group) -> None:
    add_pool(group)
    with pytest.raises(ConflictError, match="Environment 'lab' already has address pool 'pool'"):
        add_pool(group, "10.78.0.0/24")
    with pytest.raises(ConflictError, match="No free subnet is left for address pool 'other'"):
        add_pool(group, "10.77.0.128/25", name="other")


def test_a_mac_address_of_another_node(group: Group) -> None:
    add_node(group, "a", mac_address="64:00:00:00:00:01")
    with pytest.raises(ConflictError) as error:
        add_node(group, "b", mac_address="64:00:00:00:00:01")
    assert str(error.value) == "MAC address 64:00:00:00:00:01 is that of node a in environment lab"


def test_disks(group: Group) -> None:
    node = group.add_node("a")
    for number in range(26):
        node.add_volume(f"v{number}", capacity=1)
    assert [disk.target_dev for disk in node.disk_devices][:2] == ["sda", "sdb"]
    with pytest.raises(DevopsError, match="Node 'a' has no room for another disk"):
        node.add_volume("one too many", capacity=1)
    node.disk_devices[1].delete()
    assert node.next_disk_name() == "sdb"


def test_backing_stores_belong_to_the_group(group: Group) -> None:
    group.add_volume("golden", capacity=1)
    node = group.add_node("a", volumes=[{"name": "system", "backing_store": "golden"}])
    backing = node.get_volume(name="system").backing_store
    assert backing is not None
    assert backing.name == "golden"
    with pytest.raises(NotFoundError, match="Unknown volume 'silver' in group 'default'"):
        node.add_volume("other", backing_store="silver")


def test_admin_and_slaves(group: Group) -> None:
    admin = group.add_node("admin", role="fuel_master")
    slave = group.add_node("slave-01", role="fuel_slave")
    assert [(node.is_admin, node.is_slave) for node in (admin, slave)] == [
        (True, False),
        (False, True),
    ]
    environment = group.environment
    assert environment is not None
    assert environment.get_admin() == admin
    with pytest.raises(NotFoundError, match="Node 'admin' has no interface in network 'admin'"):
        environment.get_admin_ip()
    admin.delete()
    with pytest.raises(NotFoundError, match="Environment 'lab' has no admin node"):
        environment.get_admin_ip()


def test_drivers(database: Path) -> None:
    driver = Driver.driver_create("devops.driver.libvirt", stp=False)
    assert driver.get_model_class("Node").__name__ == "LibvirtNode"
    assert Driver.objects.get().stp is False
    # what older releases stored
    driver.name = "devops.driver.libvirt.libvirt_driver"
    assert driver.get_model_class("Volume").__name__ == "LibvirtVolume"
    for name in ("devops.driver.baremetal", "devops.driver.empty", "devops.driver.dummy"):
        with pytest.raises(UnsupportedError, match=f"driver '{name}' of fuel-devops is not supp"):
            Driver.driver_create(name)
    for name in ("devops.driver", "devops.driver.lib", "", "os:path", "devops.models"):
        with pytest.raises(UnsupportedError, match="Unknown driver"):
            Driver.driver_create(name)
