"""A ``dos.py`` that is killed (SIGKILL) loses nothing, and the next command puts all in order.

By default a sample of moments is tried. With ``DEVOPS_LONG_RUN`` (any number) it is every one, for
hours; ``DEVOPS_LONG_RUN_SHIFT=1`` (to 4) lets another command come next::

    DEVOPS_LONG_RUN=1 pytest tests/snapshot/test_killed.py
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import libvirt
import pytest

from devops_snapshot.models import EnvironmentSnapshot
from tests.bed import Bed, Host
from tests.devops.databases import sqlite_environment, used_database

from .killer import Dos, Ended, Moment
from .lab import BASE, Lab
from .small_world import OFF, PAUSED, RUNNING, SIZE, STEP, Content, World, told_of

LONG_RUN = int(os.environ.get("DEVOPS_LONG_RUN", "0"))
NEW = "new"
LOG = logging.getLogger(__name__)
NOT_FOUND, CONFLICT = 3, 4
"""Exit codes."""


@dataclass(frozen=True)
class Deed:
    """A command that is killed.

    :param states: of the nodes before
    :param takes, drops, reverts: the snapshot
    """

    argv: tuple[str, ...]
    states: dict[str, str]
    takes: str | None = None
    drops: tuple[str, ...] = ()
    reverts: str | None = None
    linked: bool = False


ON = {"a": RUNNING, "b": RUNNING}
MIXED = {"a": RUNNING, "b": PAUSED}
NONE = {"a": OFF, "b": OFF}
TAKE, DELETE, REVERT = ("snapshot", "env", NEW), ("snapshot-delete", "env"), ("revert", "env")
ALL = ("one", "leaf", "two", "three")
DEEDS = {
    "create-on": Deed(TAKE, ON, takes=NEW),
    "create-mixed": Deed(TAKE, MIXED, takes=NEW),
    "create-off": Deed(TAKE, NONE, takes=NEW),
    "create-suspend": Deed((*TAKE, "--suspend"), ON, takes=NEW),
    "create-disk-only": Deed((*TAKE, "--disk-only"), MIXED, takes=NEW),
    "delete-middle-on": Deed((*DELETE, "two"), ON, drops=("two",)),
    "delete-current-on": Deed((*DELETE, "three"), ON, drops=("three",)),
    "delete-current-mixed": Deed((*DELETE, "three"), MIXED, drops=("three",)),
    "delete-leaf-on": Deed((*DELETE, "leaf"), ON, drops=("leaf",)),
    "delete-middle-off": Deed((*DELETE, "two"), NONE, drops=("two",)),
    "delete-current-off": Deed((*DELETE, "three"), NONE, drops=("three",)),
    "delete-middle-linked": Deed((*DELETE, "two"), NONE, drops=("two",), linked=True),
    "delete-current-linked-on": Deed((*DELETE, "three"), ON, drops=("three",), linked=True),
    "delete-all-on": Deed((*DELETE, "one", "--children"), ON, drops=ALL),
    "delete-all-linked-on": Deed((*DELETE, "one", "--children"), ON, drops=ALL, linked=True),
    "delete-all-linked": Deed((*DELETE, "one", "--children"), NONE, drops=ALL, linked=True),
    "delete-leaf-off": Deed((*DELETE, "leaf"), NONE, drops=("leaf",)),
    "revert-on": Deed((*REVERT, "one"), ON, reverts="one"),
    "revert-resume-mixed": Deed(("revert-resume", "env", "two"), MIXED, reverts="two"),
    "revert-off": Deed((*REVERT, "three"), NONE, reverts="three"),
}
MERGES = [name for name, deed in DEEDS.items() if deed.drops and RUNNING in deed.states.values()]
SHIFT = int(os.environ.get("DEVOPS_LONG_RUN_SHIFT", "0"))
NEXT = ("again", "sync", "snapshot", "delete", "revert")


class Trial:
    """One command killed at one moment, and what comes next."""

    def __init__(self, world: World, dos: Dos, deed: Deed) -> None:
        self.world, self.dos, self.deed = world, dos, deed

    def prepare(self) -> None:
        self.world.restore()
        if self.deed.linked:
            self.world.link()
        self.world.power(self.deed.states)
        self.world.written = dict(self.world.now)
        self.world.write(10)
        self.world.pause(self.deed.states)
        if self.deed.takes:
            self.world.held[self.deed.takes] = dict(self.world.now)

    def go_on(
        self, step: str, *, cut: bool = False, after_all: Callable[[], None] | None = None
    ) -> None:
        """The next command, and whether all is well then; and after one more.

        :param cut: QEMU was killed as well, with what it had not written out
        """
        world, deed = self.world, self.deed
        if self.deed.drops == ALL and step in ("delete", "revert"):
            step = "sync"
        ended = self.dos(*self._command(step))
        assert ended.code in self._allowed(step), f"{step}: {ended.code} {ended.said}"
        if after_all is not None:
            after_all()
        if step == "delete":
            del world.held[self._other]
        if cut:
            self._forget_what_was_not_written(world.content_now())
        if self._is_half_reverted():
            self._revert_again()
        elif step == "snapshot":
            world.held["other"] = world.content_now()
        found = world.content_now()
        assert found in self._expected(step), f"now is {told_of(found)}"
        self._check()
        if not deed.reverts and step != "revert" and not cut:
            self._check_states(world.states(), after=step)
        ended = self.dos("sync", "env", "--repair")
        assert ended.code == 0, ended.said
        self._check()
        world.check_layers(may_wait=deed.linked and deed.states != NONE)
        assert world.content_now() == found, "sync changed now"

    @property
    def _other(self) -> str:
        """A snapshot that the killed command had nothing to do with."""
        return "leaf" if "one" in (*self.deed.drops, self.deed.reverts) else "one"

    def _command(self, step: str) -> tuple[str, ...]:
        return {
            "again": self.deed.argv,
            "sync": ("sync", "env", "--repair"),
            "snapshot": ("snapshot", "env", "other"),
            "delete": ("snapshot-delete", "env", self._other),
            "revert": ("revert-resume", "env", "leaf"),
        }[step]

    def _allowed(self, step: str) -> set[int]:
        """Exit codes: what is done already cannot be done again; a half revert is told."""
        if step == "again" and not self.deed.reverts:
            return {0, CONFLICT if self.deed.takes else NOT_FOUND}
        return {0, CONFLICT} if self._is_half_reverted() else {0}

    def _expected(self, step: str) -> list[Content]:
        """What may be on the disks now."""
        held, now, deed = self.world.held, self.world.now, self.deed
        if step == "revert":
            return [held["leaf"]]
        if deed.reverts:
            return [held[deed.reverts]] if step == "again" else [held[deed.reverts], now]
        return [now]

    def _is_half_reverted(self) -> bool:
        return EnvironmentSnapshot.objects.filter(underway="reverting").exists()

    def _revert_again(self) -> None:
        """Nodes may be at different moments: no snapshot of that is taken."""
        assert self.dos("snapshot", "env", "other").code == CONFLICT
        ended = self.dos(*self.deed.argv)
        assert ended.code == 0, ended.said
        assert self.world.content_now() == self.world.held[str(self.deed.reverts)]

    def _forget_what_was_not_written(self, found: Content) -> None:
        """Of each step of the disk, either of the two."""
        for node, old in self.world.written.items():
            if found[node] == self.world.now[node]:
                continue
            mixed = bytearray(self.world.now[node])
            for at in range(0, SIZE, STEP):
                if found[node][at : at + STEP] == old[at : at + STEP]:
                    mixed[at : at + STEP] = old[at : at + STEP]
            self.world.now[node] = bytes(mixed)
            if self.deed.takes:
                self.world.held[self.deed.takes][node] = bytes(mixed)

    def _check(self) -> None:
        self.world.check_names(may_lack={*self.deed.drops, self.deed.takes or ""})
        self.world.check_agreement()

    def _check_states(self, found: dict[str, str], after: str) -> None:
        expected = dict(self.deed.states)
        suspended = self.deed.takes and "--suspend" in self.deed.argv
        if suspended and NEW in self.world.snapshots()["a"]:
            expected = dict.fromkeys(expected, PAUSED)
        assert found == expected, f"{found} after {after}"


Trials = Callable[[str], Trial]


@pytest.fixture(scope="module")
def trials(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    host = bed.host("beta")
    world = World(host, tmp_path_factory.mktemp("killed"))
    variables = sqlite_environment(world.database)
    with used_database(variables):
        world.build()
        dos = Dos(host, variables)
        yield lambda name: Trial(world, dos, DEEDS[name])
        dos.close()
    shutil.rmtree(world.spool, ignore_errors=True)
    host.clean()


def effects_of(trial: Trial) -> tuple[str, ...]:
    """What the command does when nobody kills it."""
    trial.prepare()
    ended = trial.dos(*trial.deed.argv)
    assert ended.code == 0, ended.said
    return ended.effects


def sweep(trial: Trial, how: Moment, every: int = 1) -> Iterator[tuple[Ended, str, str]]:
    """Kill at all effects; how it ended, where, and what is to come next."""
    effects = effects_of(trial)
    for number in range(1, len(effects) + 1, every):
        trial.prepare()
        ended = trial.dos(*trial.deed.argv, moment=replace(how, at=number))
        step = NEXT[(number + SHIFT) % len(NEXT)]
        yield ended, f"{number}/{len(effects)} [{effects[number - 1]}] then {step}", step


@contextmanager
def collecting(failures: list[str], what: str) -> Iterator[None]:
    """What fails is noted, so that the rest is tried as well."""
    try:
        yield
    except AssertionError as error:
        failures.append(f"{what}: {str(error)[:600]}")
        LOG.warning("%s", failures[-1])


def saved(at: int, *, during: bool = False) -> Moment:
    """Memory of either guest is saved (1, 2), disks of either are switched (3, 4)."""
    return Moment(at=at, of="snapshotCreateXML", during=during)


COMMITTING = Moment(at=1, of="blockCommit", during=True)
SAMPLE = [
    ("create-off", Moment(at=1, of="virStoragePool.createXML"), "again"),
    ("create-mixed", saved(2), "snapshot"),
    ("delete-middle-on", Moment(at=1, of="virDomain.suspend"), "sync"),
    ("delete-middle-on", COMMITTING, "delete"),
    ("delete-middle-linked", Moment(at=2, of="qemu_img._run"), "revert"),
    ("revert-on", Moment(at=1, of="restoreFlags"), "snapshot"),
]


@pytest.mark.parametrize(("name", "moment", "step"), SAMPLE)
def test_killed(trials: Trials, name: str, moment: Moment, step: str) -> None:
    trial = trials(name)
    trial.prepare()
    assert trial.dos(*trial.deed.argv, moment=moment).killed
    trial.go_on(step)


@pytest.mark.parametrize("note", ["virDomain.suspend", *(["setMetadata"] if LONG_RUN else [])])
def test_what_the_user_does_next_counts(trials: Trials, note: str) -> None:
    """A guest was held still for a moment; what the killed one owed it is void."""
    trial = trials("delete-middle-on")
    trial.prepare()
    assert trial.dos(*trial.deed.argv, moment=Moment(at=1, of=note)).killed
    for command, state in (("suspend", PAUSED), ("resume", RUNNING)):
        trial.dos(command, "env")
        assert trial.world.states() == dict.fromkeys(trial.deed.states, state)


def test_a_half_revert_is_not_forgotten_with_its_snapshot(trials: Trials) -> None:
    trial = trials("revert-on")
    trial.prepare()
    world = trial.world
    assert trial.dos(*trial.deed.argv, moment=Moment(at=1, of="restoreFlags")).killed
    deletion = trial.dos("snapshot-delete", "env", "one")
    assert deletion.code in (0, CONFLICT), deletion.said
    ended = trial.dos("snapshot", "env", "other")
    now = world.content_now()
    assert ended.code == CONFLICT or now in (world.now, world.held["one"]), told_of(now)


@pytest.mark.parametrize("moment", [saved(2), *([saved(1, during=True)] if LONG_RUN else [])])
def test_a_paused_guest_never_gets_the_memory_of_another_moment(lab: Lab, moment: Moment) -> None:
    """QEMU says that it was saved, but not that the file is gone; ``base`` has another one."""
    lab.write("paused")
    held = lab.seen()
    lab.domain("one").suspend()
    dos = Dos(lab.host, lab.variables)
    try:
        assert dos("snapshot", "env", "killed", moment=moment).killed
        ended = dos("snapshot", "env", "next")
        assert ended.code == 0, ended.said
    finally:
        dos.close()
    assert lab.states() == [
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_RUNNING,
        libvirt.VIR_DOMAIN_SHUTOFF,
    ]
    assert lab.names() == [BASE, "next"]
    lab.check()
    lab.revert("next")
    assert lab.seen() == held


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("during", [False, True], ids=["after", "during"])
@pytest.mark.parametrize("name", DEEDS)
def test_killed_at_every_effect(trials: Trials, name: str, during: bool) -> None:
    trial, failures = trials(name), list[str]()
    for ended, what, step in sweep(trial, Moment(during=during)):
        with collecting(failures, f"{name} {what}"):
            assert ended.killed, f"not killed: {ended.code} {ended.said}"
            trial.go_on(step)
    assert not failures, "\n".join(failures)


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", [name for name in DEEDS if name.endswith(("-on", "-mixed"))])
def test_killed_with_its_guests(trials: Trials, name: str) -> None:
    """As a host that fails."""
    trial, failures = trials(name), list[str]()
    for ended, what, step in sweep(trial, Moment(victims=("qemu", "self"))):
        with collecting(failures, f"guests too {name} {what}"):
            assert ended.killed
            trial.go_on(step, cut=True)
    assert not failures, "\n".join(failures)


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("during", [False, True], ids=["after", "during"])
@pytest.mark.parametrize("name", MERGES)
def test_the_guests_are_killed(trials: Trials, name: str, during: bool) -> None:
    """And the command goes on."""
    trial, failures = trials(name), list[str]()
    for _, what, step in sweep(trial, Moment(victims=("qemu",), during=during)):
        with collecting(failures, f"guests {name} {what}"):
            trial.go_on(step, cut=True)
    assert not failures, "\n".join(failures)


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    "name", ["create-mixed", "delete-middle-on", "delete-middle-linked", "revert-on"]
)
def test_the_next_command_is_killed_too(trials: Trials, name: str) -> None:
    trial, failures = trials(name), list[str]()
    number = 0
    while True:
        number += 1
        for again in count(1):
            trial.prepare()
            first = trial.dos(*trial.deed.argv, moment=Moment(at=number))
            second = trial.dos("sync", "env", "--repair", moment=Moment(at=again))
            if not first.killed or not second.killed:
                break
            step = NEXT[(number + again + SHIFT) % len(NEXT)]
            where = f"{name} {number} [{first.effects[-1]}], sync {again} [{second.effects[-1]}]"
            with collecting(failures, f"{where} then {step}"):
                trial.go_on(step)
        if not first.killed:
            break
    assert not failures, "\n".join(failures)


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", [name for name in DEEDS if name.endswith(("-off", "-linked"))])
def test_what_the_killed_one_has_started_goes_on_later(trials: Trials, name: str) -> None:
    """An image tool that is held up: it may work on files that have changed meanwhile."""
    trial, failures = trials(name), list[str]()
    for number in count(1):
        trial.prepare()
        moment = Moment(at=number, of="Popen", orphan=True)
        ended = trial.dos(*trial.deed.argv, moment=moment)
        if not ended.killed:
            break
        step = NEXT[(number + SHIFT) % len(NEXT)]
        with collecting(failures, f"orphan {name} {number} [{ended.effects[-2]}] then {step}"):
            pid = ended.effects[-1].split()[1]
            let_it = partial(let_go_on, trial.world.host, pid)
            if trial.dos("snapshot-delete", "env", "nothing").code == CONFLICT:
                let_it()  # it holds the lock of the one that has started it
                trial.go_on(step)
            else:
                trial.go_on(step, after_all=let_it)
    assert not failures, "\n".join(failures)


def let_go_on(host: Host, pid: str) -> None:
    while not host.run(["kill", "-CONT", pid], check=False).returncode:
        time.sleep(0.05)
