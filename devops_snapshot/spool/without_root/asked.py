"""The exports that wait on this host, of which the worker, running as root, is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from ...errors import ConflictError, DevopsError, NotFoundError
from ..capture import CannotDetachError
from ..job import Job, Tries
from ..parcel import Parcel
from ..queue import Fate, Overview, Waiting
from ..receipts import Receipt
from ..room import SpoolFullError
from .requests import Drop, Request, Retry, TakeIn, TellAll, TellFate, TellSummary, refused
from .wire import Wire

_PATIENCE = 60.0  # seconds, for a request and its answer
_LARGEST_ANSWER = 64 << 20  # bytes


class NoWorkerError(NotFoundError):
    """Nobody answers."""


def worker_socket() -> Path:
    """Where the worker of this host is asked: ``DEVOPS_WORKER_SOCKET``, or its usual place."""
    return Path(settings.DEVOPS_WORKER_SOCKET)


@dataclass(frozen=True)
class AskedQueue:
    """Of a spool that only root may look into.

    :param place: the worker's socket
    """

    place: Path

    def check(self) -> None:
        """:raises NoWorkerError: no worker answers, or not to us"""
        with self._connected():
            pass

    def has_worker(self) -> bool:
        try:
            self.check()
        except NoWorkerError:
            return False
        return True

    def take_in(self, parcel: Parcel) -> None:
        sealed = [n for n, file in enumerate(parcel.manifest.files) if file.path in parcel.sealed]
        request = TakeIn(
            id=parcel.id,
            storage=parcel.storage,
            sealed=tuple(sealed),
            keep_seconds=parcel.keep.total_seconds() if parcel.keep else None,
        )
        try:
            self._ask(request, parcel.manifest.to_json())
        except SpoolFullError:
            raise
        except DevopsError as error:
            raise CannotDetachError(error.message, hint=error.hint) from error

    def overview(self) -> Overview:
        told = self._ask(TellAll())
        directory = Path(told["directory"])
        return Overview(
            directory,
            tuple(_waiting(one, directory) for one in told["waiting"]),
            told["size"],
            told["limit"],
        )

    def summary(self, export_id: str) -> Mapping[str, Any]:
        return self._ask(TellSummary(id=export_id))

    def fate(self, export_id: str) -> Fate:
        told = self._ask(TellFate(id=export_id))
        receipt = told["receipt"]
        return Fate(told["waits"], None if receipt is None else Receipt(**receipt))

    def retry(self) -> None:
        self._ask(Retry())

    def drop(self, export_id: str) -> None:
        self._ask(Drop(id=export_id))

    def _ask(self, request: Request, manifest: bytes = b"") -> Mapping[str, Any]:
        """:raises NoWorkerError: no worker answers
        :raises DevopsError: it refuses, or has ended meanwhile
        """
        with self._connected() as connection:
            wire = Wire(connection, seconds=_PATIENCE)
            try:
                wire.send(request.model_dump(), manifest)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it is refused before all has arrived
            except OSError as error:
                raise self._silent(error) from error
            try:
                text, _ = wire.receive(most_text=_LARGEST_ANSWER, most_body=0)
            except OSError as error:
                raise self._silent(error) from error
        answer: Mapping[str, Any] = json.loads(text)
        refusal = refused(answer)
        if refusal is not None:
            raise refusal
        return answer

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self.place))
        except OSError as error:
            connection.close()
            raise NoWorkerError(
                f"no worker answers at {self.place}: {error.strerror or error}",
                hint="'dos.py export-worker' has to run as root, and you be in the group libvirt",
            ) from error
        return connection

    def _silent(self, error: OSError) -> DevopsError:
        return ConflictError(
            f"the worker at {self.place} has not answered: {error.strerror or error}",
            hint="Its journal says why",
        )


def _waiting(told: Mapping[str, Any], directory: Path) -> Waiting:
    job = Job.decode(told["job"].encode(), directory)
    return Waiting(job, Tries(**told["tries"]), told["is_being_sent"])
