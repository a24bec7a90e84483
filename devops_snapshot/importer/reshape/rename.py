"""The environment under another name, beside the one that it was exported from.

What is called after the environment is called anew, everywhere: domains, networks and their
filters, files (:attr:`~...manifest.document.File.path` changes where it is the key, too). Domains
and networks get new UUIDs. What others share, and what users have written, stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from lxml import etree

from ...manifest.document import (
    Environment,
    File,
    Group,
    Interface,
    L2NetworkDevice,
    Manifest,
    Network,
    Node,
    NwFilter,
    Volume,
)
from ...manifest.nwfilters import interface_filter_name, network_filter_name
from ...snapshot.domain_xml import parse, serialise
from ...snapshot.pool import MAX_FILE_NAME
from ..distinct import distinct
from .macs import new_macs as fresh_macs
from .macs import plain_mac
from .naming import FileNames, joined, too_long
from .parts import forget_the_host, with_definitions, with_groups


def renamed(manifest: Manifest, name: str, *, new_macs: bool) -> Manifest:
    """The manifest of an environment of that name; the same if it has it already.

    :param new_macs: network cards get new addresses, too; a guest's memory does not survive that
    """
    if name == manifest.environment.name:
        return manifest
    renaming = _Renaming.of(manifest, name, new_macs=new_macs)
    manifest = with_groups(manifest, renaming.group)
    environment = manifest.environment.model_copy(update={"name": name})
    files = tuple(renaming.file(file) for file in manifest.files)
    return manifest.model_copy(update={"environment": environment, "files": files})


@dataclass(frozen=True)
class _Renaming:
    """:param names: of files
    :param paths: of the export's files: old to new
    :param networks: names in libvirt: old to new
    :param filters: likewise, of network filters
    :param macs: by :func:`plain_mac`; others stay
    """

    old: str
    new: str
    names: FileNames
    paths: Mapping[str, str]
    networks: Mapping[str, str]
    filters: Mapping[str, str]
    macs: Mapping[str, str]

    @classmethod
    def of(cls, manifest: Manifest, new: str, *, new_macs: bool) -> _Renaming:
        environment = manifest.environment
        old = environment.name
        names = FileNames.of(environment, new)
        cards = [i.mac_address for node in environment.nodes for i in node.interfaces]
        l2_names = [l2.name for l2 in environment.networks]
        macs = fresh_macs(cards, seed=new) if new_macs else {}
        return cls(
            old=old,
            new=new,
            names=names,
            paths=_moved([file.path for file in manifest.files], names),
            networks={joined(old, l2): joined(new, l2) for l2 in l2_names},
            filters=_filters(environment, new, macs),
            macs=macs,
        )

    def file(self, file: File) -> File:
        return file.model_copy(
            update={
                "path": self.paths[file.path],
                "backing": None if file.backing is None else self.paths[file.backing],
            }
        )

    def group(self, group: Group) -> Group:
        return group.model_copy(
            update={
                "l2_network_devices": tuple(map(self._l2, group.l2_network_devices)),
                "volumes": tuple(map(self._volume, group.volumes)),
                "nodes": tuple(map(self._node, group.nodes)),
            }
        )

    def _volume(self, volume: Volume) -> Volume:
        path = self.paths[volume.params["uuid"]]
        return volume.model_copy(update={"params": {**volume.params, "uuid": path}})

    def _l2(self, l2: L2NetworkDevice) -> L2NetworkDevice:
        l2 = l2.model_copy(update={"nwfilter": self._nwfilter(l2.nwfilter)})
        if l2.network is None:
            return l2
        network = self._network(l2.network)
        params = {**l2.params, "uuid": network.uuid}
        return l2.model_copy(update={"network": network, "params": params})

    def _network(self, network: Network) -> Network:
        name, identity = self._network_name(network.name), self._uuid(network.uuid)
        root = parse(network.xml)
        for tag, text in (("name", name), ("uuid", identity)):
            for element in root.findall(tag):
                element.text = text
        for element in root.iterfind("ip/dhcp/host[@mac]"):
            element.set("mac", self._mac(element.get("mac", "")))
        hosts = tuple(
            host.model_copy(update={"mac": self._mac(host.mac)}) for host in network.dhcp_hosts
        )
        return network.model_copy(
            update={"name": name, "uuid": identity, "dhcp_hosts": hosts, "xml": serialise(root)}
        )

    def _node(self, node: Node) -> Node:
        def definition(root: etree._Element) -> None:
            self._definition(root, node)

        node = with_definitions(node, definition=definition, snapshot=self._files_of)
        return node.model_copy(
            update={
                "params": {**node.params, "uuid": self._uuid(node.params["uuid"])},
                "interfaces": tuple(map(self._interface, node.interfaces)),
                "volumes": tuple(map(self._volume, node.volumes)),
            }
        )

    def _interface(self, interface: Interface) -> Interface:
        return interface.model_copy(
            update={
                "mac_address": self._mac(interface.mac_address),
                "nwfilter": self._nwfilter(interface.nwfilter),
            }
        )

    def _nwfilter(self, nwfilter: NwFilter | None) -> NwFilter | None:
        if nwfilter is None:
            return None
        includes = nwfilter.includes
        return nwfilter.model_copy(
            update={
                "name": self._filter_name(nwfilter.name),
                "includes": None if includes is None else self._filter_name(includes),
            }
        )

    def _definition(self, root: etree._Element, node: Node) -> None:
        name, identity = root.find("name"), root.find("uuid")
        if name is not None and name.text == joined(self.old, node.name):
            name.text = joined(self.new, node.name)
        if identity is not None:
            identity.text = self._uuid(str(identity.text))
        forget_the_host(root)
        for card in root.iterfind("devices/interface"):
            for mac in card.iterfind("mac[@address]"):
                mac.set("address", self._mac(mac.get("address", "")))
            for source in card.iterfind("source[@network]"):
                source.set("network", self._network_name(source.get("network", "")))
            for reference in card.iterfind("filterref[@filter]"):
                reference.set("filter", self._filter_name(reference.get("filter", "")))
        self._files_of(root)

    def _files_of(self, root: etree._Element) -> None:
        """Wherever the element names a file of the storage pool."""
        for element in root.iterfind(".//*[@file]"):
            element.set("file", self._path(element.get("file", "")))

    def _path(self, path: str) -> str:
        """Of a file of the export, or of an overlay that did not come along."""
        return self.paths.get(path) or _renamed_path(path, self.names)

    def _network_name(self, name: str) -> str:
        return self.networks.get(name, name)

    def _filter_name(self, name: str) -> str:
        return self.filters.get(name, name)

    def _mac(self, mac: str) -> str:
        return self.macs.get(plain_mac(mac), mac)

    def _uuid(self, old: str) -> str:
        """Another one for each new name, and always the same."""
        return str(uuid.uuid5(uuid.UUID(old), self.new))


def _filters(environment: Environment, new: str, macs: Mapping[str, str]) -> dict[str, str]:
    """Names of network filters, those of networks and those of cards: old to new."""
    names = {
        l2.id: (network_filter_name(environment.name, l2.name), network_filter_name(new, l2.name))
        for l2 in environment.networks
    }
    filters = dict(names.values())
    for card in (card for node in environment.nodes for card in node.interfaces):
        if card.l2_network_device in names:
            before, after = names[card.l2_network_device]
            mac = card.mac_address
            mac_here = macs.get(plain_mac(mac), mac)
            filters[interface_filter_name(before, mac)] = interface_filter_name(after, mac_here)
    return filters


def _moved(paths: list[str], names: FileNames) -> dict[str, str]:
    """New paths of files; where two would be the same, a number follows.

    :raises UsageError: no file can be called so
    """
    new = list(distinct(_renamed_path(path, names) for path in paths))
    if any(len(PurePosixPath(path).name.encode()) > MAX_FILE_NAME for path in new):
        raise too_long(names.new)
    return dict(zip(paths, new, strict=True))


def _renamed_path(path: str, names: FileNames) -> str:
    place = PurePosixPath(path)
    return str(place.with_name(names.renamed(place.name))) if place.name else path
