"""One import from beginning to end, with its record in the database.

Files, networks, rows and domains are made one after the other, each with its undoing; at the end
the environment is reverted to the snapshot that was exported last, by the same code that reverts
any environment: that gives every disk its fresh overlay and lets the guests run on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .. import snapshot as snapshots
from ..errors import DevopsError
from ..hypervisor import asking, domain_of
from ..interrupts import held_back
from ..journey import recorded
from ..lock import changing
from ..manifest import Manifest
from ..manifest.check import check_manifest
from ..models import Import, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..snapshot.undo import Undo
from ..store import ImportSession, LayerId, Repository
from .choices import Choices, Ending
from .choose import choose_export
from .files import fetch_files
from .machines import define_machine
from .networks import define_networks
from .plan import Plan, make_plan
from .reshape import reshape
from .rows import write_rows
from .target import Target

_ALL = Choices()


def plan_import(wanted: str, *, storage: str, target: Target, choices: Choices = _ALL) -> Plan:
    """Check everything, and touch nothing.

    :param wanted: an export's id, the beginning of one, ``latest`` or ``latest:ENVIRONMENT``
    :param storage: URL of the storage node
    :raises NotFoundError: there is no such export, or a chosen node or snapshot is not in it
    :raises FormatError: the manifest would reach outside the pool, or into the host
    """
    with connect(storage) as remote:
        repository = Repository.open(remote)
        entry = choose_export(repository, wanted)
        with repository.reading(entry.id) as session:
            exported = Manifest.from_json(session.manifest)
            return _plan(exported, session, target, choices)


def import_environment(
    wanted: str,
    *,
    storage: str,
    target: Target,
    choices: Choices = _ALL,
    show: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
) -> Import:
    """Bring an export back to life on this host.

    :param wanted: an export's id, the beginning of one, ``latest`` or ``latest:ENVIRONMENT``
    :param storage: URL of the storage node
    :param show: is given the plan before anything is touched, also one that cannot be
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
            exported = Manifest.from_json(session.manifest)
            record.environment_name = choices.name or exported.environment.name
            record.save()
            plan = _plan(exported, session, target, choices)
            if show is not None:
                show(plan)
            plan.require_possible()
            with changing(plan.manifest.environment.name):
                environment = _carry_out(plan, session, progress or Quiet())
            record.environment_id = environment.id
    return record


def _plan(exported: Manifest, session: ImportSession, target: Target, choices: Choices) -> Plan:
    check_manifest(exported)
    manifest = reshape(exported, choices)
    return make_plan(exported, target, choices, to_write=_data_size(manifest, session))


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


def _carry_out(plan: Plan, session: ImportSession, progress: Progress) -> Any:
    with _all_or_nothing() as undo:
        fetch_files(plan, session, progress, undo)
        with held_back() as interrupts:
            networks = define_networks(plan, undo)
            interrupts.heed()
            environment = write_rows(plan, networks, undo)
            for node in plan.manifest.environment.nodes:
                interrupts.heed()
                define_machine(plan, node, undo)
            interrupts.heed()
            if plan.manifest.current is not None:
                _revert(environment, plan.manifest.current, plan.choices.ending)
            if plan.choices.ending is Ending.START:
                _start(environment)
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


def _revert(environment: Any, name: str, ending: Ending) -> None:
    try:
        snapshots.revert(
            environment,
            name,
            resume=ending in (Ending.RESUME, Ending.START),
            with_memory=ending is not Ending.DEFINE_ONLY,
        )
    except DevopsError as error:
        error.hint = ""  # it tells of the environment's nodes; they are about to go
        raise


def _start(environment: Any) -> None:
    """Start the guests that did not come back from memory."""
    for node in environment.get_nodes():
        domain = domain_of(node)
        with asking(f"starting node {node.name!r}"):
            if not domain.isActive():
                domain.create()
