"""Tests fail on a host, which is free at once; later all is on another as it was when they did."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.hooks.installed import own_dos
from tests.bed import Bed, Storage
from tests.journey.scenario import NAME, NODES, Place

from .place import HERE, Venv

SUITE = f"""
import os, subprocess, sys
import libvirt
import pytest

@pytest.fixture
def environment():
    yield "{NAME}"
    subprocess.run([sys.executable, "-m", "devops_snapshot", "erase", "{NAME}"], check=True)

@pytest.mark.devops_env("{NAME}")
def test_nodes_run():
    nodes = libvirt.open(os.environ["CONNECTION_STRING"]).listAllDomains()
    assert [node.isActive() for node in nodes] == [True, True]

@pytest.mark.devops_env("{NAME}")
def test_quorum(environment):
    assert not environment, "no quorum"
"""
COUNTS_ON = "n=$(cat /run/ticks); while [ $(cat /run/ticks) = $n ]; do sleep 0.1; done"


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Place]:
    yield Place(bed.host("alpha"))
    bed.clean()


@pytest.fixture
def node(bed: Bed) -> Storage:
    return bed.storage()


@pytest.fixture
def beta(bed: Bed) -> Place:
    return Place(bed.host("beta"))


def exports(place: Place, storage: str, *options: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        place.dos("list-exports", "--storage", storage, "--json", *options)
    )
    return found


def run_proboscis(place: Place, venv: Venv, storage: str) -> str:
    """Returns what the hook has told."""
    done = place.host.run(
        [str(venv.python), str(HERE / "proboscis_suite.py")],
        env={
            "PYTHONPATH": str(HERE / "stand_in"),
            "DEVOPS_DB_ENGINE": "sqlite3",
            "DEVOPS_DB_NAME": str(place.host.home / ".devops/devops.sqlite3"),
            "DEVOPS_STORAGE": storage,
            "DEVOPS_EXPORT_TAGS": "release=9.1",
            "ENV_NAME": NAME,
            "SNAPSHOT_DOS": str(own_dos()),
        },
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "FAILED (errors=1)", done.stdout + done.stderr
    return done.stderr


def run_pytest(
    place: Place, directory: Path, storage: str, suite: str = SUITE, **variables: str
) -> str:
    """Returns what pytest has told."""
    (directory / "test_ha.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_ha.py"]
    done = place.host.run(
        [*command, "--devops-export=on-failure"],
        env={"DEVOPS_STORAGE": storage, "JOB_NAME": "nightly", **variables},
        cwd=directory,
        check=False,
    )
    assert " 1 failed" in done.stdout.splitlines()[-1], done.stdout
    return done.stdout


def unfinished(node: Storage) -> Iterator[Path]:
    """What has arrived of layers of exports that are not there yet."""
    return node.path_of(node.url).glob("leases/*/unfinished-*")


@contextmanager
def worker(place: Place, *options: str) -> Iterator[None]:
    """The service of a host that sends exports, until it is killed."""
    command = [sys.executable, "-m", "devops_snapshot", "export-worker", *options]
    with place.host.popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "Sending what is in " not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("venv", [3], ids=["python3"], indirect=True)
def test_two_suites_fail(
    alpha: Place, beta: Place, node: Storage, venv: Venv, tmp_path: Path
) -> None:
    """The host is free long before all is sent: the line would need a quarter of an hour."""
    alpha.create()
    for name in NODES:
        alpha.guest(name).write_file("/run/note", f"{name} remembers")
    with worker(alpha, "--bwlimit", "64K"):
        told = run_proboscis(alpha, venv, node.url)
        told += run_pytest(alpha, tmp_path, node.url)
        assert "1 failed, 1 passed" in told
        assert alpha.is_empty()
        while not any(layer.stat().st_size for layer in unfinished(node)):
            time.sleep(0.1)
        waiting = json.loads(alpha.dos("export-status", "--json"))
        assert [job["is_being_sent"] for job in waiting] == [True, False]
        assert exports(beta, node.url) == []
    with worker(alpha):
        alpha.dos("export-status", "--wait")
    assert not list(alpha.host.pool_dir.parent.glob(".devops_snapshot/spool/[.2]*"))
    assert len(exports(beta, node.url)) == 2, "of two tests that have failed, and two that passed"
    for found_by in (["--test", "deploy_three_*", "--tag", "release=9.1"], ["--test", "*_quorum"]):
        [found] = exports(beta, node.url, "--failed", *found_by)
        assert f"dos.py import-env {found['id']} --storage {node.url}\n" in told
        beta.dos("import-env", str(found["id"]), "--storage", node.url)
        for name in NODES:
            guest = beta.guest(name)
            assert guest.read_file("/run/note") == f"{name} remembers"
            guest.run(COUNTS_ON)
        beta.dos("erase", NAME)


DEAF = f"""\
#!{sys.executable}
import os, signal, sys, time
if sys.argv[1] != "export-env":
    os.execv(sys.executable, [sys.executable, "-m", "devops_snapshot", *sys.argv[1:]])
