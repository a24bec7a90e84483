"""What the types of ``document`` cannot say: whether a manifest contradicts itself or reaches out.

A manifest is not to be trusted. After this check its names are names and no paths, all files that
rows, domains and snapshots stand on are files of the export and used as what they are, and every
row of a node means the domain that came with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from ..errors import DevopsError, FormatError, UnsupportedError
from ..qcow2 import MAX_VIRTUAL_SIZE
from ..snapshot.domain_xml import disks_of, parse
from ..snapshot.layers import COPY_OF
from ..snapshot.metadata import SnapshotMetadata, parse_snapshot
from ..store.format.names import is_layer_id
from . import document
from .check_networks import (
    LONGEST,
    UUID,
    check_addresses,
    check_networks,
    check_nwfilters,
    once,
)
from .check_rows import check_rows
from .check_writing import check_writing
from .definition import Definition, check_definition
from .snapshot_document import faults_of_snapshot

_LIBVIRT = "devops.driver.libvirt"
_IMAGE_FORMATS = ("qcow2", "raw")
_MEMORY_FORMAT = "memory"
_LONGEST_MESSAGE = 1000  # characters


@dataclass(frozen=True)
class _Plugs:
    """What the machines of an environment may be plugged into, by name in libvirt."""

    networks: frozenset[str]
    nwfilters: frozenset[str]


def check_manifest(manifest: document.Manifest) -> None:
    """Refuse a manifest that no export could have written.

    :raises FormatError: saying what is wrong
    :raises UnsupportedError: a driver other than libvirt's, a forward mode that is not there yet
    """
    with _told_shortly():
        _check_manifest(manifest)


@contextmanager
def _told_shortly() -> Iterator[None]:
    """Messages repeat what a manifest says; nobody reads a megabyte of it."""
    try:
        yield
    except DevopsError as error:
        if len(error.message) > _LONGEST_MESSAGE:
            error.message = f"{error.message[:_LONGEST_MESSAGE]} ..."
        raise


def _check_manifest(manifest: document.Manifest) -> None:
    environment = manifest.environment
    check_rows(manifest)
    files = _check_files(manifest.files)
    _check_names(environment)
    _check_drivers(environment)
    plugs = _Plugs(check_networks(environment), check_nwfilters(environment))
    check_addresses(environment)
    for volume in _volumes(environment):
        _check_volume(volume, files)
    definitions = [_check_node(node, files, plugs) for node in environment.nodes]
    once("domain", (definition.name for definition in definitions))
    once("domain UUID", (definition.uuid for definition in definitions))
    _check_current(manifest)
    check_writing(manifest)
    _check_use(manifest)


def _volumes(environment: document.Environment) -> Iterator[document.Volume]:
    owners: list[document.Group | document.Node] = [*environment.groups, *environment.nodes]
    return chain.from_iterable(owner.volumes for owner in owners)


def definition_of(node: document.Node) -> Definition:
    """The node's own definition, checked.

    :raises FormatError: as :func:`~.definition.check_definition`
    """
    return check_definition(f"node {node.name!r}", parse(node.domain_xml))


def check_memory(node: document.Node, snapshot: document.Snapshot, xml: str) -> None:
    """The definition inside a memory state: libvirt starts the guest from it.

    :raises FormatError: it is not the domain that the snapshot speaks of
    """
    with _told_shortly():
        _check_memory(node, snapshot, xml)


def _check_memory(node: document.Node, snapshot: document.Snapshot, xml: str) -> None:
    owner = f"the memory of node {node.name!r} at {snapshot.name!r}"
    saved = check_definition(owner, parse(xml))
    recorded = parse_snapshot(snapshot.xml)
    # a revert says for each of these where it stands; another would stand where the memory says
    known = {disk.target for disk in recorded.frozen if disk.path}
    strange = [
        disk.target for disk in disks_of(saved.root) if disk.path and disk.target not in known
    ]
    own = definition_of(node)
    most = max(definition.memory for definition in definitions_in(snapshot, owner))
    if saved.memory > most:
        raise FormatError(f"{owner} takes {saved.memory} bytes, its definition {most}")
    elsewhere = saved.networks - own.networks or saved.nwfilters - own.nwfilters
    if strange or elsewhere or saved.uuid != own.uuid:
        raise FormatError(f"{owner} is that of another machine than the snapshot's")


def _check_files(files: Iterable[document.File]) -> dict[str, document.File]:
    known: dict[str, document.File] = {}
    for file in files:
        _check_file_name(file)
        if file.path in known:
            raise FormatError(f"the manifest has the file {file.path!r} twice")
        if file.layer is not None and not is_layer_id(file.layer):
            raise FormatError(f"the file {file.name!r} is the layer {file.layer!r}")
        if (file.virtual_size or 0) > MAX_VIRTUAL_SIZE:
            raise FormatError(f"the file {file.name!r} is a disk of {file.virtual_size} bytes")
        is_memory = file.role is document.FileRole.MEMORY
        if file.format not in ((_MEMORY_FORMAT,) if is_memory else _IMAGE_FORMATS):
            raise FormatError(f"the file {file.name!r} is of the unknown format {file.format!r}")
        if file.backing is not None:
            below = known.get(file.backing)
            if below is None or below.role is document.FileRole.MEMORY or file.format != "qcow2":
                raise FormatError(
                    f"the file {file.name!r} cannot stand on {file.backing!r}: "
                    "that is no image that comes before it in the export"
                )
        known[file.path] = file
    return known


def _check_file_name(file: document.File) -> None:
    name = file.name
    if (
        not name
        or name.startswith(".")
        or not name.isprintable()
        or len(name.encode()) > LONGEST
        or not file.path.startswith("/")
    ):
        raise FormatError(f"the manifest names a file {file.path!r}, which is no file name")


def _check_names(environment: document.Environment) -> None:
    """Names become parts of file names and of what is printed."""
    named: list[tuple[str, str]] = [("environment", environment.name)]
    named += [("address pool", pool.name) for pool in environment.address_pools]
    for group in environment.groups:
        named += [("network pool", pool.name) for pool in group.network_pools]
        named += [("group", group.name), *(("volume", v.name) for v in group.volumes)]
        for l2 in group.l2_network_devices:
            named += [("network", l2.name), *([("network", l2.network.name)] if l2.network else [])]
    for node in environment.nodes:
        named += [("node", node.name), *(("volume", v.name) for v in node.volumes)]
        named += [("snapshot", snapshot.name) for snapshot in node.snapshots]
    named += [
        ("volume", name) for name in map(_copied_name, _volumes(environment)) if name is not None
    ]
    for kind, name in named:
        is_path = "/" in name or name in (".", "..")
        if not name or is_path or not name.isprintable() or len(name) > LONGEST:
            raise FormatError(f"the manifest has {name[:LONGEST]!r} as the name of a {kind}")


def _copied_name(volume: document.Volume) -> str | None:
    """What a volume is called of which this one is a copy."""
    told = volume.params.get(COPY_OF)
    if told is None:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise FormatError(f"volume {volume.name!r} is said to be a copy of {told!r}")
    return str(told["name"])


def _check_drivers(environment: document.Environment) -> None:
    for group in environment.groups:
        if not group.driver.name.startswith(_LIBVIRT):
            raise UnsupportedError(
                f"group {group.name!r} belongs to driver {group.driver.name!r}, "
                "which cannot be imported",
                hint=f"Only {_LIBVIRT} can",
            )
        params = [group.driver.params]
        for node in group.nodes:
            params += [node.params, *(volume.params for volume in node.volumes)]
        params += [volume.params for volume in group.volumes]
        for name in (str(row.get("_class", "")) for row in params):
            if not name.startswith(f"{_LIBVIRT}."):
                raise FormatError(f"group {group.name!r} has a row of class {name!r}")


def _check_volume(volume: document.Volume, files: Mapping[str, document.File]) -> None:
    """A row's file is deleted with the row, and its format is what overlays believe."""
    path = volume.params.get("uuid")
    file = files.get(path) if isinstance(path, str) else None
    if file is None:
        raise FormatError(f"volume {volume.name!r} is at {path!r}, which is not in the export")
    image_format = volume.params.get("format", "qcow2")  # fuel-devops's default
    if image_format != file.format:
        raise FormatError(
            f"volume {volume.name!r} is {image_format!r} by its row and {file.format} by its file"
        )


