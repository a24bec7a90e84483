"""One import from beginning to end, with its record in the database.

What it makes is written down first, for whoever finds it killed. Files, networks, rows and domains
are made one after the other, each with its undoing; at the end the environment is reverted to the
snapshot that was exported last, by the same code that reverts any environment: that gives every
disk its fresh overlay and lets the guests run on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import transaction

from ..interrupts import held_back
from ..journey import recorded
from ..lock import changing
from ..manifest import Manifest
from ..manifest.check import check_manifest
from ..models import Import, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..store import ImportSession, LayerId, Repository
from .awaken import awaken
from .checks import InCache, Room
from .choices import Choices
from .choose import choose_export
from .files import fetch_files, layers_of, shared_files
from .journal import making
from .layer_cache import LayerCache, data_size
from .machines import define_machine
from .networks import define_networks, join_networks, keep_originals
from .nwfilters import define_nwfilters
from .plan import Plan, make_plan
from .recover import Recovered
from .reshape import reshape
from .rows import write_rows
from .target import Target

_ALL = Choices()
_LONGEST_NAME = 255  # characters that a row takes


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
    recovered: Iterable[Recovered] = (),
) -> Import:
    """Bring an export back to life on this host.

    :param wanted: an export's id, the beginning of one, ``latest`` or ``latest:ENVIRONMENT``
    :param storage: URL of the storage node
    :param show: is given the plan before anything is touched, also one that cannot be
    :param recovered: what :func:`~.recover.recover` has returned: if the same import has just been
        finished, there is nothing left to do
    :returns: the record; its ``environment`` is the new row
    :raises DevopsError: recorded as failed; nothing is left on the host
    """
    record = Import.objects.create(storage_url=storage, environment_name="")
    with recorded(record), connect(storage) as remote:
        repository = Repository.open(remote)
        record.storage_node = StorageNode.used(storage, repository.id)
        entry = choose_export(repository, wanted)
        record.export_id = entry.id
        for earlier in recovered:
            if earlier.is_what_is_wanted(entry.id, choices):
                record.environment_name = earlier.record.environment_name
                record.environment_id = earlier.record.environment_id
                return record
        reading = repository.reading(entry.id, scratch=_scratch(target))
        with reading as session, _counted(record, session):
            exported = Manifest.from_json(session.manifest)
            record.environment_name = _tellable(choices.name or exported.environment.name)
            record.save()
            with changing(record.environment_name):
                plan = _plan(exported, session, target, choices)
                if show is not None:
                    show(plan)
                plan.require_possible()
                _carry_out(plan, session, progress or Quiet(), record)
    return record


def _scratch(target: Target) -> Path:
    """Where much can be kept while the import lasts."""
    return target.directory if target.files_are_ours else LayerCache.of(target).made()


def _tellable(name: str) -> str:
    """A name that nobody has checked yet, for the record."""
    return "".join(c if c.isprintable() else "?" for c in name)[:_LONGEST_NAME]


def _plan(exported: Manifest, session: ImportSession, target: Target, choices: Choices) -> Plan:
    check_manifest(exported)
    manifest = reshape(exported, choices)
    cache = LayerCache.of(target)
    in_place = shared_files(manifest, session, target)
    layers = layers_of(manifest, without=in_place)
    return make_plan(
        exported,
        target,
        choices,
        in_place=in_place,
        room=_room(target, cache, session, layers),
    )


def _room(
    target: Target, cache: LayerCache, session: ImportSession, layers: Collection[LayerId]
) -> Room:
    missing, spare = cache.missing(session, layers), cache.spare(keep=layers)
    if target.files_are_ours:
        return Room(to_write=missing, spare=spare)
    placed = sum(data_size(session, layer) for layer in layers)
    if target.is_local and cache.shares_room_with(target.directory):
        return Room(to_write=missing + placed, spare=spare)
    in_cache = InCache(str(cache.workshop), to_write=missing, free=cache.room() + spare)
    return Room(to_write=placed, in_cache=in_cache)


@contextmanager
def _counted(record: Import, session: ImportSession) -> Iterator[None]:
    """Keep in the record what was transferred, also when it was in vain."""
    try:
        yield
    finally:
        record.bytes_received = session.stats.bytes_received
        record.bytes_written = session.stats.bytes_written


def _carry_out(plan: Plan, session: ImportSession, progress: Progress, record: Import) -> None:
    with making(record, plan) as journal:
        fetch_files(plan, session, progress, journal)
        with held_back() as interrupts:
            define_nwfilters(plan, journal.undo)
            networks = define_networks(plan, journal.undo)
            interrupts.heed()
            with transaction.atomic():
                environment = write_rows(plan, networks, journal.undo)
                keep_originals(plan, environment, networks)
                journal.rows_written(environment)
            join_networks(plan, environment, journal.undo)
            for node in plan.manifest.environment.nodes:
                interrupts.heed()
                define_machine(plan, node, journal.undo)
            interrupts.heed()
            journal.all_is_made()
            awaken(environment, plan.manifest.current, plan.choices.ending)
