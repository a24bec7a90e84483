"""Network filters, as libvirt reports them and as the kernel applies them."""

from __future__ import annotations

import libvirt
import pytest

from devops_snapshot.devops.libvirt.models import (
    LibvirtInterface,
    LibvirtL2NetworkDevice,
    LibvirtNode,
)
from devops_snapshot.errors import ConflictError, HypervisorError, NotFoundError, UnsupportedError
from tests.bed import Host

from .builder import Builder
from .semantic import said

pytestmark = pytest.mark.usefixtures("database")

MAC = "64:00:00:00:00:01"
FILTERS = ["env_private", f"env_private_{MAC}"]


def filters(host: Host) -> list[str]:
    return sorted(nwfilter.name() for nwfilter in host.connection.listAllNWFilters())


def reported(host: Host, name: str) -> object:
    return said(host.connection.nwfilterLookupByName(name).XMLDesc(), without=["uuid", "@chain"])


def drops(host: Host) -> bool:
    """Whether the kernel drops what the one running guest sends."""
    return "-A FI-vnet" in host.run(["iptables", "-S"]).stdout


def made(host: Host, **driver: bool) -> tuple[LibvirtL2NetworkDevice, LibvirtNode]:
    """A defined network, and a row of a node with one interface in it."""
    builder = Builder(host, **driver)
    device = builder.network("private")
    device.define()
    interface = {"label": "eth0", "l2_network_device": "private", "mac_address": MAC}
    return device, builder.node("admin", interfaces=[interface], memory=32)


def test_networks_and_interfaces_have_filters_that_block(alpha: Host) -> None:
    device, node = made(alpha, enable_nwfilters=True)
    node.define()
    assert reported(alpha, FILTERS[0]) == said("<filter name='env_private'/>")
    open_filter = f"<filter name='{FILTERS[1]}'><filterref filter='env_private'/></filter>"
    assert reported(alpha, FILTERS[1]) == said(open_filter)
    assert f"<filterref filter='{FILTERS[1]}'/>" in node.domain.XMLDesc()

    device.start()
    node.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    [interface] = LibvirtInterface.objects.all()
    rows: tuple[LibvirtInterface | LibvirtL2NetworkDevice, ...] = (interface, device)
    for row, name, priority in zip(rows, reversed(FILTERS), (-950, -1000), strict=True):
        assert not row.is_blocked
        for _ in range(2):
            row.block()
            assert row.is_blocked
        assert drops(alpha)
        rule = f"<rule action='drop' direction='inout' priority='{priority}'><all/></rule>"
        reference = "<filterref filter='env_private'/>" if row is interface else ""
        blocked = f"<filter name='{name}'>{reference}{rule}</filter>"
        assert reported(alpha, name) == said(blocked)
        for _ in range(2):
            row.unblock()
            assert not row.is_blocked
        assert not drops(alpha)
    assert reported(alpha, FILTERS[1]) == said(open_filter)

    node.remove()
    device.remove()
    assert filters(alpha) == []


def test_without_filters_nothing_is_blocked_and_nobody_believes_it(alpha: Host) -> None:
    device, node = made(alpha)
    node.define()
    for row in (device, LibvirtInterface.objects.get()):
        assert not row.is_blocked
        row.unblock()
        with pytest.raises(UnsupportedError, match=r"cannot be blocked.*enable_nwfilters"):
            row.block()
    assert filters(alpha) == []
    assert "filterref" not in node.domain.XMLDesc()


def test_filters_that_are_gone(alpha: Host) -> None:
    device, node = made(alpha, enable_nwfilters=True)
    alpha.connection.nwfilterLookupByName("env_private").undefine()
    assert not device.is_blocked
    device.unblock()
    with pytest.raises(NotFoundError, match="network filter 'env_private' is not there"):
        device.block()
    node.remove()
    device.remove()
    assert alpha.connection.listAllNetworks() == []


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_of_that_name_is_left_alone(alpha: Host, name: str) -> None:
    alpha.connection.nwfilterDefineXML(f"<filter name='{name}'/>")
    with pytest.raises(ConflictError, match=f"network filter '{name}' is already there"):
        made(alpha, enable_nwfilters=True)[1].define()
    assert name in filters(alpha)
    assert alpha.connection.listAllDomains() == []


def test_what_cannot_be_defined_leaves_no_filter(alpha: Host) -> None:
    device, node = made(alpha, enable_nwfilters=True)
    node.boot = ["floppy-disk"]
    with pytest.raises(HypervisorError, match=r"cannot define domain .*boot"):
        node.define()
    assert filters(alpha) == ["env_private"]
    device.remove()
    assert filters(alpha) == []
