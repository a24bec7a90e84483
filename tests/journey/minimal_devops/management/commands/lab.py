"""Makes and erases an environment of one node, as such an app would.

It has a disk on a base image of the group and a cdrom, and a network with addresses.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from lxml import etree

from tests.bed import domain_xml

from ... import models
from ...models import CLASSES

SUBNET = "10.44.0"
MAC = "64:0c:00:00:00:01"
NETWORK = f"""
<network>
  <name>{{name}}</name><forward mode='nat'/>
  <ip address='{SUBNET}.1' prefix='24'>
    <dhcp>
      <range start='{SUBNET}.10' end='{SUBNET}.20'/>
      <host mac='{MAC}' name='node' ip='{SUBNET}.5'/>
    </dhcp>
  </ip>
</network>"""


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--make", nargs=2, metavar=("ISO", "IMAGE"))

    def handle(self, *args: Any, **options: Any) -> None:
        settings.DEVOPS_HOME.mkdir(exist_ok=True)
        call_command("migrate", verbosity=0)
        if options["make"]:
            make(options["name"], *options["make"])
        else:
            erase(options["name"])


def make(name: str, iso: str, image: str) -> None:
    """Everything, and the guest is started."""
    environment = models.Environment.objects.create(name=name)
    group = _group(environment)
    _network(environment, group)
    node = models.Node.objects.create(
        name="node", group=group, role="slave", params={"_class": f"{CLASSES}:LibvirtNode"}
    )
    _volumes(node, iso=iso, image=image)
    _card(node)
    _domain(node)


def _group(environment: models.Environment) -> models.Group:
    params = {
        "connection_string": os.environ["CONNECTION_STRING"],
        "storage_pool_name": "default",
        "_class": f"{CLASSES}:LibvirtDriver",
    }
    driver = models.Driver.objects.create(name="devops.driver.libvirt", params=params)
    return models.Group.objects.create(name="rack", environment=environment, driver=driver)


def _network(environment: models.Environment, group: models.Group) -> None:
    network = group.driver.conn.networkDefineXML(NETWORK.format(name=f"{environment.name}_lan"))
    network.setAutostart(True)
    pool = models.AddressPool.objects.create(
        name="pool",
        environment=environment,
        net=f"{SUBNET}.0/24",
        params={"ip_reserved": {"gateway": f"{SUBNET}.1"}, "something": "of its own"},
    )
    models.NetworkPool.objects.create(name="lan", group=group, address_pool=pool)
    models.L2NetworkDevice.objects.create(
        name="lan",
        group=group,
        address_pool=pool,
        params={"uuid": network.UUIDString(), "forward": {"mode": "nat"}, "dhcp": True},
    ).start()


def _volumes(node: models.Node, *, iso: str, image: str) -> None:
    base = _copied(image, "base", "qcow2", group=node.group)
    system = models.Volume.objects.create(
        name="system",
        node=node,
        backing_store=base,
        params={"_class": f"{CLASSES}:LibvirtVolume", "format": "qcow2"},
    )
    system.define()
    cdrom = _copied(iso, "iso", "raw", node=node)
    for target, device, volume in (("sda", "cdrom", cdrom), ("sdb", "disk", system)):
        params = {"device": device, "target_dev": target, "_class": f"{CLASSES}:LibvirtDiskDevice"}
        models.DiskDevice.objects.create(node=node, volume=volume, params=params)


def _copied(source: str, name: str, image_format: str, **owner: object) -> models.Volume:
    """A volume with what a file has."""
    params = {"_class": f"{CLASSES}:LibvirtVolume", "format": image_format}
    volume = models.Volume.objects.create(name=name, params=params, **owner)
    driver = volume.driver
    pool = driver.conn.storagePoolLookupByName(driver.storage_pool_name)
    path = Path(etree.fromstring(pool.XMLDesc()).findtext("target/path"), f"minimal_{name}")
    shutil.copyfile(source, path)
    pool.refresh()
    volume.uuid = str(path)
    volume.save()
    return volume


def _card(node: models.Node) -> None:
    device = models.L2NetworkDevice.objects.get(group=node.group)
    card = models.Interface.objects.create(
        node=node,
        l2_network_device=device,
        label="eth0",
        mac_address=MAC,
        type="network",
        model="virtio",
    )
    models.Address.objects.create(interface=card, ip_address=f"{SUBNET}.5")
    models.NetworkConfig.objects.create(node=node, label="eth0", networks=["lan"])


def _domain(node: models.Node) -> None:
    environment = node.group.environment.name
    paths = {volume.name: Path(volume.uuid) for volume in node.get_volumes()}
    xml = domain_xml(
        f"{environment}_{node.name}",
        iso=paths["iso"],
        disks=[paths["system"]],
        networks=[f"{environment}_lan"],
    )
    root = etree.fromstring(xml)
    root.find("devices/interface").append(etree.Element("mac", address=MAC))
    domain = node.driver.conn.defineXML(etree.tostring(root, encoding="unicode"))
    node.uuid = domain.UUIDString()
    node.save()
    domain.create()


def erase(name: str) -> None:
    """The environment, which has no snapshots any more."""
    environment = models.Environment.get(name=name)
    for node in environment.get_nodes():
        domain = node.driver.conn.lookupByUUIDString(node.uuid)
        if domain.isActive():
            domain.destroy()
        domain.undefine()
        for volume in node.get_volumes().reverse():
            volume.remove()
    for row in environment.get_env_l2_network_devices():
        row.destroy()
        row.driver.conn.networkLookupByUUIDString(row.params["uuid"]).undefine()
    for group in environment.get_groups():
        for volume in group.get_volumes():
            volume.remove()
        group.driver.delete()
    environment.delete()
