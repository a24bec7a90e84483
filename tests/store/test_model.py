"""Clients interleaved at will: whatever they do, a published export never loses a chunk."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from devops_snapshot.errors import DevopsError
from devops_snapshot.remote import Remote
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.store import (
    Repository,
    collect,
    delete_export,
    pin_export,
    pinned_exports,
    plan_prune,
    prune,
    undelete_export,
    unpin_export,
)

from .halves import Copying, Linking
from .model_world import Content, ReadOnly, Stored, age, at_once, check, export
from .place import objects
from .stage import Actor, StagedRemote, ignore_killed

T = TypeVar("T")
LONG = os.environ.get("DEVOPS_LONG_RUN")
SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None  # fsync costs nothing there
CONTENTS = st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple)
NUMBERS = st.integers(0, 59)
MOST_ACTORS = 4
SECOND_HALF = re.compile(r"(unlink|complete) (exports|deleted|leases/\w+/manifest)")


def chosen(items: Sequence[T], number: int) -> T | None:
    """One of some items, if there are any."""
    return items[number % len(items)] if items else None


class Clients(RuleBasedStateMachine):
    """Exporters, importers, deletions, prunes and collections on one repository."""

    view: type[StagedRemote] = StagedRemote

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="devops-model-", dir=SHARED))
        self.remote: Remote = LocalRemote(self.directory)
        self.exports: dict[str, Stored] = {}
        self.actors: list[Actor[Any]] = []
        self.imported: dict[Actor[Any], str] = {}
        self.promised: set[str] = set()  # exports that were seen to be published
        self.wanted_gone: set[str] = set()
        self.pinned: set[str] = set()  # by a client that was told so
        self.unpinned: set[str] = set()  # or are about to be
        self.pinning: dict[Actor[Any], str] = {}
        self.time_has_passed = False
        self.collected = False

    @initialize()
    def make(self) -> None:
        Repository.initialise(self.remote)

    def teardown(self) -> None:
        """Whoever is still at work is killed; what stays has all it needs, and nothing more."""
        try:
            for actor in self.actors:
                actor.kill()
            self.time_passes(1)
            collect(Repository.open(self.remote), sleep=at_once)
            self.check_exports()
            repository = Repository.open(self.remote)
            for export_id in pinned_exports(repository):
                unpin_export(repository, export_id)
            for export_id in self.published():
                delete_export(repository, export_id, sleep=at_once)
            collect(repository, sleep=at_once)
            left = objects(self.directory, "packs", "layers", "exports", "deleted", "leases")
            assert not left, f"garbage: {left}"
        finally:
            shutil.rmtree(self.directory)

    # What clients begin. Nothing that is drawn depends on what threads have done so far.

    def begin(self, name: str, work: Callable[[Remote], object]) -> Actor[Any] | None:
        if len(self.actors) == MOST_ACTORS:
            return None
        actor: Actor[Any] = Actor(name, self.remote, work, view=self.view).start()
        self.actors.append(actor)
        return actor

    @rule(contents=st.lists(CONTENTS, min_size=1, max_size=2))
    def begin_export(self, contents: list[Content]) -> None:
        self.begin("export", lambda remote: export(remote, contents, self.exports))

    @rule(number=NUMBERS)
    def begin_import(self, number: int) -> None:
        which = chosen(self.published(), number)
        if which is not None:
            actor = self.begin("import", lambda remote: check(remote, which, self.exports[which]))
            if actor:
                self.imported[actor] = which

    @rule(number=NUMBERS)
    def begin_delete(self, number: int) -> None:
        which = chosen(self.published(), number)
        if which is not None:
            self.wanted_gone.add(which)
            self.begin(
                "delete",
                lambda remote: delete_export(Repository.open(remote), which, sleep=at_once),
            )

    @rule(number=NUMBERS)
    def begin_undelete(self, number: int) -> None:
        which = chosen(self.deleted(), number)
        if which is not None:
            self.begin(
                "undelete",
                lambda remote: undelete_export(Repository.open(remote), which, sleep=at_once),
            )

    @rule()
    def begin_prune(self) -> None:
        def work(remote: Remote) -> None:
            repository = Repository.open(remote)
            prune(repository, plan_prune(repository), sleep=at_once)

        self.begin("prune", work)

    @rule()
    def begin_collection(self) -> None:
        self.collected = True
        self.begin("collect", lambda remote: collect(Repository.open(remote), sleep=at_once))

    @rule(number=NUMBERS)
    def begin_pin(self, number: int) -> None:
        which = chosen(self.published(), number)
        if which is not None:
            actor = self.begin(
                "pin", lambda remote: pin_export(Repository.open(remote), which, by="a test")
            )
            if actor:
                self.pinning[actor] = which

    @rule(number=NUMBERS)
    def begin_unpin(self, number: int) -> None:
        which = chosen(self.published(), number)
        if which is not None:
            self.unpinned.add(which)
            self.begin("unpin", lambda remote: unpin_export(Repository.open(remote), which))

    # How they go on

    @rule(number=NUMBERS, steps=st.integers(1, 12))
    def go_on(self, number: int, steps: int) -> None:
        actor = chosen(self.actors, number)
        for _ in range(steps):
            if actor and not actor.step():
                self.end(actor)
                return

    @rule(number=NUMBERS)
    def finish(self, number: int) -> None:
        actor = chosen(self.actors, number)
        if actor:
            self.end(actor.finish())

    @rule(number=NUMBERS)
    def kill(self, number: int) -> None:
        actor = chosen(self.actors, number)
        if actor:
            actor.kill()
            self.actors.remove(actor)

    def end(self, actor: Actor[Any]) -> None:
        """A client may fail in words of ours, if its export or its lease was taken away."""
        self.actors.remove(actor)
        if actor.error is None:
            self.pinned |= {self.pinning[actor]} if actor in self.pinning else set()
            return
        if not isinstance(actor.error, DevopsError) or self.must_succeed(actor):
            raise actor.error

    def must_succeed(self, actor: Actor[Any]) -> bool:
        """While no time has passed nobody seems dead, and nothing is too old to stay."""
        if self.time_has_passed:
            return False
        imported = self.imported.get(actor)
        return actor.name == "export" or (imported is not None and imported not in self.wanted_gone)

    # What happens around them

    @rule(hours=st.sampled_from([1, 50, 200]))
    def time_passes(self, hours: int) -> None:
        """Everything is older by the storage node's clock; who stands still shows no life."""
        self.time_has_passed = True
        for path in self.directory.rglob("*"):  # a directory just made shows life, too
            age(path, hours * 3600)

    # What must always hold

    def published(self) -> list[str]:
        return self.names("exports")

    def deleted(self) -> list[str]:
        return self.names("deleted")

    def names(self, directory: str) -> list[str]:
        return sorted(entry.name.removesuffix(".json") for entry in self.remote.list(directory))

    @invariant()
    def check_nothing_has_gone(self) -> None:
        """Exports go when somebody wants that, and for good only by a collection."""
        published, deleted = set(self.published()), set(self.deleted())
        self.promised |= published
        gone = self.promised - published
        assert self.time_has_passed or gone <= self.wanted_gone
        assert self.collected or gone <= deleted
        assert (gone & self.pinned) - self.unpinned <= deleted

    @invariant()
    def check_exports(self) -> None:
        look: Any = ReadOnly(self.remote)
        for export_id in self.published():
            check(look, export_id, self.exports[export_id])


