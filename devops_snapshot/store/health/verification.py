"""Verification: finds every object that is not what was written, and the exports that it touches.

No lease is held while it looks, so collection goes on meanwhile; what is missing is looked at again
before it counts. What is damaged is made known: nobody relies on it any more, so a later export of
the same data heals it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devops_snapshot.errors import FormatError, NotFoundError, StorageError
from devops_snapshot.progress import Progress, Quiet
from devops_snapshot.remote import AccessError, Entry, Remote

from ..bounded import map_bounded
from ..collection.inventory import list_packs
from ..format.envelope import decode_envelope, decode_layers
from ..format.jsontypes import JSON
from ..format.names import EXPORTS, LayerId, export_id_of, export_path, layer_object_path, pack_path
from ..lease import hold_lease
from ..repository import Repository
from .damage import Damage, load_damage, replace_damage
from .fault import EXPORT, LAYER, PACK, Fault, State, fault_of
from .history import DATA_VERIFICATION, VERIFICATION, record
from .layer_survey import LayerSurvey
from .pack_check import PackCheck
from .remedy import remedy
from .sealed_check import faults_of_sealed

log = logging.getLogger(__name__)

_THREADS = max(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Finding:
    """An object that is damaged.

    :param kind: ``pack``, ``layer``, ``export``, ``settings`` ...
    :param object: its path in the repository
    :param exports: ids of the exports that cannot be imported as they were, ascending
    :param remedy: what can be done about it, one sentence
    """

    kind: str
    object: str
    what: str
    exports: Sequence[str]
    remedy: str


@dataclass(frozen=True)
class VerificationReport:
    """What a verification has looked at and found.

    :param exports: how many were verified; likewise ``layers`` (objects of layers) and ``packs``
    :param bytes_read: of frames, where data was read
    :param left_over: damaged objects, known from earlier, that no export needs any more
    """

    findings: Sequence[Finding]
    exports: int
    layers: int
    packs: int
    bytes_read: int
    left_over: int
    seconds: float

    @property
    def damaged_exports(self) -> list[str]:
        return sorted({export for finding in self.findings for export in finding.exports})


def verify(
    repository: Repository,
    *,
    read_data: bool = False,
    exports: Collection[str] | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Check all exports, or some, and everything that they need; make known what is damaged.

    :param read_data: read every frame, of some exports every one that they use; otherwise frames
        are only read where segments lie, and in packs that are known to be damaged
    :param exports: ids; None: all, and what belongs to no export as well
    :raises NotFoundError: one of ``exports`` does not exist
    :raises StorageError: the storage node does not answer
    """
    repository.require_feature("write", "verified")  # what is damaged is made known there
    for export in exports or ():
        repository.require_export(export)
    verification = _Verification(repository, read_data, exports, progress or Quiet())
    known = load_damage(repository.remote)
    report = verification.run(known)
    verification.remember(known, report)
    return report


