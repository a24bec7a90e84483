"""All that is wrong with an environment is told at once, before anything is made."""

from __future__ import annotations

import pytest

from devops_snapshot.devops.libvirt.refusal import refuse
from devops_snapshot.devops.libvirt.support import check_startable, check_supported
from devops_snapshot.errors import ConflictError, NotFoundError, UnsupportedError
from tests.bed import Host

from .builder import DHCP_RANGE, MIB, Builder

pytestmark = pytest.mark.usefixtures("database")


def test_an_environment_that_can_be_defined_passes_and_is(alpha: Host) -> None:
    builder = Builder(alpha)
    pool = builder.address_pool("pool", "10.108.0.0/24", ip_ranges=DHCP_RANGE)
    builder.network("admin", address_pool=pool, dhcp=True, forward={"mode": "nat"})
    builder.network("openstack_br", vlan_ifaces=[100])
    builder.network("public", parent_iface={"l2_net_dev": "openstack_br", "tag": 100})
    builder.base_image(capacity=MIB)
    builder.node(
        "admin",
        volumes=[{"name": "system", "backing_store": "base"}],
        interfaces=[{"label": "eth0", "l2_network_device": "admin"}],
    )
    check_supported(builder.environment)
    builder.environment.define()
    assert len(alpha.connection.listAllNetworks()) == 3
    assert len(alpha.connection.listAllDomains()) == 1
    assert len(list(alpha.pool_dir.iterdir())) == 2
    builder.environment.erase()
    assert alpha.connection.listAllNetworks() == []
    assert alpha.connection.listAllDomains() == []
    assert list(alpha.pool_dir.iterdir()) == []


def test_all_problems_are_told_at_once_and_nothing_is_made(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("fine")
    builder.network("public", forward={"mode": "vepa"})
    iso = {"name": "iso", "source_image": "/missing.iso", "format": "raw", "device": "cdrom"}
    builder.node("admin", volumes=[{**iso, "bus": "ide"}], hypervisor="test")
    with pytest.raises(UnsupportedError) as caught:
        check_supported(builder.environment)
    assert str(caught.value) == (
        "forward mode 'vepa' of network 'public' is not supported; "
        "source_image of volume 'env_admin_iso' cannot be read: "
        "/missing.iso: No such file or directory; "
        "hypervisor 'test' of node 'admin' is not supported: use kvm or qemu"
    )
    assert alpha.connection.listAllNetworks() == []
    assert list(alpha.pool_dir.iterdir()) == []


def test_what_is_there_already_is_found_before_anything_is_made(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("a")
    builder.network("b")
    alpha.connection.networkDefineXML("<network><name>env_b</name></network>")
    with pytest.raises(ConflictError, match="network 'env_b' is already there"):
        check_supported(builder.environment)
    assert [network.name() for network in alpha.connection.listAllNetworks()] == ["env_b"]


def test_networks_that_cannot_be_started_are_told_before_one_is(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("admin")
    check_startable(builder.environment)
    for name in ("br-lan", "br-pxe"):
        parent = {"phys_dev": name}
        builder.network(name, forward={"mode": "bridge"}, parent_iface=parent)
    with pytest.raises(NotFoundError) as caught:
        check_startable(builder.environment)
    where = f"is not there on {alpha.uri}"
    assert str(caught.value) == (
        f"bridge br-lan of network 'br-lan' {where}; bridge br-pxe of network 'br-pxe' {where}"
    )


def test_a_missing_pool_is_told_once(alpha: Host) -> None:
    builder = Builder(alpha, storage_pool_name="fast")
    volumes = [{"name": name, "capacity": MIB} for name in ("system", "cinder", "swift")]
    builder.node("admin", volumes=volumes)
    with pytest.raises(NotFoundError) as caught:
        check_supported(builder.environment)
    assert caught.value.message.count("'fast' is not there") == 1
    assert "STORAGE_POOL_NAME" in caught.value.hint


def test_a_long_list_is_cut() -> None:
    with pytest.raises(NotFoundError, match=r"^0; 1; 2; 3; 4; and 3 more$"):
        refuse([NotFoundError(str(number), hint="look") for number in range(8)])
    with pytest.raises(NotFoundError, match=r"^0; 1; 2; 3; 4$"):
        refuse([NotFoundError(str(number)) for number in range(5)])


def test_one_problem_keeps_its_hint() -> None:
    with pytest.raises(ConflictError, match=r"^taken\. Choose another$"):
        refuse([ConflictError("taken", hint="Choose another")])
    refuse([])
