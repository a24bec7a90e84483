"""One import from beginning to end, with its record in the database.

Files, networks, rows and domains are made one after the other, each with its undoing; at the end
the environment is reverted to the snapshot that was exported last, by the same code that reverts
any environment: that gives every disk its fresh overlay and lets the guests run on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
from django.db import DatabaseError, transaction

from .. import snapshot as snapshots
from ..errors import DevopsError, FormatError
from ..hypervisor import asking
from ..interrupts import held_back
from ..journey import recorded
from ..manifest import Manifest, document
from ..manifest.check import check_memory, definition_of
from ..manifest.writing import RowWriter
from ..models import EnvironmentSnapshot, Import, NodeSnapshot, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..snapshot.domain_xml import serialise
from ..snapshot.undo import Undo
from ..store import ImportSession, LayerId, Repository
from .choose import choose_export
from .domain import adapt, adapt_snapshot
from .files import fetch_files
from .networks import define_networks
from .plan import Plan, make_plan
from .target import Target


def import_environment(
    wanted: str,
    *,
    storage: str,
    target: Target,
    paused: bool = False,
    progress: Progress | None = None,
) -> Import:
    """Bring an export back to life on this host.

    :param wanted: an export's id, the beginning of one, ``latest`` or ``latest:ENVIRONMENT``
    :param storage: URL of the storage node
    :param paused: guests stay paused at the moment they were frozen at
    :returns: the record; its ``environment`` is the new row
    :raises DevopsError: recorded as failed; nothing is left on the host
    """
    record = Import.objects.create(storage_url=storage, environment_name="")
    with recorded(record), connect(storage) as remote:
        repository = Repository.open(remote)
        record.storage_node = StorageNode.used(storage, repository.id)
        entry = choose_export(repository, wanted)
        record.export_id = entry.id
        reading = repository.reading(entry.id, scratch=target.directory)
        with reading as session, _counted(record, session):
            manifest = Manifest.from_json(session.manifest)
            record.environment_name = manifest.environment.name
            record.save()
            plan = make_plan(manifest, target, data_size=_data_size(manifest, session))
            environment = _carry_out(plan, session, progress or Quiet(), paused=paused)
            record.environment_id = environment.id
    return record


@contextmanager
def _counted(record: Import, session: ImportSession) -> Iterator[None]:
    """Keep in the record what was transferred, also when it was in vain."""
    try:
        yield
    finally:
        record.bytes_received = session.stats.bytes_received
        record.bytes_written = session.stats.bytes_written


def _data_size(manifest: Manifest, session: ImportSession) -> int:
    """Bytes that are not holes."""
    layers = [LayerId(file.layer) for file in manifest.files if file.layer is not None]
    return sum(extent.length for layer in layers for extent in session.layer(layer).extents())


def _carry_out(plan: Plan, session: ImportSession, progress: Progress, *, paused: bool) -> Any:
    with _all_or_nothing() as undo:
        fetch_files(plan, session, progress, undo)
        with held_back() as interrupts:
            networks = define_networks(plan, undo)
            interrupts.heed()
            environment = _write_rows(plan, networks, undo)
            for node in plan.manifest.environment.nodes:
                interrupts.heed()
                _define_domain(plan, node, undo)
            interrupts.heed()
            if plan.manifest.current is not None:
                _revert(environment, plan.manifest.current, resume=not paused)
    return environment


@contextmanager
def _all_or_nothing() -> Iterator[Undo]:
    """If the block fails, undo what it has registered, and let no Ctrl-C get in between."""
    undo = Undo()
    try:
        yield undo
    except BaseException:
        with held_back():
            undo.run()
        raise


def _revert(environment: Any, name: str, *, resume: bool) -> None:
    try:
        snapshots.revert(environment, name, resume=resume)
    except DevopsError as error:
        error.hint = ""  # it tells of the environment's nodes; they are about to go
        raise


def _write_rows(plan: Plan, networks: dict[int, str], undo: Undo) -> Any:
    writer = RowWriter(
        paths=plan.paths,
        networks=networks,
        driver_params={
            "connection_string": plan.target.connection_string,
            "storage_pool_name": plan.target.storage_pool_name,
        },
    )
    try:
        with transaction.atomic():
            environment = writer.write(plan.manifest.environment)
            _write_snapshots(plan, environment)
    except (DatabaseError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"the database refuses the rows of the export: {reason}") from error
    undo.later(_remove_rows, plan, environment)
    return environment


def _write_snapshots(plan: Plan, environment: Any) -> None:
    """This project's own records of the snapshots that came along."""
    rows = {node.name: node for node in environment.get_nodes()}
    for node in plan.manifest.environment.nodes:
        for exported in node.snapshots:
            if exported.internal:
                continue
            snapshot, _ = EnvironmentSnapshot.objects.get_or_create(
                environment_id=environment.id,
                name=exported.name,
                defaults={
                    "description": exported.description,
                    "created": exported.created.replace(tzinfo=None),
                },
            )
            NodeSnapshot.objects.create(
                snapshot=snapshot,
                node_id=rows[node.name].id,
                node_name=node.name,
                state=exported.state,
                memory_path=plan.paths[exported.memory] if exported.memory else "",
            )


def _remove_rows(plan: Plan, environment: Any) -> None:
    """The rows, and the overlays that a revert has made: nothing else knows of those."""
    imported = set(plan.paths.values())
    for node in environment.get_nodes():
        for volume in node.get_volumes().order_by("-id"):
            if volume.uuid not in imported:
                volume.remove()
    drivers = [group.driver for group in environment.get_groups()]
    environment.delete()
    for driver in drivers:
        driver.delete()


def _define_domain(plan: Plan, node: document.Node, undo: Undo) -> None:
    definition = definition_of(node)
    emulator = plan.target.emulator(definition.architecture, definition.type)
    adapt(definition.root, paths=plan.paths, emulator=emulator)
    with asking(f"defining domain {definition.name}"):
        domain = plan.target.conn.defineXML(serialise(definition.root))
    undo.later(_remove_domain, domain)
    for snapshot in node.snapshots:
        if snapshot.memory is not None:
            _check_memory(plan, node, snapshot)
        xml = adapt_snapshot(
            snapshot, paths=plan.paths, emulator=emulator, directory=plan.target.directory
        )
        with asking(f"recording snapshot {snapshot.name!r} of {definition.name}"):
            domain.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)


def _check_memory(plan: Plan, node: document.Node, snapshot: document.Snapshot) -> None:
    path = plan.paths[str(snapshot.memory)]
    with asking(f"reading the domain in {path}"):
        xml = plan.target.conn.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    check_memory(node, snapshot, xml)


def _remove_domain(domain: Any) -> None:
    with asking(f"removing domain {domain.name()}"):
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