@pytest.fixture(autouse=True)
def silent_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", ignore_killed())


class LinkingClients(Clients):
    """A rename makes the new name first, and removes the old one when others have had a turn."""

    view = Linking

    @rule(number=NUMBERS)
    def go_on_into_a_rename(self, number: int) -> None:
        """Stop between the halves, if an export is moved or published."""
        actor = chosen(self.actors, number)
        while actor and not SECOND_HALF.match(actor.coming()):
            if not actor.step():
                self.end(actor)
                return


class CopyingClients(LinkingClients):
    """The same with copies, as in a bucket."""

    view = Copying


class LinkingMovers(LinkingClients):
    """Two exports are there, and all that clients do is to move them about."""

    begin_export = begin_import = go_on = None  # type: ignore[assignment] # no rules here

    @initialize()
    def make(self) -> None:
        super().make()
        for number in (1, 2):
            export(self.remote, [(0, number)], self.exports)


class CopyingMovers(LinkingMovers):
    """The same with copies."""

    view = Copying


@pytest.mark.parametrize(
    "clients", [Clients, LinkingClients, CopyingClients, LinkingMovers, CopyingMovers]
)
def test_clients_interleaved(clients: type[Clients]) -> None:
    examples, steps = (2000, 60) if LONG else (40 if clients is Clients else 12, 40)
    run_state_machine_as_test(
        clients,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
