"""What the worker does for users without root, and for whom it does not."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import ConflictError, DevopsError, UnsupportedError
from ...manifest import Manifest
from ...manifest.check import check_manifest
from ...remote.url import parse
from ..job import user_name
from ..parcel import Parcel, take_in
from ..queue import OpenQueue, Overview
from ..spool import Spool
from .pool_files import PoolFiles
from .requests import Drop, Request, Retry, TakeIn, TellAll, TellFate, TellSummary


@dataclass(frozen=True)
class Asker:
    """Who asks.

    :param is_there: whether he still waits for the answer
    """

    uid: int
    is_there: Callable[[], bool]

    @property
    def name(self) -> str:
        return user_name(self.uid)


@dataclass(frozen=True)
class Desk:
    """Answers requests.

    :param storages: URLs of the storage nodes that users may send to
    :param uri: of the libvirt whose storage pools their files are in
    :param tell: is given a line for each export that is taken in
    """

    spool: Spool
    storages: Sequence[str]
    uri: str
    tell: Callable[[str], object]

    def answer(self, request: Request, manifest: bytes, asker: Asker) -> dict[str, Any]:
        """Do it, and return the answer, which goes into JSON.

        :raises DevopsError: it is refused
        """
        queue = OpenQueue(self.spool, asker.uid)
        match request:
            case TakeIn():
                self._take_in(request, manifest, asker)
            case TellAll():
                return _told(queue.overview())
            case TellSummary(id=export_id):
                return dict(queue.summary(export_id))
            case TellFate(id=export_id):
                return asdict(queue.fate(export_id))
            case Retry():
                queue.retry()
            case Drop(id=export_id):
                queue.drop(export_id)
        return {}

    def _take_in(self, request: TakeIn, data: bytes, asker: Asker) -> None:
        parcel = self._parcel(request, data)
        fate = OpenQueue(self.spool).fate(parcel.id)
        if fate.waits or fate.receipt:
            raise ConflictError(f"there is an export {parcel.id} already")
        job = take_in(
            self.spool,
            parcel,
            uid=asker.uid,
            opening=PoolFiles.of_libvirt(self.uri).opened,
            before_admission=lambda: _check_presence(asker),
        )
        self.tell(f"{job.id} of {job.environment} was taken in for {asker.name}")

    def _parcel(self, request: TakeIn, data: bytes) -> Parcel:
        manifest = Manifest.from_json(data)
        check_manifest(manifest)
        if any(file.layer for file in manifest.files):
            raise UnsupportedError("the manifest names layers, though nothing was sent yet")
        keep, sealed = request.keep_seconds, set(request.sealed)
        return Parcel(
            id=request.id,
            storage=self._storage(request.storage),
            manifest=manifest,
            sealed=frozenset(file.path for n, file in enumerate(manifest.files) if n in sealed),
            keep=None if keep is None else datetime.timedelta(seconds=keep),
        )

    def _storage(self, wanted: str) -> str:
        """That URL as whoever started the worker has written it: its keys are used."""
        for url in self.storages:
            if parse(url) == parse(wanted):
                return url
        raise UnsupportedError(
            f"the worker sends nothing to {parse(wanted)} for users without root",
            hint=f"It does to {', '.join(self.storages)}" if self.storages else _NO_STORAGE,
        )


_NO_STORAGE = "Its administrator names storage nodes with DEVOPS_STORAGE or --storage"


def _check_presence(asker: Asker) -> None:
    """Without him nobody says that guests stood still, nor makes a record."""
    if not asker.is_there():
        raise DevopsError(f"{asker.name} has gone")


def _told(overview: Overview) -> dict[str, Any]:
    return {
        "directory": str(overview.directory),
        "size": overview.size,
        "limit": overview.limit,
        "waiting": [
            {
                "job": one.job.encode().decode(),
                "tries": asdict(one.tries),
                "is_being_sent": one.is_being_sent,
            }
            for one in overview.waiting
        ],
    }
