"""Whatever a client does while a collection runs, at each step of either: no export is lost.

Each test runs one client once for each of its operations on the storage node, and lets another do
its whole work right before that operation.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError, StorageError
from devops_snapshot.remote import Remote
from devops_snapshot.store import (
    LayerKind,
    Repository,
    collect,
    delete_export,
    undelete_export,
)

from .model_world import Chunks, Content, Stored, age, at_once, check, export
from .place import objects
from .turns import STEP, at_every_operation, dying_everywhere, let_die

OLD: Content = tuple(range(12))
ALIKE: Content = (*range(5), 100)
pytestmark = pytest.mark.timeout(600 if STEP == 1 else 120)


@pytest.fixture
def url() -> Iterator[str]:
    """A directory in memory where there is one: these tests write many small objects."""
    place = Path("/dev/shm")
    base = place if os.access(place, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as name:
        yield f"file://{name}"


class World:
    """A repository and what its exports must give back."""

    def __init__(self, remote: Remote, directory: Path) -> None:
        self.remote = remote
        self.directory = directory
        self.begin()

    def begin(self) -> None:
        """Make an empty repository, instead of the one before."""
        for entry in self.directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.stored: dict[str, Stored] = {}
        self.repository = Repository.initialise(self.remote)

    def collect(self) -> None:
        collect(Repository.open(self.remote), sleep=at_once)

    def export_and_delete(self, *contents: Content) -> str:
        """Leave data behind that is dead unless somebody uses it."""
        export_id = export(self.remote, contents or [OLD], self.stored)
        delete_export(self.repository, export_id)
        return export_id

    def exports(self) -> list[str]:
        return [entry.id for entry in self.repository.exports()]

    def check(self) -> None:
        for export_id in self.exports():
            check(self.remote, export_id, self.stored[export_id])

    def settle(self) -> None:
        """After all have ended: nothing is lost, and nothing is left over."""
        self.check()
        for path in (self.directory / "leases").rglob("*"):
            age(path, 3600)
        self.collect()
        self.check()
        assert objects(self.directory, "leases", "revoked", "condemned", "deleted") == []
        if not self.exports():
            assert objects(self.directory, "packs", "layers") == []


@pytest.fixture
def world(remote: Remote, directory: Path) -> World:
    return World(remote, directory)


def at_each(world: World, happening: Callable[[], object], *, step: int = STEP) -> Iterator[Remote]:
    """Yield remotes that are interrupted by something; look at the repository after each.

    Clients that do little are interrupted at smaller steps.
    """
    for interrupted in at_every_operation(world.remote, happening, step=min(step, STEP)):
        yield interrupted
        world.settle()
        world.begin()


def test_collection_while_an_export_runs(world: World) -> None:
    shared = []
    for interrupted in at_each(world, world.collect, step=3):
        world.export_and_delete()
        with Repository.open(interrupted).writing() as session:
            layers = [
                (session.add_layer(Chunks(content), kind=LayerKind.OVERLAY), content)
                for content in (OLD, ALIKE)
            ]
            world.stored[session.export_id] = Stored(layers)
            session.publish(b"", {})
        shared.append(session.stats.chunks_deduplicated)
    assert min(shared) < len(OLD) <= max(shared)  # it did and did not find what was dying


def test_an_export_while_collection_runs(world: World) -> None:
    for interrupted in at_each(world, lambda: export(world.remote, [OLD, ALIKE], world.stored)):
        world.export_and_delete()
        collect(Repository.open(interrupted), sleep=at_once)


def test_an_export_is_published_while_collection_runs(world: World) -> None:
    """It began before, and relies on what the collection finds dead."""

    def publish() -> None:
        session.publish(b"", {})
        context.__exit__(None, None, None)

    for interrupted in at_each(world, publish):
        world.export_and_delete()
        context = Repository.open(world.remote).writing()
        session = context.__enter__()
        layers = [
            (session.add_layer(Chunks(content), kind=LayerKind.OVERLAY), content)
            for content in (OLD, ALIKE)
        ]
        world.stored[session.export_id] = Stored(layers)
        assert session.stats.chunks_deduplicated > len(OLD)
        collect(Repository.open(interrupted), sleep=at_once)
        if not interrupted.fired:  # type: ignore[attr-defined]
            publish()


def test_an_export_ends_and_another_begins_while_collection_runs(world: World) -> None:
    """The second one relies on what the first one has rescued, or not."""

    def exchange() -> None:
        export(world.remote, [OLD], world.stored)
        export(world.remote, [ALIKE, OLD[3:]], world.stored)

    for interrupted in at_each(world, exchange):
        world.export_and_delete()
        collect(Repository.open(interrupted), sleep=at_once)


def test_collection_while_an_import_runs(world: World) -> None:
    outcomes = set()
    one = ""

    def delete_and_collect() -> None:
        delete_export(world.repository, one)
        world.collect()

    for interrupted in at_each(world, delete_and_collect, step=1):
        one = export(world.remote, [OLD], world.stored)
        try:
            with Repository.open(interrupted).reading(one) as session:
                world.stored[one].check(session)
            outcomes.add("read")
        except NotFoundError:
            outcomes.add("too late")
            assert one not in world.exports()
    assert outcomes == {"read", "too late"}


def test_an_import_while_collection_runs(world: World) -> None:
    outcomes = set()
    one = ""

    def read() -> None:
        try:
            check(world.remote, one, world.stored[one])
        except NotFoundError:
            outcomes.add("too late")

    def delete() -> None:
        read()
        if one in world.exports():
            with suppress(ConflictError):  # the collection is just removing deleted exports
                delete_export(world.repository, one, wait=False)
                with pytest.raises(NotFoundError):
                    check(world.remote, one, world.stored[one])

    for interrupted in at_each(world, delete):
        one = export(world.remote, [OLD], world.stored)
        other = export(world.remote, [ALIKE], world.stored)
        collect(Repository.open(interrupted), sleep=at_once)
        check(world.remote, other, world.stored[other])
    assert outcomes == set()


def test_layers_are_repacked_while_an_import_runs(world: World) -> None:
    one = ""

    def repack() -> None:
        delete_export(world.repository, one)
        world.collect()
        world.collect()

    for interrupted in at_each(world, repack, step=3):
        one = export(world.remote, [OLD], world.stored)
        other = export(world.remote, [OLD[:3]], world.stored)
        with Repository.open(interrupted).reading(other) as session:
            world.stored[other].check(session)


def test_collection_while_an_undeletion_runs(world: World) -> None:
    outcomes = set()
    for interrupted in at_each(world, world.collect, step=1):
        one = world.export_and_delete()
        outcomes.add(undelete(interrupted, one))
        assert (one in world.exports()) == (undelete(world.remote, one) == "undeleted")
    assert outcomes == {"undeleted", "too late"}


def test_an_undeletion_while_collection_runs(world: World) -> None:
    outcomes = set()
    one = ""

    def undo() -> None:
        outcomes.add(undelete(world.remote, one))

    for interrupted in at_each(world, undo):
        one = world.export_and_delete()
        collect(Repository.open(interrupted), sleep=at_once)
    assert outcomes - {"refused"} == {"undeleted", "too late"}


def undelete(remote: Remote, export_id: str) -> str:
    try:
        undelete_export(Repository.open(remote), export_id, wait=False)
    except NotFoundError:
        return "too late"
    except ConflictError:  # the collection is just removing deleted exports
        return "refused"
    return "undeleted"


def test_deleting_and_undeleting_while_collection_runs(world: World) -> None:
    """An export that goes to and fro, unless the collection is at it, is there in the end."""
    one = ""

    def to_and_fro() -> None:
        with suppress(ConflictError):
            delete_export(world.repository, one, wait=False)
        undelete(world.remote, one)

    for interrupted in at_each(world, to_and_fro):
        one = export(world.remote, [OLD], world.stored)
        collect(Repository.open(interrupted), sleep=at_once)
        assert world.exports() == [one]


def test_a_collection_that_is_killed(world: World) -> None:
    """The next one completes; what was found dead once is not taken for granted."""
    for dying in dying_everywhere(world.remote):
        kept = export(world.remote, [ALIKE], world.stored)
        dead = world.export_and_delete(OLD[5:], (200, 201))
        let_die(lambda dying=dying: collect(Repository.open(dying), sleep=at_once))  # type: ignore[misc]
        again = export(world.remote, [OLD[5:]], world.stored)
        world.settle()
        assert undelete(world.remote, dead) == "too late"
        assert set(world.exports()) == {kept, again}
        world.begin()


def test_a_collection_that_is_killed_while_repacking(world: World) -> None:
    for dying in dying_everywhere(world.remote):
        dead = export(world.remote, [OLD], world.stored)
        (mostly_dead,) = objects(world.directory, "packs")
        kept = export(world.remote, [OLD[:3]], world.stored)
        delete_export(world.repository, dead)
        let_die(lambda dying=dying: collect(Repository.open(dying), sleep=at_once))  # type: ignore[misc]
        world.settle()
        assert world.exports() == [kept]
        assert not mostly_dead.exists()
        assert len(objects(world.directory, "packs")) == 2  # the new one, and that of ``kept``
        world.begin()


def test_two_collections_at_each_step(world: World) -> None:
    """A second one refuses, or the first one was not seen alive and does no harm."""
    outcomes = set()

    def collect_too() -> None:
        try:
            outcomes.add(bool(collect(Repository.open(world.remote), sleep=at_once).revoked))
        except ConflictError:
            outcomes.add("refused")

    for interrupted in at_each(world, collect_too):
        world.export_and_delete()
        kept = export(world.remote, [OLD[:3]], world.stored)
        try:
            collect(Repository.open(interrupted), sleep=at_once)
        except StorageError:
            outcomes.add("ended")
        assert world.exports() == [kept]
    assert outcomes >= {True, "ended"}


def test_an_exporter_that_was_given_up_wakes_up(world: World) -> None:
    """At each step: its export is whole, or does not exist."""
    outcomes = set()

    def give_up() -> None:
        for path in (world.directory / "leases").rglob("*"):
            age(path, 3600)
        world.collect()

    for interrupted in at_each(world, give_up, step=3):
        world.export_and_delete()
        try:
            export(interrupted, [OLD, ALIKE], world.stored)
            outcomes.add("published")
        except DevopsError as error:
            outcomes.add("revoked" if "was revoked at" in str(error) else str(error))
            assert world.exports() == []
    assert outcomes == {"published", "revoked"}
