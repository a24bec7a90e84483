"""Cloud-init's data: what is written, and what another program reads of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from devops_snapshot.devops.libvirt.cloud_init import CloudInit, Values, filled_in
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.errors import DevopsError, NotFoundError, TemplateError
from tests.bed import Host

from .builder import MIB, Builder, volume_of

VALUES = Values(
    hostname="node-1",
    interface_name="eth0",
    address="10.108.0.2",
    network="10.108.0.0/24",
    netmask="255.255.255.0",
    gateway="10.108.0.1",
)
ISO = {"name": "iso", "capacity": MIB, "format": "raw", "device": "cdrom", "bus": "ide"}


def read_iso(iso: Path, directory: Path) -> dict[str, str]:
    """Its label and its files, by xorriso."""
    directory.mkdir()
    command = ["xorriso", "-osirrox", "on", "-indev", str(iso), "-pvd_info"]
    command += ["-extract", "/", str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    [label] = [line for line in done.stdout.splitlines() if line.startswith("Volume Id")]
    files = {path.name: path.read_text() for path in directory.iterdir()}
    return {"label": label.partition(":")[2].strip(), **files}


def node_with(host: Host, volume: dict[str, Any], **params: Any) -> LibvirtNode:
    builder = Builder(host)
    pool = builder.address_pool("pool", "10.108.0.0/24", ip_reserved={"gateway": "+7"})
    for network, its_pool in {"admin": pool, "bare": None}.items():
        builder.network(network, address_pool=its_pool).define()
    interfaces = [
        {"label": "eth0", "l2_network_device": "bare"},
        {"label": "eth1", "l2_network_device": "admin"},
    ]
    names = {"cloud_init_volume_name": "iso", "cloud_init_iface_up": "eth1", **params}
    node = builder.node("node-1", volumes=[{**ISO, **volume}], interfaces=interfaces, **names)
    for row in node.get_volumes():
        row.define()
    return node


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{hostname} at {address}", "node-1 at 10.108.0.2"),
        ("{network} {netmask} {gateway}", "10.108.0.0/24 255.255.255.0 10.108.0.1"),
        ("{{hostname}} {{ }}", "{hostname} { }"),
        ("{other} ${HOME} {} { hostname }", "{other} ${HOME} {} { hostname }"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}'),  # }} is }, as fuel-devops reads it
    ],
)
def test_placeholders(template: str, text: str) -> None:
    names = {name: getattr(VALUES, name) for name in Values.__dataclass_fields__}
    assert filled_in(template, names) == text


def test_what_a_node_gets_by_default() -> None:
    default = CloudInit.of(None, None, VALUES)
    meta, user = yaml.safe_load(default.meta_data), yaml.safe_load(default.user_data)
    assert meta["local-hostname"] == "node-1"
    interfaces = meta["network-interfaces"]
    for line in ("iface eth0 inet static", "address 10.108.0.2", "gateway 10.108.0.1"):
        assert line in interfaces
    assert default.user_data.startswith("#cloud-config\n")
    assert user["ssh_pwauth"] is True
    assert user["chpasswd"]["list"] == "root:r00tme\n"
    assert "ifup eth0" in user["runcmd"]
    assert CloudInit.of("", "", VALUES) == CloudInit("", "")


def test_the_iso_is_what_cloud_init_looks_for(tmp_path: Path) -> None:
    with CloudInit("a: {ü}\n", "#cloud-config\n").iso() as iso:
        written = iso
        found = read_iso(iso, tmp_path / "files")
    assert found == {"label": "cidata", "meta-data": "a: {ü}\n", "user-data": "#cloud-config\n"}
    assert not written.parent.exists()


def test_without_a_program_for_isos_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(NotFoundError, match=r"genisoimage, mkisofs, xorrisofs.*Install"),
        CloudInit("", "").iso(),
    ):
        pass


@pytest.mark.usefixtures("database")
def test_a_node_finds_its_data_in_its_cdrom(alpha: Host, tmp_path: Path) -> None:
    data = {"cloudinit_meta_data": "name: {hostname}\n", "cloudinit_user_data": "{address}\n"}
    node = node_with(alpha, data)
    node.define()
    volume = volume_of(node, "iso")
    size = volume.get_capacity()
    assert size == 1024**2
    assert read_iso(Path(volume.get_path()), tmp_path / "files") == {
        "label": "cidata",
        "meta-data": "name: node-1\n",
        "user-data": "10.108.0.2\n",
    }
    node.remove()
    assert list(alpha.pool_dir.iterdir()) == []


@pytest.mark.usefixtures("database")
def test_the_gateway_and_the_volume_that_grows(alpha: Host, tmp_path: Path) -> None:
    node = node_with(alpha, {"capacity": MIB / 64, "cloudinit_meta_data": "{gateway} {network}"})
    node.define()
    volume = volume_of(node, "iso")
    found = read_iso(Path(volume.get_path()), tmp_path / "files")
    assert found["meta-data"] == "10.108.0.7 10.108.0.0/24"
    assert volume.get_capacity() > 1024**2 / 64


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("volume", "params", "error", "message"),
    [
        ({}, {"cloud_init_volume_name": "other"}, NotFoundError, "volume 'other' in node 'node-1'"),
        ({}, {"cloud_init_iface_up": "eth9"}, NotFoundError, "label='eth9' in node 'node-1'"),
        ({}, {"cloud_init_iface_up": "eth0"}, NotFoundError, "'eth0' of .* has no address"),
        ({"format": "qcow2"}, {}, TemplateError, "'iso' of node 'node-1' is qcow2, an ISO is raw"),
    ],
)
def test_what_cannot_be_had_is_refused(
    alpha: Host,
    volume: dict[str, Any],
    params: dict[str, Any],
    error: type[DevopsError],
    message: str,
) -> None:
    node = node_with(alpha, volume, **params)
    with pytest.raises(error, match=message):
        node.define()
    assert alpha.connection.listAllDomains() == []
