"""What an import makes, written down before it makes it.

A failure or Ctrl-C is undone by the import itself. If it is killed, the record of it in the
database says what there may be of it; it holds the lock of its environment, so whoever gets that
lock knows that it is dead: see :mod:`~.recover`. The files are ours if they are the same as those
on the *bench*, where they were made and stay until the end. Those that libvirt makes for us begin
with a *mark*: see :mod:`~.uploads`.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..interrupts import held_back
from ..manifest.check import definition_of
from ..manifest.nwfilters import nwfilters_of
from ..models import Import, State
from ..process import place
from ..snapshot.undo import Undo
from .choices import Ending
from .layer_cache import DONE, LayerCache
from .plan import Plan
from .target import Target

_MARK = "devops_snapshot import "


@dataclass(frozen=True)
class Making:
    """What may be there of an import.

    :param bench: directory in which its files are made
    :param files: their paths in the storage pool
    :param domains: names by UUID; likewise networks
    :param nwfilters: their names, those that others include first
    :param current: the snapshot that the environment comes back at
    :param ending: value of an :class:`~.choices.Ending`
    :param choices: all that the user has chosen, in writing
    :param is_made: all is there, and the guests are to be woken
    :param mark: what files begin with that libvirt is making for us
    :param uploads: these, by their paths in the pool: bytes, and what tells their first bytes where
        they are about to be finished
    """

    environment: str
    connection_string: str
    storage_pool_name: str
    bench: str
    files: tuple[str, ...]
    domains: Mapping[str, str]
    networks: Mapping[str, str]
    nwfilters: tuple[str, ...]
    current: str | None
    ending: str
    choices: str
    is_made: bool = False
    mark: str = ""
    uploads: Mapping[str, tuple[int, str | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Making:
        manifest = plan.manifest
        definitions = [definition_of(node) for node in manifest.environment.nodes]
        files = [path for name, path in plan.paths.items() if name not in plan.shared]
        bench = LayerCache.of(plan.target).benches / secrets.token_hex(8)
        return cls(
            environment=manifest.environment.name,
            connection_string=plan.target.connection_string,
            storage_pool_name=plan.target.storage_pool_name,
            bench=str(bench),
            files=tuple(files),
            domains={definition.uuid: definition.name for definition in definitions},
            networks={uuid: name for name, uuid in plan.network_uuids.items()},
            nwfilters=tuple(nwfilter.name for nwfilter in nwfilters_of(manifest)),
            current=manifest.current,
            ending=plan.choices.ending.value,
            choices=repr(plan.choices),
            mark=f"{_MARK}{secrets.token_hex(16)}",
        )

    @classmethod
    def recorded_in(cls, record: Import) -> Making:
        return cls(**record.making)

    @property
    def target(self) -> Target:
        return Target(self.connection_string, self.storage_pool_name)

    @property
    def wanted_end(self) -> Ending:
        return Ending(self.ending)


class Journal:
    """The record of an import while it makes something.

    :ivar undo: takes back what was made
    """

    def __init__(self, record: Import, making: Making) -> None:
        self.undo = Undo()
        self._record = record
        self._making = making

    @property
    def bench(self) -> Path:
        """Where its files are made; on the file system of the storage pool."""
        return Path(self._making.bench)

    def rows_written(self, environment: Any) -> None:
        """To be called in the transaction that writes the environment's rows."""
        self._record.environment_id = environment.id
        self._record.save()

    def all_is_made(self) -> None:
        """From now on, whoever finds it killed wakes the guests instead of undoing all."""
        self._note(replace(self._making, is_made=True))

    @property
    def mark(self) -> bytes:
        return self._making.mark.encode()

    def about_to_make(self, path: str, size: int) -> None:
        """libvirt is to make that file in the pool now."""
        self._note_upload(path, size, None)

    def about_to_finish(self, path: str, digest: str) -> None:
        """All of it is there but for its first bytes."""
        self._note_upload(path, self._making.uploads[path][0], digest)

    def _note_upload(self, path: str, size: int, digest: str | None) -> None:
        uploads = {**self._making.uploads, path: (size, digest)}
        self._note(replace(self._making, uploads=uploads))

    def _note(self, making: Making) -> None:
        self._making = making
        self._record.making = asdict(making)
        self._record.save()

    def begin(self) -> None:
        self._record.making = asdict(self._making)
        self._record.place = place()
        self._record.save()
        self.bench.mkdir(mode=0o700)


@contextmanager
def making(record: Import, plan: Plan) -> Iterator[Journal]:
    """If the block fails, undo what it has registered, and let no Ctrl-C get in between.

    The environment's lock is held. What cannot be undone now, :mod:`~.recover` tries again.
    """
    LayerCache.of(plan.target).make_directories()
    journal = Journal(record, Making.of(plan))
    try:
        journal.begin()
        yield journal
    except BaseException:
        with held_back():
            journal.undo.run()
            record.environment_id = None
            if not journal.undo.has_failed:
                close(record, State.FAILED)
        raise
    with held_back():
        close(record, State.DONE)


def close(record: Import, state: State, *, error: str = "") -> None:
    """Record that it has ended, and that nothing has to be undone."""
    making = Making.recorded_in(record)
    bench = Path(making.bench)
    done = bench.with_suffix(DONE)
    with suppress(FileNotFoundError):
        bench.replace(done)
    record.finish(state, error=error)
    shutil.rmtree(done, ignore_errors=True)
    record.making, record.place = {}, ""
    record.save()
    LayerCache.of(making.target).trim()
