"""What a manifest says of all that the driver can be told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.manifest import Manifest
from devops_snapshot.manifest.check import check_manifest
from tests.devops.libvirt.semantic import said
from tests.devops.test_features import TEMPLATES
from tests.journey.scenario import Place

BRIDGED = Path(__file__).with_name("bridged.yaml")
MAC = "64:0a:00:00:00:01"
SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE


@pytest.fixture(autouse=True)
def bridge(alpha: Place) -> Iterator[None]:
    """A bridge of the host."""
    alpha.host.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    yield
    alpha.host.run(["ip", "link", "del", "br-lan"])


def exported(place: Place, name: str, *arguments: str, storage: str) -> dict[str, Any]:
    """The environment of a manifest that an import would take."""
    record = place.export(*arguments, storage=storage, name=name)
    manifest = place.manifest(storage, record["id"])
    check_manifest(Manifest.from_json(json.dumps(manifest).encode()))
    environment: dict[str, Any] = manifest["environment"]
    return environment


def nodes(environment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for group in environment["groups"] for node in group["nodes"]}


def networks(environment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {l2["name"]: l2 for group in environment["groups"] for l2 in group["l2_network_devices"]}


def check_domains(place: Place, environment: dict[str, Any]) -> None:
    """The definitions are libvirt's own."""
    for node in nodes(environment).values():
        domain = place.host.connection.lookupByName(f"{environment['name']}_{node['name']}")
        assert said(node["domain_xml"]) == said(domain.XMLDesc(SECURE))


def test_all_features(alpha: Place, storage: str) -> None:
    alpha.dos("create-env", str(TEMPLATES / "all_features.yaml"), ENV_NAME="all")
    environment = exported(alpha, "all", "--definitions-only", storage=storage)
    check_domains(alpha, environment)
    rows = alpha.records("all")
    params = {row[0]: row[3] for row in rows["l2"]}
    filters = {}
    for name, l2 in networks(environment).items():
        assert l2["params"] == params[name]
        assert l2["nwfilter"] == {"name": f"all_{name}", "includes": None, "blocked": False}
        filters[l2["id"]] = f"all_{name}"
    assert params["trunk"]["vlan_ifaces"] == [200, 201]
    assert params["public"]["parent_iface"]["tag"] == 200
    lan = networks(environment)["lan"]["network"]
    assert (lan["forward_mode"], lan["bridge"], lan["ip"]) == ("bridge", "br-lan", None)
    server = nodes(environment)["server"]
    for card in server["interfaces"]:
        network = filters[card["l2_network_device"]]
        name = f"{network}_{card['mac_address']}"
        assert card["nwfilter"] == {"name": name, "includes": network, "blocked": False}
    volumes = {volume["name"]: volume for volume in server["volumes"]}
    paths = [disk for disk in server["disks"] if disk["volume"] == volumes["shared"]["id"]]
    assert [disk["params"]["target_dev"] for disk in paths] == ["sdb", "sdc"]
    assert volumes["shared"]["params"]["wwn"] == "0a1b2c3d4e5f6071"
    assert volumes["seed"]["params"]["cloudinit_user_data"].startswith("#cloud-config")
    stored = {row[1]: row[3] for row in rows["node_volumes"] if row[0] == "server"}
    for name, volume in volumes.items():
        plain = {**volume["params"], "uuid": Path(volume["params"]["uuid"]).name}
        assert plain == stored[name]


def test_a_guest_that_runs_on_a_bridge_of_the_host(alpha: Place, storage: str) -> None:
    alpha.dos("create-env", str(BRIDGED), ENV_NAME="trip")
    alpha.dos("start", "trip")
    block(alpha, f"trip_lan_{MAC}")
    environment = exported(alpha, "trip", storage=storage)
    [node] = nodes(environment).values()
    [card] = node["interfaces"]
    assert card["nwfilter"]["blocked"]
    assert not networks(environment)["lan"]["nwfilter"]["blocked"]
    [snapshot] = node["snapshots"]
    assert snapshot["state"] == "running"
    for xml in (node["domain_xml"], snapshot["xml"]):
        assert re.search("""<source network=['"]trip_lan['"]/>""", xml)
        assert "br-lan" not in xml
        assert f"trip_lan_{MAC}" in xml
        assert "geheim" in xml
    alpha.dos("erase", "trip")
    assert alpha.host.connection.listAllNWFilters() == []


def block(place: Place, name: str) -> None:
    nwfilter = place.host.connection.nwfilterLookupByName(name)
    rule = "<rule action='drop' direction='inout' priority='-950'><all/></rule></filter>"
    place.host.connection.nwfilterDefineXML(nwfilter.XMLDesc().replace("</filter>", rule))


def test_filters_that_cannot_be_exported(alpha: Place, storage: str) -> None:
    alpha.dos("create-env", str(BRIDGED), ENV_NAME="trip")
    connection = alpha.host.connection
    of_network = connection.nwfilterLookupByName("trip_lan").XMLDesc()
    rule = "<rule action='accept' direction='in'><tcp dstportstart='22'/></rule></filter>"
    connection.nwfilterDefineXML(of_network.replace("</filter>", rule))
    code, line = alpha.refused("export-env", "trip", "--storage", storage)
    assert code == 5
    assert "network filter 'trip_lan' has rules of its own" in line
    connection.nwfilterDefineXML(of_network)
    connection.nwfilterLookupByName(f"trip_lan_{MAC}").undefine()
    code, line = alpha.refused("export-env", "trip", "--storage", storage)
    assert code == 5
    assert f"node 'node-1' has the network filter 'trip_lan_{MAC}', which is not there" in line


def test_a_bond_of_ten_machines(alpha: Place, storage: str, tmp_path: Path) -> None:
    iso = tmp_path / "fuel.iso"
    iso.write_bytes(bytes(2048))
    variables = {"ENV_NAME": "bond", "ISO_PATH": str(iso)}
    alpha.dos("create-env", str(TEMPLATES / "default30_bond.yaml"), **variables)
    environment = exported(alpha, "bond", "--definitions-only", storage=storage)
    check_domains(alpha, environment)
    parents = {name: l2["params"]["parent_iface"] for name, l2 in networks(environment).items()}
    assert {name: parent["tag"] for name, parent in parents.items() if parent["tag"]} == {
        "public": 100,
        "storage": 101,
        "management": 102,
    }
    for slave in (node for name, node in nodes(environment).items() if name != "admin"):
        assert len(slave["interfaces"]) == 5
        [bond] = [config for config in slave["network_configs"] if config["label"] == "bond0"]
        assert bond["aggregation"] == "active-backup"
        assert bond["parents"] == ["iface2", "iface3", "iface4", "iface5"]