import tests.devops.databases
from devops_snapshot.devops.models import Environment
from devops_snapshot.hypervisor import domain_of
from devops_snapshot.snapshot.freeze import frozen
signal.signal(signal.SIGTERM, signal.SIG_IGN)
domains = [domain_of(node) for node in Environment.get(name="{NAME}").get_nodes()]
with frozen(domains) as freeze:
    open("frozen", "w").write(" ".join(freeze.stopped))
    time.sleep(300)
"""
IMPATIENT = f"""
import os, time
import pytest
from devops_snapshot.hooks import fuel_qa

def hangs(pid):
    try:
        return {{condition}}
    except OSError:  # it has just closed a file
        return False

def ends(process, seconds, ends=fuel_qa._ends):
    while seconds == fuel_qa.DEFAULT_TIMEOUT and not hangs(process.pid):
        time.sleep(0.05)
    return ends(process, 0.5 if seconds == fuel_qa.DEFAULT_TIMEOUT else seconds)

fuel_qa._ends, fuel_qa.TERM_SECONDS, fuel_qa.SETTLE_SECONDS = ends, 0.5, {{settle}}

@pytest.mark.devops_env("{NAME}")
def test_quorum():
    raise ValueError("no quorum")
"""
FROZEN = IMPATIENT.format(condition='os.path.exists("frozen")', settle=60)
SOCKET = 'any("socket" in os.readlink(fd.path) for fd in os.scandir("/proc/%s/fd" % pid))'
CONNECTED = IMPATIENT.format(condition=SOCKET, settle=1)
RUNNING, PAUSED = 1, 3  # libvirt's virDomainState


@contextmanager
def hung_libvirt(place: Place) -> Iterator[None]:
    [pid] = place.host.run(["pidof", "libvirtd"]).stdout.split()
    place.host.run(["kill", "-STOP", pid])
    try:
        yield
    finally:
        place.host.run(["kill", "-CONT", pid])


def test_whatever_happens(alpha: Place, tmp_path: Path) -> None:
    """The result is the same, and so are the guests: one runs, the other was suspended before."""
    alpha.create(boot=False)
    alpha.dos("start", NAME)
    one, other = (alpha.host.connection.lookupByName(f"{NAME}_{node}") for node in NODES)
    other.suspend()
    program = tmp_path / "dos.py"
    program.write_text(DEAF)
    program.chmod(0o755)
    report = run_pytest(
        alpha,
        tmp_path,
        f"file://{tmp_path}/repository",
        suite=FROZEN,
        DEVOPS_EXPORT_DOS=str(program),
    )
    assert f"{NAME} is not exported: dos.py was ended after 1800 s" in report
    assert (tmp_path / "frozen").read_text() == one.name()
    assert (one.state()[0], other.state()[0]) == (RUNNING, PAUSED)

    with hung_libvirt(alpha):
        report = run_pytest(alpha, tmp_path, "file:///nowhere", suite=CONNECTED)
    assert f"not worked now: 'dos.py sync --repair {NAME}' lets them go on" in report
    assert f"{NAME} is not exported: dos.py was ended after 1800 s" in report
    assert (one.state()[0], other.state()[0]) == (RUNNING, PAUSED)

    dead = "sftp://devops@127.0.0.1:9/repository"
    variables = {"DEVOPS_EXPORT_DETACH": "0", "DEVOPS_EXPORT_TIMEOUT": "60"}
    report = run_pytest(alpha, tmp_path, dead, suite=CONNECTED, **variables)
    assert "Error: Cannot connect to 127.0.0.1 port 9: Connection refused" in report
    assert f"{NAME} is not exported: dos.py has ended with exit code 6" in report
    assert (one.state()[0], other.state()[0]) == (RUNNING, PAUSED)
    assert alpha.snapshots() == []