def _check_node(
    node: document.Node, files: Mapping[str, document.File], plugs: _Plugs
) -> Definition:
    definition = definition_of(node)
    owner = f"node {node.name!r}"
    if node.params.get("uuid") != definition.uuid or not UUID.fullmatch(definition.uuid):
        raise FormatError(
            f"{owner} has UUID {node.params.get('uuid')!r} by its row "
            f"and {definition.uuid!r} by its definition"
        )
    _check_disks(definition, owner, files)
    _check_plugs(definition, owner, plugs)
    for snapshot in node.snapshots:
        _check_snapshot(snapshot, definition, owner, files, plugs)
    once(f"snapshot of {owner}", (snapshot.name for snapshot in node.snapshots))
    return definition


def _check_disks(definition: Definition, owner: str, files: Mapping[str, document.File]) -> None:
    for disk in disks_of(definition.root):
        if disk.path is None:
            continue
        file = files.get(disk.path)
        if file is None:
            raise FormatError(
                f"disk {disk.target} of {owner} stands on {disk.path!r}, which is not in the export"
            )
        if disk.format != file.format:
            # a raw image whose content claims to be qcow2 could name any file of this host
            raise FormatError(
                f"disk {disk.target} of {owner} is used as {disk.format}, but is {file.format}"
            )


