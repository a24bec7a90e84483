"""Memories that libvirt and QEMU of this machine have saved."""

from __future__ import annotations

from pathlib import Path

import libvirt

from devops_snapshot.store import LayerKind
from tests.bed import Bed, Host, domain_xml

from .foreign_reader import read_layer, read_sealed
from .place import export, objects, opened, restore

MEMORY = (
    "<domainsnapshot><memory snapshot='external' file='{path}'/>"
    "<disks><disk name='sda' snapshot='no'/></disks></domainsnapshot>"
)


def save(host: Host, name: str, path: Path) -> Path:
    """Save the memory of a guest, which goes on running."""
    host.connection.lookupByName(name).snapshotCreateXML(
        MEMORY.format(path=path), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    )
    return path


def test_a_second_save_of_a_guest_adds_little(alpha: Host, bed: Bed, tmp_path: Path) -> None:
    xml = domain_xml("guest", iso=bed.guest_iso, memory=96)
    numa = "<cpu><numa><cell id='0' cpus='0' memory='96' unit='MiB'/></numa></cpu>"
    alpha.connection.defineXML(xml.replace("<clock", f"{numa}<clock")).create()
    guest = alpha.guest("guest")
    guest.wait_boot()
    directory, sent = tmp_path / "repository", []
    for number in range(2):
        path = save(alpha, "guest", alpha.pool_dir / f"save-{number}")
        with opened(directory) as repository:
            export_id, (layer,), stats = export(repository, path, kind=LayerKind.MEMORY)
            with repository.reading(export_id) as session:
                copy = restore(session, layer, tmp_path / f"copy-{number}")
        assert copy.read_bytes() == path.read_bytes()
        sent.append(stats.bytes_sent)
        guest.run("ls -lR /bin > /tmp/list")
    assert read_layer(directory, layer) == path.read_bytes()
    layers = [
        read_sealed(each, "devops-snapshot layer")[0] for each in objects(directory, "layers")
    ]
    assert [head["encoding"] for head in layers] == ["ram", "ram"]
    assert sent[1] < sent[0] / 10
