"""The process of a host that sends what waits in its spool."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

from ..console import human_size
from ..errors import ConflictError, DevopsError
from ..progress import Progress, Quiet
from .guard import allow_many_files
from .job import Job, Tries
from .receipts import Receipt
from .sending import send
from .spool import Spool

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_PUT_OFF_SECONDS = 30.0
_FIRST = {"failed": 0, "error": 0, "": 1}  # outcomes; then all others


@dataclass
class Worker:
    """Sends jobs one after the other: those of failed tests first, then the oldest.

    :param rate: bytes a second that are sent at most
    :param tell: is given a line for each job that was sent, or was tried in vain
    :param duty: entered once it is clear that no other worker has this spool
    """

    spool: Spool
    rate: int | None = None
    progress: Progress = field(default_factory=Quiet)
    tell: Callable[[str], object] = log.info
    duty: AbstractContextManager[object] = field(default_factory=nullcontext)
    sleep: Callable[[float], None] = time.sleep
    _put_off: dict[str, float] = field(default_factory=dict, init=False)

    def run(self, *, once: bool = False) -> bool:
        """Work until interrupted.

        :param once: until each job was sent, or tried in vain
        :returns: whether all was sent
        :raises ConflictError: another worker has this spool
        """
        allow_many_files()
        with self._alone():
            self.spool.sweep()
            with self.duty, ExitStack() as guards:
                return self._work(guards, once=once)

    def _work(self, guards: ExitStack, *, once: bool) -> bool:
        guarded: dict[str, ExitStack] = {}
        tried: set[str] = set()
        while True:
            jobs = self.spool.jobs()
            self._guard(jobs, guarded, guards)
            ready = [job for job in jobs if job.id not in tried and self._is_ready(job, once)]
            if ready:
                job = min(ready, key=_urgency)
                self._send(job)
                tried |= {job.id} if once else set()
            elif once:
                return self.spool.is_empty()
            else:
                self.sleep(_LOOK_SECONDS)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self.spool.working() as is_alone:
            if not is_alone:
                raise ConflictError(f"another worker sends what is in {self.spool.directory}")
            yield

    def _guard(self, jobs: list[Job], guarded: dict[str, ExitStack], guards: ExitStack) -> None:
        """Hold the files of all jobs, also after a restart of the host; let go of others'."""
        for export_id in guarded.keys() - {job.id for job in jobs}:
            guarded.pop(export_id).close()
        for job in jobs:
            if job.id not in guarded:
                guarded[job.id] = guards.enter_context(ExitStack())
                try:
                    guarded[job.id].enter_context(self.spool.guarded(job))
                except DevopsError as error:
                    log.warning("Export %s cannot be guarded: %s", job.id, error)

    def _is_ready(self, job: Job, once: bool) -> bool:
        is_put_off = self._put_off.get(job.id, 0.0) > time.monotonic()
        return once or (Tries.of(job).may_begin(time.time()) and not is_put_off)

    def _send(self, job: Job) -> None:
        try:
            with self.spool.sending(job) as is_mine:
                if is_mine:
                    self._try(job)
        except OSError as error:  # of this host's own disk, which may be full
            self._put_off[job.id] = time.monotonic() + _PUT_OFF_SECONDS
            self.tell(f"{job.id} of {job.environment} stays for now: {error}")

    def _try(self, job: Job) -> None:
        try:
            with self.spool.seen_to_send(job):
                receipt = send(job, progress=self.progress, rate=self.rate)
        except DevopsError as error:
            tries = Tries.of(job).and_another(str(error), now=time.time())
            self.tell(f"{job.id} of {job.environment} was not sent (try {tries.number}): {error}")
            tries.write(job)
        else:
            self.spool.remove(job, receipt)
            self.tell(_told(job, receipt))


def _urgency(job: Job) -> tuple[int, float]:
    return _FIRST.get(job.outcome, 2), job.queued.timestamp()


def _told(job: Job, receipt: Receipt) -> str:
    return (
        f"{job.id} of {job.environment} is at {job.storage}: sent {human_size(receipt.bytes_sent)}"
    )
