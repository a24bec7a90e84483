"""Manifests made by hand that contradict themselves or reach outside: refused in one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devops_snapshot.errors import DevopsError, FormatError, UnsupportedError
from devops_snapshot.manifest import document as types
from devops_snapshot.manifest.check import check_manifest, check_memory

from .real import document, manifest_of

Change = Callable[[dict[str, Any]], None]
OTHER = "11111111-2222-3333-4444-555555555555"
DISK = "<disk type='file'><source file='/etc/shadow'/><target dev='sdx'/></disk>"
VICTIM = "/var/lib/libvirt/images/victim_node_system"


def group(d: dict[str, Any]) -> dict[str, Any]:
    return d["environment"]["groups"][0]


def node(d: dict[str, Any]) -> dict[str, Any]:
    return group(d)["nodes"][0]


def snapshot(d: dict[str, Any]) -> dict[str, Any]:
    return node(d)["snapshots"][0]


def network(d: dict[str, Any]) -> dict[str, Any]:
    return group(d)["l2_network_devices"][0]["network"]


def l2(d: dict[str, Any]) -> dict[str, Any]:
    return group(d)["l2_network_devices"][0]


def put(place: Callable[[dict[str, Any]], dict[str, Any]], **values: object) -> Change:
    return lambda d: place(d).update(values)


def in_definition(old: str, new: str) -> Change:
    def change(d: dict[str, Any]) -> None:
        assert old in node(d)["domain_xml"]
        node(d)["domain_xml"] = node(d)["domain_xml"].replace(old, new)

    return change


def in_snapshot(old: str, new: str) -> Change:
    def change(d: dict[str, Any]) -> None:
        assert old in snapshot(d)["xml"]
        snapshot(d)["xml"] = snapshot(d)["xml"].replace(old, new)

    return change


def volume_is_another(d: dict[str, Any]) -> None:
    node(d)["volumes"][0]["params"]["uuid"] = VICTIM


def volume_claims_another_format(d: dict[str, Any]) -> None:
    node(d)["volumes"][0]["params"]["format"] = "raw"


def file_named(name: str) -> Change:
    def change(d: dict[str, Any]) -> None:
        d["files"].append({**d["files"][0], "path": name, "backing": None})

    return change


def file_twice(d: dict[str, Any]) -> None:
    d["files"].append(d["files"][0])


def chain_in_a_circle(d: dict[str, Any]) -> None:
    d["files"][0]["backing"] = d["files"][-1]["path"]


def raw_file_used_as_qcow2(d: dict[str, Any]) -> None:
    """The content of a raw file is not looked at; as qcow2 it could name any file of the host."""
    [iso] = [f for f in d["files"] if f["path"].endswith("node-1_iso")]
    node(d)["domain_xml"] = (
        node(d)["domain_xml"]
        .replace("type='raw'", "type='qcow2'")
        .replace('type="raw"', 'type="qcow2"')
    )
    assert iso["format"] == "raw"


def memory_used_as_disk(d: dict[str, Any]) -> None:
    [memory] = [f["path"] for f in d["files"] if f["role"] == "memory" and "node-1" in f["path"]]
    [iso] = [f["path"] for f in d["files"] if f["path"].endswith("node-1_iso")]
    node(d)["domain_xml"] = node(d)["domain_xml"].replace(iso, memory)


def same_machine_twice(d: dict[str, Any]) -> None:
    first, second = group(d)["nodes"]
    second["domain_xml"], second["params"] = first["domain_xml"], first["params"]
    second["snapshots"] = first["snapshots"]


def other_driver(d: dict[str, Any]) -> None:
    group(d)["driver"]["name"] = "devops.driver.baremetal.ipmi_driver"


def foreign_class(d: dict[str, Any]) -> None:
    node(d)["params"]["_class"] = "os:system"


def plugged_elsewhere(d: dict[str, Any]) -> None:
    in_definition("trip_admin", "default")(d)


def named(place: Callable[[dict[str, Any]], dict[str, Any]], name: str) -> Change:
    return put(place, name=name)


def environment(d: dict[str, Any]) -> dict[str, Any]:
    return d["environment"]


def pool(d: dict[str, Any]) -> dict[str, Any]:
    return d["environment"]["address_pools"][0]


def interface(d: dict[str, Any]) -> dict[str, Any]:
    return node(d)["interfaces"][0]


def vlans(value: object) -> Change:
    return put(lambda d: l2(d)["params"], vlan_ifaces=value)


def parent(**values: object) -> Change:
    return put(lambda d: l2(d)["params"], parent_iface=values)


def add_nwfilters(d: dict[str, Any]) -> None:
    """As an export has them whose driver has ``enable_nwfilters``."""
    name, mac = "trip_admin", interface(d)["mac_address"]
    card = f"{name}_{mac}"
    l2(d)["nwfilter"] = {"name": name, "includes": None, "blocked": False}
    interface(d)["nwfilter"] = {"name": card, "includes": name, "blocked": True}
    reference = f"<filterref filter='{card}'/></interface>"
    for owner, key in ((node(d), "domain_xml"), (snapshot(d), "xml")):
        owner[key] = owner[key].replace("</interface>", reference, 1)


def filtered(place: Callable[[dict[str, Any]], dict[str, Any]], **values: object) -> Change:
    """Network filters, one of them with other values."""

    def change(d: dict[str, Any]) -> None:
        add_nwfilters(d)
        place(d)["nwfilter"].update(values)

    return change


def filter_of_nobody(d: dict[str, Any]) -> None:
    add_nwfilters(d)
    interface(d)["nwfilter"] = None


def filter_with_parameters(d: dict[str, Any]) -> None:
    nwfilter = "<filterref filter='x'><parameter/></filterref>"
    in_definition("</interface>", f"{nwfilter}</interface>")(d)


CHANGES: dict[str, tuple[Change, str]] = {
    "environment's name leaves the pool": (
        named(environment, "../../etc"),
        "name of a environment",
    ),
    "node's name leaves the pool": (named(node, "a/b"), "name of a node"),
    "name with a terminal's escape": (named(node, "a\x1b[2J"), "name of a node"),
    "name for no database": (named(environment, "a" * 300), "name of a environment"),
    "no name": (named(environment, ""), "name of a environment"),
    "row of another machine": (put(lambda d: node(d)["params"], uuid=OTHER), "UUID"),
    "definition of another machine": (in_definition("<name>trip_node-1", "<name>x"), "is that of"),
    "same machine twice": (same_machine_twice, "twice"),
    "volume of somebody else": (volume_is_another, "victim"),
    "volume of another format": (volume_claims_another_format, "by its row"),
    "file outside": (file_named("/pool/.."), "no file name"),
    "file without a name": (file_named("/"), "no file name"),
    "relative file": (file_named("x"), "no file name"),
    "hidden file": (file_named("/pool/.x"), "no file name"),
    "file with a line break": (file_named("/pool/a\nb"), "no file name"),
    "file with a long name": (file_named("/pool/" + "x" * 256), "no file name"),
    "file twice": (file_twice, "twice"),
    "chain in a circle": (chain_in_a_circle, "comes before"),
    "image of unknown format": (put(lambda d: d["files"][0], format="vmdk"), "unknown format"),
    "raw file used as qcow2": (raw_file_used_as_qcow2, "is used as qcow2, but is raw"),
    "memory used as disk": (memory_used_as_disk, "is used as raw, but is memory"),
    "disk on a file of the host": (
        lambda d: in_definition(iso(d), "/etc/shadow")(d),
        "'/etc/shadow', which is not in the export",
    ),
    "snapshot's disk on a file of the host": (
        lambda d: in_snapshot(iso(d), "/etc/shadow")(d),
        "'/etc/shadow', which is not in the export",
    ),
    "snapshot's memory is a file of the host": (
        put(snapshot, memory="/etc/shadow"),
        "another one by its XML",
    ),
    "snapshot of another machine": (
        in_snapshot("<name>trip_node-1</name>", "<name>x</name>"),
        "is that of 'x'",
    ),
    "snapshot of another name": (put(snapshot, name="other"), "another one by its XML"),
    "snapshot of another state": (put(snapshot, state="shutoff"), "another one by its XML"),
    "snapshot with a host device": (
        in_snapshot("</devices>", "<hostdev mode='subsystem'/></devices>"),
        "<hostdev>",
    ),
    "snapshot that is no XML": (put(snapshot, xml="<domainsnapshot>"), "cannot be read"),
    "snapshot of no time": (in_snapshot("<creationTime>", "<creationTime>x"), "cannot be read"),
    "definition that is no XML": (put(node, domain_xml="<domain"), "not an XML document"),
    "plugged into another network": (plugged_elsewhere, "'default', which is not in the export"),
    "driver of hardware": (other_driver, "devops.driver.baremetal"),
    "class of something else": (foreign_class, "os:system"),
    "subnet that is none": (put(network, ip="10.0.0.1", prefix=99), "10.0.0.1/99"),
    "gateway that is none": (put(network, ip="'/><x"), "subnet"),
    "MAC address that is none": (put(network, mac="1'/>"), "MAC"),
    "lease for no address": (put(network, dhcp_start="x"), "'x'"),
    "network's UUID that is none": (put(network, uuid="x"), "UUID"),
    "network of the host's": (put(network, forward_mode="hostdev"), "forward mode 'hostdev'"),
    "bridge of no device": (put(network, forward_mode="bridge", bridge="br0;x"), "'br0;x'"),
    "bridge of no name": (put(network, forward_mode="bridge", bridge=None), "bridge None"),
    "VLAN that is none": (vlans([100, 4095]), "VLAN 4095"),
    "VLAN that is a text": (vlans(["1;reboot"]), "VLAN '1;reboot'"),
    "VLANs that are none": (vlans("100"), "strange kind"),
    "VLAN of a parent that is none": (parent(phys_dev="eth0", tag=0), "VLAN 0"),
    "parent that is an option": (parent(phys_dev="-batch"), "parent_iface '-batch'"),
    "parent that is a path": (parent(phys_dev="../x"), "parent_iface"),
    "parent that is another's": (parent(l2_net_dev="other"), "'other', which is not in the export"),
    "filter of the host's": (filtered(l2, name="clean-traffic"), "'clean-traffic' as the name"),
    "filter of a path": (filtered(interface, name="../../x"), "as the name of a network filter"),
    "filter that includes another": (filtered(l2, includes="clean-traffic"), "as the name"),
    "card's filter that includes another": (filtered(interface, includes="x"), "as the name"),
    "filter of nobody": (filter_of_nobody, "network filter 'trip_admin_.*not in the export"),
    "filter with parameters": (filter_with_parameters, "<parameter> in <filterref>"),
    "card's MAC address that is none": (put(interface, mac_address="../x"), "MAC address"),
    "address pool that is none": (put(pool, net="everything"), "everything"),
    "address that is none": (put(interface, addresses=["10.0.0.999"]), "10.0.0.999"),
}


def iso(d: dict[str, Any]) -> str:
    [path] = [f["path"] for f in d["files"] if f["path"].endswith("node-1_iso")]
    return path


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_is_refused(change: Change, told: str) -> None:
    changed = document()
    change(changed)
    with pytest.raises((FormatError, UnsupportedError), match=told) as caught:
        check_manifest(manifest_of(changed))
    assert "\n" not in str(caught.value)


def test_vlans_bridges_and_filters_are_fine() -> None:
    changed = document()
    add_nwfilters(changed)
    put(network, forward_mode="bridge", bridge="br-lan.7")(changed)
    vlans([1, 4094])(changed)
    put(
        lambda d: group(d)["l2_network_devices"][1]["params"],
        parent_iface={"phys_dev": None, "l2_net_dev": l2(changed)["name"], "tag": 4094},
    )(changed)
    check_manifest(manifest_of(changed))


def test_entities_are_not_resolved() -> None:
    """Neither a file of the host nor a billion laughs gets into a definition."""
    changed = document()
    doctype = '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    xml = node(changed)["domain_xml"].replace("<name>trip_node-1", "<name>&x;")
    node(changed)["domain_xml"] = doctype + xml
    with pytest.raises(DevopsError):
        check_manifest(manifest_of(changed))


class TestMemory:
    """The definition inside a memory state."""

    def check(self, old: str = "", new: str = "") -> None:
        manifest = manifest_of(document())
        owner = next(iter(manifest.environment.nodes))
        [recorded] = owner.snapshots
        start = recorded.xml.index("<domain ")
        saved = recorded.xml[start : recorded.xml.index("</domain>") + len("</domain>")]
        assert old in saved
        check_memory(owner, recorded, saved.replace(old, new) if old else saved)

    def test_of_the_snapshot_is_fine(self) -> None:
        self.check()

    def test_with_other_paths_is_fine(self) -> None:
        """It keeps those of the first host it was on; a revert replaces them."""
        self.check("/var/lib/libvirt/images/", "/elsewhere/")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("</devices>", "<hostdev mode='subsystem'/></devices>"),
            ("</devices>", DISK + "</devices>"),
            ("trip_admin", "default"),
            ("</domain>", "<seclabel type='none' model='dac'/></domain>"),
        ],
        ids=["host device", "another disk", "another network", "no confinement"],
    )
    def test_of_another_machine_is_refused(self, old: str, new: str) -> None:
        with pytest.raises(FormatError, match="memory of node 'node-1' at 'deployed'"):
            self.check(old, new)

    def test_of_another_uuid_is_refused(self) -> None:
        owner: types.Node = next(iter(manifest_of(document()).environment.nodes))
        with pytest.raises(FormatError):
            self.check(str(owner.params["uuid"]), OTHER)