class _Verification:
    def __init__(
        self,
        repository: Repository,
        read_data: bool,
        exports: Collection[str] | None,
        progress: Progress,
    ) -> None:
        self._remote: Remote = repository.remote
        self._packs = PackCheck(repository.remote, repository.indexes)
        self._survey = LayerSurvey(
            repository.remote, self._packs, threads=_THREADS, progress=progress
        )
        self._read_data = read_data
        self._chosen = exports
        self._progress = progress
        self._users: dict[LayerId, list[str]] = defaultdict(list)  # ids of exports
        self._found: dict[Fault, set[LayerId]] = {}  # and the layers that it hurts
        self._layer_objects = 0

    def run(self, known: Damage) -> VerificationReport:
        started = time.monotonic()
        listed = self._listed()
        exports = listed.keys() if self._chosen is None else self._chosen
        broken = self._check_exports({export: listed.get(export, 0) for export in sorted(exports)})
        if self._chosen is None:
            self._check_all_packs()
            self._found |= {fault: set() for fault in faults_of_sealed(self._remote)}
        for pack in known.packs:
            self._packs.want(pack)
        self._check_layers()
        findings = list(self._findings(broken, known))
        told = {finding.object for finding in findings}
        return VerificationReport(
            findings=findings,
            exports=len(exports),
            layers=self._layer_objects,
            packs=len(self._packs),
            bytes_read=self._survey.bytes_read,
            left_over=len({*self._damaged_objects()} - told),
            seconds=time.monotonic() - started,
        )

    def remember(self, known: Damage, report: VerificationReport) -> None:
        """Write down what is damaged and, if all was verified, that it was."""
        damage = self._damage(known)
        if damage == known and self._chosen is not None:
            return
        kind = DATA_VERIFICATION if self._read_data else VERIFICATION
        try:
            with hold_lease(self._remote, {"purpose": "verify"}) as lease:
                replace_damage(self._remote, lease, known, damage)
                if self._chosen is None:
                    record(self._remote, lease, kind, _facts(report))
        except AccessError:
            log.info("%s is read-only: the verification leaves no record", self._remote.url)
        except StorageError as error:  # a full disk must not hide what was found
            log.warning("The verification leaves no record: %s", error)

    def _listed(self) -> dict[str, int]:
        """Return the sizes of the objects of all exports by id."""
        entries = {export_id_of(entry.name): entry.size for entry in self._remote.list(EXPORTS)}
        return {export: size for export, size in entries.items() if export}

    def _check_exports(self, sizes: Mapping[str, int]) -> dict[Fault, str]:
        """Learn which layers are needed; return the faults of export objects with their ids."""
        broken = {}
        self._progress.begin("Exports", sum(sizes.values()))
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as threads:
            for export, layers, fault in map_bounded(self._check_export, sizes, threads):
                for layer in layers:
                    self._users[layer].append(export)
                if fault:
                    broken[fault] = export
                self._progress.advance(sizes[export])
        return broken

    def _check_export(self, export: str) -> tuple[str, Sequence[LayerId], Fault | None]:
        """Return the layers also of an export whose manifest is damaged, and only that."""
        path = export_path(export)
        where = f"Export {path}"
        data = b""
        try:
            data = self._remote.read(path)
            return export, decode_envelope(export, data, where).layers, None
        except (StorageError, NotFoundError) as error:
            fault = fault_of(EXPORT, path, error, self._remote)
            return export, _layers_if_readable(export, data, where), fault

    def _check_all_packs(self) -> None:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as threads:
            packs = list_packs(self._remote, threads)
            self._progress.begin("Packs", sum(pack.size for pack in packs))
            for size in map_bounded(self._check_pack, packs, threads):
                self._progress.advance(size)

    def _check_pack(self, pack: Entry) -> int:
        self._packs.check(pack.name, pack.size)
        if self._read_data:  # an export to come may rely on any chunk
            self._packs.want(pack.name)
        return pack.size

    def _check_layers(self) -> None:
        looks = self._survey.look(
            self._users.keys(),
            strays=self._chosen is None,
            read_data=self._read_data,
            still_needed=self._still_needed,
        )
        for health in looks:
            self._layer_objects += health.objects
            for fault in health.faults:
                self._found.setdefault(fault, set())
                if health.hurt:
                    self._found[fault].add(health.layer)
        for fault in self._packs.faults():
            self._found.setdefault(fault, set())

    def _still_needed(self) -> Collection[LayerId]:
        there = self._listed().keys()
        return {layer for layer, users in self._users.items() if not there.isdisjoint(users)}

    def _findings(self, broken: dict[Fault, str], known: Damage) -> Iterator[Finding]:
        """Yield what is damaged now, except what was known before and touches no export."""
        there = self._listed().keys()
        old = {*map(pack_path, known.packs), *map(layer_object_path, known.layers)}
        for fault, export in broken.items():
            if export in there:
                yield _finding(fault, [export])
        for fault, layers in sorted(self._found.items(), key=lambda item: item[0].object):
            exports = {export for layer in layers for export in self._users[layer]} & there
            if exports or not (fault.missing or fault.object in old):
                yield _finding(fault, sorted(exports))

    def _damaged_objects(self) -> Iterator[str]:
        return (fault.object for fault in self._found if fault.state is State.DAMAGED)

    def _damage(self, known: Damage) -> Damage:
        """Return what is damaged and there. All packs that were known were read again."""
        bad = [
            fault
            for fault in self._found
            if fault.state is State.DAMAGED
            or (fault.state is State.REFUSED and fault.name in known.packs)
        ]
        packs = {fault.name: fault.what for fault in bad if fault.kind == PACK}
        layers = {fault.name: fault.what for fault in bad if fault.kind == LAYER}
        for name, what in known.layers.items():
            if self._is_there(layer_object_path(name)):
                layers.setdefault(name, what)
        return Damage(packs, layers)

    def _is_there(self, path: str) -> bool:
        try:
            self._remote.stat(path)
        except NotFoundError:
            return False
        return True


def _layers_if_readable(export: str, data: bytes, where: str) -> Sequence[LayerId]:
    try:
        return decode_layers(export, data, where)
    except FormatError:
        return ()


def _finding(fault: Fault, exports: Sequence[str]) -> Finding:
    what_to_do = remedy(fault, is_needed=bool(exports))
    return Finding(fault.kind, fault.object, fault.what, exports, what_to_do)


def _facts(report: VerificationReport) -> dict[str, JSON]:
    return {
        "exports": report.exports,
        "packs": report.packs,
        "findings": len(report.findings),
        "damaged_exports": len(report.damaged_exports),
        "bytes_read": report.bytes_read,
        "seconds": round(report.seconds, 1),
    }
