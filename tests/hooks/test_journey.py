"""Tests fail on a host, which is free at once; later all is on another as it was when they did."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.hooks.installed import own_dos
from tests.bed import Bed
from tests.journey.scenario import NAME, NODES, Place

from .place import HERE, Venv

SUITE = f"""
import subprocess, sys
import pytest

@pytest.fixture
def environment():
    yield "{NAME}"
    subprocess.run([sys.executable, "-m", "devops_snapshot", "erase", "{NAME}"], check=True)

@pytest.mark.devops_env("{NAME}")
def test_quorum(environment):
    assert not environment, "no quorum"
"""


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Place]:
    yield Place(bed.host("alpha"))
    bed.clean()


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
    assert done.stdout.splitlines()[-1].split()[1:3] == ["1", "failed"], done.stdout
    return done.stdout


@pytest.mark.parametrize("venv", [3], ids=["python3"], indirect=True)
def test_two_suites_fail(alpha: Place, beta: Place, venv: Venv, tmp_path: Path) -> None:
    storage = f"file://{tmp_path}/repository"
    alpha.create()
    for node in NODES:
        alpha.guest(node).write_file("/run/note", f"{node} remembers")
    told = run_proboscis(alpha, venv, storage)
    report = run_pytest(alpha, tmp_path, storage)
    assert alpha.is_empty()
    assert not (tmp_path / "repository").exists()

    alpha.dos("export-worker", "--once")
    [found] = exports(beta, storage, "--test", "*test_quorum", "--failed")
    assert f"dos.py import-env {found['id']} --storage {storage}" in report
    [other] = exports(beta, storage, "--test", "deploy_three_*", "--tag", "release=9.1")
    assert f"dos.py import-env {other['id']} --storage {storage}" in told
    for export in (other, found):
        beta.dos("import-env", str(export["id"]), "--storage", storage)
        for node in NODES:
            guest = beta.guest(node)
            assert guest.read_file("/run/note") == f"{node} remembers"
            before = guest.ticks()
            guest.run("sleep 0.3")
            assert guest.ticks() > before
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

def ends(process, seconds, ends=fuel_qa._ends):
    while seconds == fuel_qa.DEFAULT_TIMEOUT and not os.path.exists("frozen"):
        time.sleep(0.05)
    return ends(process, 0.5 if seconds == fuel_qa.DEFAULT_TIMEOUT else seconds)

fuel_qa._ends, fuel_qa.TERM_SECONDS = ends, 0.5

@pytest.mark.devops_env("{NAME}")
def test_quorum():
    raise ValueError("no quorum")
"""
RUNNING, PAUSED = 1, 3  # libvirt's virDomainState


def test_guests_go_on_that_a_killed_export_has_suspended(alpha: Place, tmp_path: Path) -> None:
    """And no others: the second one was suspended before."""
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
        suite=IMPATIENT,
        DEVOPS_EXPORT_DOS=str(program),
    )
    assert f"{NAME} is not exported: dos.py was ended after 1800 s" in report
    assert (tmp_path / "frozen").read_text() == one.name()
    assert (one.state()[0], other.state()[0]) == (RUNNING, PAUSED)
