"""SIGKILL at every operation on the storage node: nothing is lost, and what arrived is used."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import (
    Repository,
    collect,
    delete_export,
    deleted_exports,
    plan_prune,
    prune,
    undelete_export,
    verify,
)

from .model_world import Stored, age, at_once, check, export
from .place import objects, packed_chunks

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
# Of an operation's effect; "after" one is for the storage node the same as "before" the next.
MOMENTS = ("before", "within", *(("after",) if os.environ.get("DEVOPS_LONG_RUN") else ()))
DAY = 24 * 3600
FIRST, SECOND, NEW = [(1, 2, 3), (4, 5)], [(1, 2, 3)], [(1, 2, 3), (6, 7, 8), (1, 9)]


class KillingRemote:
    """Ends the process at its n-th operation. A write counts where its data is complete."""

    def __init__(self, remote: Remote, stop_at: int, moment: str) -> None:
        self._remote = remote
        self._stop_at = stop_at
        self._moment = moment
        self._numbers = itertools.count(1)

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        whole = b"".join(data)
        moment = self._moment_now(is_write=True)
        die_if(moment == "before")
        halves = self._halves(whole, die_between=moment == "within")
        try:
            return self._remote.write(path, halves, staging=staging)
        finally:  # what fails has had its effect as well
            die_if(moment is not None)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._remote, name)
        return partial(self._counted, attribute) if callable(attribute) else attribute

    def _counted(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        moment = self._moment_now()
        die_if(moment == "before")
        try:
            return operation(*args, **options)
        finally:
            die_if(moment is not None)

    def _moment_now(self, *, is_write: bool = False) -> str | None:
        """When to die in the operation that begins, if it is the one. Several may be under way."""
        if self._moment == "within" and not is_write:
            return None
        return self._moment if next(self._numbers) == self._stop_at else None

    def _halves(self, data: bytes, *, die_between: bool) -> Iterator[bytes]:
        yield data[: len(data) // 2]
        die_if(die_between)
        yield data[len(data) // 2 :]


def die_if(condition: bool) -> None:
    if condition:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Place:
    """A repository as it is when a scenario begins; the exports by age."""

    directory: Path
    exports: dict[str, Stored]

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    @property
    def oldest(self) -> str:
        return min(self.exports)

    def copy(self, name: str) -> Place:
        target = self.directory.with_name(name)
        shutil.copytree(self.directory, target)
        return Place(target, dict(self.exports))


Work = Callable[[Remote, Place], None]


def do_export(remote: Remote, place: Place) -> None:
    export(remote, NEW, place.exports)


def do_delete(remote: Remote, place: Place) -> None:
    delete_export(Repository.open(remote), place.oldest, sleep=at_once)


def do_undelete(remote: Remote, place: Place) -> None:
    undelete_export(Repository.open(remote), place.oldest, sleep=at_once)


def do_prune(remote: Remote, place: Place) -> None:
    repository = Repository.open(remote)
    prune(repository, plan_prune(repository), sleep=at_once)


def do_collect(remote: Remote, place: Place) -> None:
    collect(Repository.open(remote), sleep=at_once)


SCENARIOS: Mapping[str, Work] = {
    "export": do_export,
    "delete": do_delete,
    "undelete": do_undelete,
    "prune": do_prune,
    "collect": do_collect,
}


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A directory where fsync costs nothing: there are many repositories to make."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
def prepared(in_memory: Path) -> Callable[[str], Place]:
    """Make a repository for a scenario: two exports, and what the scenario is about."""

    def prepare(scenario: str) -> Place:
        place = Place(in_memory / "prepared", {})
        with connect(place.url) as remote:
            Repository.initialise(remote)
            for contents in (FIRST, SECOND):
                export(remote, contents, place.exports)
            if scenario == "prune":
                age(place.directory / "exports" / f"{place.oldest}.json", 8 * DAY)
            if scenario in ("undelete", "collect"):
                do_delete(remote, place)
        return place

    return prepare


def run(scenario: str, place: Place, stop_at: int, moment: str, cache: str) -> None:
    """What the process does that is killed."""
    os.environ["XDG_CACHE_HOME"] = cache  # the server of processes was started by another test
    with connect(place.url) as remote:
        killing: Any = KillingRemote(remote, stop_at, moment)
        SCENARIOS[scenario](killing, place)


def is_killed(scenario: str, place: Place, stop_at: int, moment: str) -> bool:
    """Run a scenario and kill it; False if it came to its end before."""
    arguments = (scenario, place, stop_at, moment, os.environ["XDG_CACHE_HOME"])
    process = PROCESSES.Process(target=run, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"{scenario}: {process.exitcode}"
    return process.exitcode != 0


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_operation(
    scenario: str, moment: str, prepared: Callable[[str], Place]
) -> None:
    start = prepared(scenario)
    rehearsal = start.copy("rehearsal")
    with connect(rehearsal.url) as remote:
        SCENARIOS[scenario](remote, rehearsal)
    for stop_at in range(1, 1000):
        place = start.copy(f"killed-{stop_at}")
        if not is_killed(scenario, place, stop_at, moment):
            assert stop_at > 1
            return
        with connect(place.url) as remote:
            all_is_well(remote, place, rehearsal)
            again(scenario, remote, place)
            all_is_well(remote, place, rehearsal)
            assert outcome(remote, place) >= outcome(remote, rehearsal)
        shutil.rmtree(place.directory)
    raise AssertionError("it never ends")


def all_is_well(remote: Remote, place: Place, rehearsal: Place) -> None:
    """Every export that is there verifies, and comes back byte for byte."""
    repository = Repository.open(remote)
    assert verify(repository, read_data=True).findings == []
    new = next((rehearsal.exports[one] for one in rehearsal.exports.keys() - place.exports), None)
    for entry in repository.exports():
        stored = place.exports.get(entry.id, new)
        assert stored is not None
        check(remote, entry.id, stored)


def again(scenario: str, remote: Remote, place: Place) -> None:
    """Do it once more, as whoever called the program would; then tidy up after the dead."""
    for path in (place.directory / "leases").rglob("*"):  # a directory just made shows life, too
        age(path, DAY)
    with suppress(NotFoundError):  # it had taken effect
        SCENARIOS[scenario](remote, place)
    assert max(packed_chunks(place.directory).values()) == 1, "what had arrived was sent again"
    do_collect(remote, place)
    assert objects(place.directory, "leases", "revoked", "condemned") == []


def outcome(remote: Remote, place: Place) -> tuple[int, int, int]:
    """Numbers of exports, of those that can be undeleted, and of bytes in packs."""
    repository = Repository.open(remote)
    size = sum(path.stat().st_size for path in objects(place.directory, "packs"))
    return len(repository.exports()), len(deleted_exports(repository)), size