def _check_plugs(definition: Definition, owner: str, plugs: _Plugs) -> None:
    for name in sorted(definition.networks - plugs.networks):
        raise FormatError(
            f"{owner} is plugged into the network {name!r}, which is not in the export"
        )
    for name in sorted(definition.nwfilters - plugs.nwfilters):
        raise FormatError(f"{owner} has the network filter {name!r}, which is not in the export")


def _check_snapshot(
    snapshot: document.Snapshot,
    domain: Definition,
    node: str,
    files: Mapping[str, document.File],
    plugs: _Plugs,
) -> None:
    owner = f"{node} at {snapshot.name!r}"
    found = _read(snapshot, owner)
    told = (snapshot.name, snapshot.parent, snapshot.memory, snapshot.state, snapshot.internal)
    if told != (found.name, found.parent, found.memory_path, found.state.value, found.internal):
        raise FormatError(f"the snapshot of {owner} is another one by its XML")
    if snapshot.memory is not None:
        file = files.get(snapshot.memory)
        if file is None or file.role is not document.FileRole.MEMORY:
            raise FormatError(
                f"the memory of {owner} is {snapshot.memory!r}, which is not in the export"
            )
    for definition in definitions_in(snapshot, owner):
        if (definition.name, definition.uuid) != (domain.name, domain.uuid):
            raise FormatError(f"the snapshot of {owner} is that of {definition.name!r}")
        _check_disks(definition, owner, files)
        _check_plugs(definition, owner, plugs)


def _check_use(manifest: document.Manifest) -> None:
    """A file that nobody uses would stay in the pool for ever."""
    used = {str(volume.params["uuid"]) for volume in _volumes(manifest.environment)}
    used |= {file.backing for file in manifest.files if file.backing is not None}
    for node in manifest.environment.nodes:
        roots = [parse(node.domain_xml), *(parse(snapshot.xml) for snapshot in node.snapshots)]
        used |= {
            element.get("file", "") for root in roots for element in root.iterfind(".//*[@file]")
        }
    for file in manifest.files:
        if file.path not in used:
            raise FormatError(f"the manifest has the file {file.path!r}, which nobody uses")


def _check_current(manifest: document.Manifest) -> None:
    there = {snapshot.name for node in manifest.environment.nodes for snapshot in node.snapshots}
    for name in (*manifest.snapshots, manifest.current):
        if name is not None and name not in there:
            raise FormatError(f"no node of the manifest has the snapshot {name[:LONGEST]!r}")


def _read(snapshot: document.Snapshot, owner: str) -> SnapshotMetadata:
    try:
        for fault in faults_of_snapshot(parse(snapshot.xml)):
            raise FormatError(f"it has {fault}")
        return parse_snapshot(snapshot.xml)
    except (DevopsError, ValueError, OverflowError) as error:
        raise FormatError(f"the snapshot of {owner} cannot be read: {error}") from error


def definitions_in(snapshot: document.Snapshot, owner: str) -> Iterator[Definition]:
    """The domain as it was, and its persistent definition of that time, checked."""
    root = parse(snapshot.xml)
    for tag in ("domain", "inactiveDomain"):
        for found in root.findall(tag):
            yield check_definition(owner, found)
