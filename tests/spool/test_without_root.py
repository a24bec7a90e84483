"""A user without root detaches an export: the worker takes it in, and sends it."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.spool.without_root.desk import Asker
from devops_snapshot.spool.without_root.listening import listening
from devops_snapshot.spool.without_root.requests import Request
from tests.bed import Bed, Host, template_env, two_nodes
from tests.bed.user import GAMES
from tests.journey.other_user import UsersHost, user_of
from tests.journey.scenario import NAME, Place

NODE = "node-1"  # is on, the other one is not
OTHER = replace(GAMES, name="man", uid=6)
PATIENCE = 60.0  # seconds


@pytest.fixture
def host(bed: Bed) -> Iterator[Host]:
    yield bed.host("alpha")
    bed.clean()


@contextmanager
def worker(host: Host, *options: str) -> Iterator[None]:
    """One that runs as root; inside it listens."""
    command = [sys.executable, "-m", "devops_snapshot", "export-worker", "--group", "games"]
    with host.popen([*command, *options], stdout=None, stderr=None) as process:
        try:
            wait(lambda: listens(host))
            yield
        finally:
            process.terminate()


def listens(host: Host) -> bool:
    return (host.directory / "run/devops_snapshot/export-worker.sock").is_socket()


def wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(place: Place) -> list[dict[str, object]]:
    return json.loads(place.dos("export-status", "--json"))


def states(host: UsersHost) -> list[str]:
    """Of the exports in the user's own database, oldest first."""
    database = sqlite3.connect(host.home / ".devops/devops.sqlite3")
    rows = database.execute("SELECT state FROM devops_snapshot_export ORDER BY id").fetchall()
    return [state for (state,) in rows]


@contextmanager
def dying_worker(host: Host) -> Iterator[list[dict[str, object]]]:
    """One that ends before it answers; yields what it was asked."""
    asked: list[dict[str, object]] = []
    place = host.directory / "run/devops_snapshot/export-worker.sock"
    place.parent.mkdir(exist_ok=True)

    def answer(request: Request, manifest: bytes, asker: Asker) -> dict[str, object]:
        asked.append(request.model_dump())
        raise SystemExit

    with listening(place, answer, group=GAMES.gid):
        yield asked


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a death
def test_a_user_of_libvirts_group(bed: Bed, host: Host, tmp_path: Path) -> None:
    storage = f"file://{tmp_path}/repository"
    tmp_path.joinpath("repository").write_text("in the way")
    with user_of(host) as users:
        ann, bob = Place(users), Place(UsersHost(host, user=OTHER))
        ann.dos("create-env", str(two_nodes(host)), **template_env(host, name=NAME))
        ann.dos("node-start", NAME, "--node-name", NODE)
        guest = host.guest(f"{NAME}_{NODE}")
        guest.wait_boot()
        guest.write_file("/run/note", "remembered")
        assert "no worker answers" in ann.refused("export-status")[1]
        mine = f"file://{users.home}/mine"
        with dying_worker(host) as asked:
            command = ["export-env", NAME, "--definitions-only", "--detach", "--storage", mine]
            done = users.dos(*command)
            assert "Not detached, exporting now: the worker at " in done.stderr
            assert [request["id"] for request in asked] == done.stdout.split()  # if it has it, too
        with worker(host, "--storage", storage):
            done = users.dos(*command)
            assert "Not detached, exporting now: the worker sends nothing to" in done.stderr
            done = users.dos("export-env", NAME, "--detach", "--storage", storage, timeout=300)
            export_id = done.stdout.strip()
            assert f"waits to be sent to {storage}" in done.stderr
            assert "WARNING" not in done.stderr
            ann.dos("erase", NAME)
            assert ann.is_empty()
            wait(lambda: status(ann)[0]["tries"])
            assert "was tried 1 time: " in bob.dos("export-status")
            assert "another user's" in bob.refused("export-status", "--drop", export_id)[1]
            assert status(bob)[0]["user"] == GAMES.name
            [local] = json.loads(ann.dos("list-exports", "--local", "--json"))
            assert (local["id"], local["environment"]) == (export_id, NAME)
            tmp_path.joinpath("repository").unlink()
            ann.dos("export-status", "--retry")
            ann.dos("export-status", "--wait")
            assert states(users) == [*["failed", "done"] * 2, "done"]  # the first were not detached
        wait(lambda: not listens(host))
    beta = Place(bed.host("beta"))
    beta.dos("import-env", export_id, "--storage", storage)
    guest = beta.guest(NODE)
    assert guest.read_file("/run/note") == "remembered"
    before = guest.ticks()
    guest.run("sleep 0.3")
    assert guest.ticks() > before
