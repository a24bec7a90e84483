"""One import from beginning to end, with its record in the database.

Files, networks, rows and domains are made one after the other, each with its undoing; at the end
the environment is reverted to the snapshot that was exported last, by the same code that reverts
any environment: that gives every disk its fresh overlay and lets the guests run on.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import libvirt
from django.db import transaction

from .. import snapshot as snapshots
from ..hypervisor import asking
from ..journey import recorded
from ..manifest import Manifest
from ..manifest.writing import RowWriter
from ..models import EnvironmentSnapshot, Import, NodeSnapshot, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..snapshot.domain_xml import serialise
from ..store import ImportSession, LayerId, Repository
from .choose import choose_export
from .domain import adapt, adapt_snapshot, check_definition
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
        with repository.reading(entry.id) as session:
            manifest = Manifest.from_json(session.manifest)
            record.environment_name = manifest.environment.name
            record.save()
            plan = make_plan(manifest, target, data_size=_data_size(manifest, session))
            environment = _carry_out(plan, session, progress or Quiet(), paused=paused)
            record.environment_id = environment.id
            record.bytes_received = session.stats.bytes_received
            record.bytes_written = session.stats.bytes_written
    return record


def _data_size(manifest: Manifest, session: ImportSession) -> int:
    """Bytes that are not holes."""
    layers = {LayerId(file.layer) for file in manifest.files if file.layer is not None}
    return sum(extent.length for layer in layers for extent in session.layer(layer).extents())


def _carry_out(plan: Plan, session: ImportSession, progress: Progress, *, paused: bool) -> Any:
    with ExitStack() as undo:
        fetch_files(plan, session, progress, undo)
        networks = define_networks(plan, undo)
        environment = _write_rows(plan, networks)
        undo.callback(_remove_rows, environment)
        for node in plan.manifest.environment.nodes:
            _define_domain(plan, node, undo)
        if plan.manifest.current is not None:
            snapshots.revert(environment, plan.manifest.current, resume=not paused)
        undo.pop_all()
    return environment


def _write_rows(plan: Plan, networks: dict[int, str]) -> Any:
    writer = RowWriter(
        paths=plan.paths,
        networks=networks,
        driver_params={
            "connection_string": plan.target.connection_string,
            "storage_pool_name": plan.target.storage_pool_name,
        },
    )
    with transaction.atomic():
        environment = writer.write(plan.manifest.environment)
        _write_snapshots(plan, environment)
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


def _remove_rows(environment: Any) -> None:
    drivers = [group.driver for group in environment.get_groups()]
    environment.delete()
    for driver in drivers:
        driver.delete()


def _define_domain(plan: Plan, node: Any, undo: ExitStack) -> None:
    checked = check_definition(node)
    emulator = plan.target.emulator(checked.architecture, checked.type)
    adapt(checked.root, paths=plan.paths, emulator=emulator)
    with asking(f"defining domain {checked.name}"):
        domain = plan.target.conn.defineXML(serialise(checked.root))
    undo.callback(_remove_domain, domain)
    for snapshot in node.snapshots:
        document = adapt_snapshot(
            snapshot,
            node=node.name,
            paths=plan.paths,
            emulator=emulator,
            unexported=str(plan.target.directory),
        )
        with asking(f"recording snapshot {snapshot.name!r} of {checked.name}"):
            domain.snapshotCreateXML(document, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)


def _remove_domain(domain: Any) -> None:
    with asking(f"removing domain {domain.name()}"):
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
