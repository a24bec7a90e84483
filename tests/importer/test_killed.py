"""An import that is killed (SIGKILL): the next command removes what there is of it, or finishes it.

By default a sample of moments is tried. With ``DEVOPS_LONG_RUN`` (any number) it is every one, for
hours; ``DEVOPS_LONG_RUN_SHIFT=1`` (or 2) lets another command come next::

    DEVOPS_LONG_RUN=1 pytest tests/importer/test_killed.py
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.bed import Bed
from tests.devops.databases import sqlite_environment
from tests.journey.scenario import NAME, NODES, Place
from tests.snapshot.killer import NEVER, Dos, Ended, Moment

from .killer import SERVER

LONG_RUN = int(os.environ.get("DEVOPS_LONG_RUN", "0"))
SHIFT = int(os.environ.get("DEVOPS_LONG_RUN_SHIFT", "0"))
LOG = logging.getLogger(__name__)
NOT_FOUND = 3  # exit code
FEW = 200_000  # bytes
NEXT = ("again", "sync", "erase")


class Trial:
    """Imports of one export, each killed at some moment.

    :param storage: URL of the storage node
    :param database: of the host that it comes to
    """

    def __init__(self, place: Place, dos: Dos, *, storage: str, database: Path) -> None:
        self.place, self._dos, self._storage, self._database = place, dos, storage, database

    def start(self, moment: Moment = NEVER) -> Ended:
        return self._dos("import-env", "latest", "--storage", self._storage, moment=moment)

    def sync(self, moment: Moment = NEVER) -> Ended:
        return self._dos("sync", moment=moment)

    def go_on(self, step: str) -> None:
        """The next command, and whether all is well then; afterwards there is nothing any more."""
        if step == "again" and self.is_recorded_as_done():
            self.check_complete()
        elif step == "again":
            ended = self.start()
            assert ended.code == 0, ended.said
            self.check_complete()
        else:
            if step == "erase":
                assert self._dos("erase", NAME).code in (0, NOT_FOUND)
            ended = self.sync()
            assert ended.code == 0, ended.said
            if step == "sync" and self.rows("devops_environment"):
                self.check_complete()
        self.clear()

    def check_complete(self) -> None:
        """All is there, and the guests count."""
        for node in NODES:
            guest = self.place.guest(node)
            guest.close()  # the one of the last import
            before = guest.ticks()
            guest.run("sleep 0.3")
            assert guest.ticks() > before, node
        assert not self.benches()
        assert self.is_recorded_as_done()
        assert self.place.snapshots()

    def is_recorded_as_done(self) -> bool:
        """Whether the last import was killed only when nothing was left to do."""
        rows = self.rows("devops_snapshot_import", "state, place", "ORDER BY id DESC")
        return rows[0] == ("done", "")

    def clear(self) -> None:
        """Erase what is complete; nothing is left then, but for layers."""
        for node in NODES:
            self.place.guest(node).close()
        if self.rows("devops_environment"):
            self.place.dos("erase", NAME)
        assert self.place.is_empty()
        assert not self.benches()
        for table in ("driver", "node", "volume", "interface", "address_pool"):
            assert not self.rows(f"devops_{table}"), table
        for table in ("environmentsnapshot", "nodesnapshot"):
            assert not self.rows(f"devops_snapshot_{table}"), table
        assert not self.rows("devops_snapshot_import", "id", "WHERE place != ''")

    def forget_layers(self) -> None:
        shutil.rmtree(self._workshop / "layers", ignore_errors=True)

    def benches(self) -> list[Path]:
        return list(self._workshop.glob("imports/*"))

    def received(self) -> int:
        """Bytes, by the last import."""
        table = "devops_snapshot_import"
        return int(self.rows(table, "bytes_received", "ORDER BY id DESC")[0][0])

    def rows(self, table: str, columns: str = "id", which: str = "") -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self._database)) as connection:
            return connection.execute(f"SELECT {columns} FROM {table} {which}").fetchall()

    @property
    def _workshop(self) -> Path:
        return self.place.host.pool_dir.parent / ".devops_snapshot"


@pytest.fixture(scope="module")
def trial(bed: Bed, exported: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    host = bed.host("beta")
    database = tmp_path_factory.mktemp("killed") / "database.sqlite3"
    variables = sqlite_environment(database)
    dos = Dos(host, variables, server=SERVER)
    yield Trial(Place(host, variables), dos, storage=exported, database=database)
    dos.close()
    host.clean()


FETCHING = Moment(at=3, of="PartFile.pwrite")
SAMPLE = [
    (FETCHING, "again"),
    (Moment(at=2, of="Path.replace", during=True), "sync"),
    (Moment(at=8, of="/imports/"), "again"),
    (Moment(at=1, of="virNetwork.create"), "sync"),
    (Moment(at=2, of="defineXML"), "erase"),
    (Moment(at=1, of="restoreFlags", during=True), "sync"),
    (Moment(at=2, of="restoreFlags"), "again"),
    (Moment(at=1, of="virStoragePool.createXML"), "erase"),
]


@pytest.mark.parametrize(("moment", "step"), SAMPLE)
def test_killed(trial: Trial, moment: Moment, step: str) -> None:
    if moment == FETCHING:
        trial.forget_layers()
    ended = trial.start(moment)
    assert ended.killed, ended.said
    trial.go_on(step)


def test_what_has_come_is_not_fetched_again(trial: Trial) -> None:
    trial.forget_layers()
    assert trial.start(Moment(at=2, of="/imports/")).killed
    trial.go_on("again")
    assert trial.received() < FEW


def test_whoever_recovers_is_killed_too(trial: Trial) -> None:
    assert trial.start(Moment(at=2, of="restoreFlags", during=True)).killed
    assert trial.sync(Moment(at=1, of="restoreFlags")).killed
    trial.go_on("sync")


def test_somebody_elses_import_is_left_alone(trial: Trial) -> None:
    """Another host or user works with the same database, and holds other locks."""
    assert trial.start(Moment(at=1, of="virNetwork.create")).killed
    with closing(sqlite3.connect(trial._database)) as connection, connection:
        connection.execute(
            "UPDATE devops_snapshot_import SET place = 'x' || place WHERE place != ''"
        )
    assert trial.sync().code == 0
    assert trial.place.host.connection.listAllNetworks()
    assert trial.benches()
    with closing(sqlite3.connect(trial._database)) as connection, connection:
        connection.execute("UPDATE devops_snapshot_import SET place = substr(place, 2)")
    trial.go_on("sync")


def test_what_others_have_made_meanwhile_stays(trial: Trial) -> None:
    """A file, a domain and a network of the names that the import had given."""
    assert trial.start(Moment(at=1, of="virNetwork.create")).killed
    host = trial.place.host
    [network, *_] = host.connection.listAllNetworks()
    name = network.name()
    network.destroy()
    network.undefine()
    host.connection.networkDefineXML(f"<network><name>{name}</name></network>")
    taken = next(path for path in host.pool_dir.iterdir())
    taken.unlink()
    taken.write_text("mine")
    assert trial.sync().code == 0
    assert [path.name for path in host.pool_dir.iterdir()] == [taken.name]
    assert taken.read_text() == "mine"
    [left] = host.connection.listAllNetworks()
    assert left.name() == name
    left.undefine()
    taken.unlink()
    trial.clear()


@pytest.mark.skipif(not LONG_RUN, reason="an hour: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("during", [False, True], ids=["after", "during"])
def test_killed_at_every_effect(trial: Trial, during: bool) -> None:
    failures = []
    for number in count(1):
        ended = trial.start(Moment(at=number, during=during))
        if not ended.killed:
            break
        step = NEXT[(number + SHIFT) % len(NEXT)]
        try:
            trial.go_on(step)
        except AssertionError as error:
            failures.append(f"{number} [{ended.effects[-1]}] then {step}: {str(error)[:600]}")
            LOG.warning("%s", failures[-1])
            trial.place.host.clean()
    trial.clear()
    assert not failures, "\n".join(failures)
    assert number > len(SAMPLE)


@pytest.mark.skipif(not LONG_RUN, reason="an hour: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("at", [Moment(at=2, of="defineXML"), Moment(at=2, of="restoreFlags")])
def test_whoever_recovers_is_killed_at_every_effect(trial: Trial, at: Moment) -> None:
    for number in count(1):
        assert trial.start(at).killed
        ended = trial.sync(Moment(at=number))
        trial.go_on(NEXT[(number + SHIFT) % len(NEXT)])
        if not ended.killed:
            break
