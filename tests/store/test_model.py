"""Clients interleaved at will: whatever they do, a published export never loses a chunk."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError
from devops_snapshot.remote import Remote
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.store import (
    Repository,
    collect,
    delete_export,
    pin_export,
    plan_prune,
    prune,
    undelete_export,
    unpin_export,
)

from .model_world import Content, ReadOnly, Stored, age, at_once, check, export
from .place import objects
from .stage import Actor, ignore_killed

LONG = os.environ.get("DEVOPS_LONG_RUN")
SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None  # fsync costs nothing there
CONTENTS = st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple)
MOST_ACTORS = 4


class Clients(RuleBasedStateMachine):
    """Exporters, importers, deletions, prunes and collections on one repository."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="devops-model-", dir=SHARED))
        self.remote: Remote = LocalRemote(self.directory)
        self.exports: dict[str, Stored] = {}
        self.actors: list[Actor[Any]] = []
        self.must_succeed: set[Actor[Any]] = set()
        self.imports: dict[Actor[Any], str] = {}

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
            for export_id in self.published():
                with suppress(NotFoundError):
                    unpin_export(Repository.open(self.remote), export_id)
                delete_export(Repository.open(self.remote), export_id)
            collect(Repository.open(self.remote), sleep=at_once)
            left = objects(self.directory, "packs", "layers", "exports", "deleted", "leases")
            assert left == [], "garbage"
        finally:
            shutil.rmtree(self.directory)

    # What clients begin

    def begin(self, name: str, work: Callable[[Remote], object]) -> Actor[Any]:
        actor: Actor[Any] = Actor(name, self.remote, work).start()
        self.actors.append(actor)
        return actor

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(contents=st.lists(CONTENTS, min_size=1, max_size=2))
    def begin_export(self, contents: list[Content]) -> None:
        actor = self.begin("export", lambda remote: export(remote, contents, self.exports))
        self.must_succeed.add(actor)

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.published())
    @rule(data=st.data())
    def begin_import(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(self.published()))
        actor = self.begin("import", lambda remote: check(remote, which, self.exports[which]))
        self.imports[actor] = which
        self.must_succeed.add(actor)

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.published())
    @rule(data=st.data())
    def begin_delete(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(self.published()))
        self.must_succeed -= {actor for actor in self.imports if self.imports[actor] == which}
        self.begin("delete", lambda remote: delete_export(Repository.open(remote), which))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.deleted())
    @rule(data=st.data())
    def begin_undelete(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(self.deleted()))
        self.begin("undelete", lambda remote: undelete_export(Repository.open(remote), which))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def begin_prune(self) -> None:
        self.must_succeed -= self.imports.keys()

        def work(remote: Remote) -> None:
            repository = Repository.open(remote)
            prune(repository, plan_prune(repository))

        self.begin("prune", work)

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def begin_collection(self) -> None:
        self.begin("collect", lambda remote: collect(Repository.open(remote), sleep=at_once))

    # How they go on

    @precondition(lambda self: self.actors)
    @rule(data=st.data(), steps=st.integers(1, 12))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        actor = data.draw(st.sampled_from(self.actors))
        for _ in range(steps):
            if not actor.step():
                self.end(actor)
                return

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        actor = data.draw(st.sampled_from(self.actors))
        self.end(actor.finish())

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        actor = data.draw(st.sampled_from(self.actors))
        actor.kill()
        self.actors.remove(actor)

    def end(self, actor: Actor[Any]) -> None:
        """A client may fail in words of ours, if its export or its lease was taken away."""
        self.actors.remove(actor)
        if actor.error is None:
            return
        if actor in self.must_succeed or not isinstance(actor.error, DevopsError):
            raise actor.error

    # What happens around them

    @rule(hours=st.sampled_from([1, 50, 200]))
    def time_passes(self, hours: int) -> None:
        """Everything is older by the storage node's clock; who stands still shows no life."""
        self.must_succeed.clear()
        for path in self.directory.rglob("*"):  # a directory just made shows life, too
            age(path, hours * 3600)

    @precondition(lambda self: self.published())
    @rule(data=st.data(), pinned=st.booleans())
    def pin_or_unpin(self, data: st.DataObject, pinned: bool) -> None:
        which = data.draw(st.sampled_from(self.published()))
        repository = Repository.open(self.remote)
        with suppress(ConflictError, NotFoundError):
            if pinned:
                pin_export(repository, which, by="a test")
            else:
                unpin_export(repository, which)

    # What must always hold

    def published(self) -> list[str]:
        return self.names("exports")

    def deleted(self) -> list[str]:
        return self.names("deleted")

    def names(self, directory: str) -> list[str]:
        return sorted(entry.name.removesuffix(".json") for entry in self.remote.list(directory))

    @invariant()
    def check_exports(self) -> None:
        look: Any = ReadOnly(self.remote)
        for export_id in self.published():
            check(look, export_id, self.exports[export_id])


@pytest.fixture(autouse=True)
def silent_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", ignore_killed())


def test_clients_interleaved() -> None:
    examples, steps = (2000, 60) if LONG else (40, 40)
    run_state_machine_as_test(
        Clients,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
