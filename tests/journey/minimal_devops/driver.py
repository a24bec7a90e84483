"""What the models do in libvirt."""

from __future__ import annotations

from functools import cache
from typing import Any

import libvirt

LAYER = """
<volume>
  <name>{name}</name><capacity>{capacity}</capacity><target><format type='qcow2'/></target>
  <backingStore><path>{below}</path><format type='{format}'/></backingStore>
</volume>"""


@cache
def connect(uri: str) -> Any:
    return libvirt.open(uri)


def make_layer(pool: Any, name: str, *, below: str, below_format: str) -> str:
    """An empty qcow2 volume that lies on another; returns its path."""
    capacity = pool.connect().storageVolLookupByPath(below).info()[1]
    xml = LAYER.format(name=name, capacity=capacity, below=below, format=below_format)
    return str(pool.createXML(xml).key())


def remove_volume(pool: Any, path: str) -> None:
    pool.refresh()
    for volume in pool.listAllVolumes():
        if volume.path() == path:
            volume.delete()


def start_network(connection: Any, uuid: str) -> None:
    network = connection.networkLookupByUUIDString(uuid)
    if not network.isActive():
        network.create()


def stop_network(connection: Any, uuid: str) -> None:
    network = connection.networkLookupByUUIDString(uuid)
    if network.isActive():
        network.destroy()
