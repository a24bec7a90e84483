"""The hook in fuel-qa: real suites in real Pythons, with stand-ins for fuel-qa's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devops_snapshot.hooks import fuel_qa

from .place import STORAGE, Suites, Venv

FAILS = "deploy_three_controllers_with_ceph_for_images_and_volumes"
SNAPSHOT = f"error_{FAILS}"[-50:]
EXPORT = "20261122T213124Z-bd564354"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_failed_test_is_exported_and_no_other(venv: Venv, suites: Suites) -> None:
    run = suites.proboscis(venv, DEVOPS_EXPORT_TAGS="release=9.1, team = Žižkov")
    assert run.code == 1
    assert run.snapshots == ["deploy_one_controller", SNAPSHOT]
    [call] = run.calls
    assert call["arguments"] == [
        "export-env",
        "--test-report=-",
        f"--snapshot={SNAPSHOT}",
        "--detach",
        "--",
        "ceph_ha",
    ]
    report = call["given"]
    assert report.pop("duration_seconds") < 60
    assert "in deploy_three_controllers" in report["traceback"]
    assert report.pop("traceback").splitlines()[-1] == report["exception"]
    assert report.pop("exception").startswith("ValueError: no quorum: ")
    assert report == {
        "name": FAILS,
        "outcome": "failed",
        "tags": {"release": "9.1", "team": "Žižkov"},
    }
    assert run.told == [
        r"Detached, and said so: \u010dau",
        f"snapshot {SNAPSHOT} of ceph_ha is exported as {EXPORT}",
        f"it is imported by: dos.py import-env {EXPORT} --storage {STORAGE}",
    ]


def test_dos_py_gets_the_database_of_fuel_qa_and_nothing_of_its_python(
    venv: Venv, suites: Suites
) -> None:
    [call] = suites.proboscis(venv, CONNECTION_STRING="qemu:///system").calls
    given = call["environ"]
    assert {name: value for name, value in given.items() if name.startswith("DEVOPS_DB_")} == {
        "DEVOPS_DB_ENGINE": "django.db.backends.postgresql_psycopg2",
        "DEVOPS_DB_NAME": "fuel_devops",
        "DEVOPS_DB_USER": "jenkins",
        "DEVOPS_DB_PASSWORD": "secret",
        "DEVOPS_DB_PORT": "5433",
    }
    assert not [name for name in given if name.startswith(("PYTHON", "VIRTUAL_ENV", "DJANGO"))]
    assert str(venv.python.parent) not in given["PATH"].split(":")
    assert given["CONNECTION_STRING"] == "qemu:///system"


def test_all_snapshots_are_exported_if_that_is_wanted(venv: Venv, suites: Suites) -> None:
    run = suites.proboscis(venv, DEVOPS_EXPORT_ON="always", DEVOPS_EXPORT_DETACH="0")
    passed, failed = run.calls
    assert "--detach" not in passed["arguments"]
    assert passed["arguments"][2:4] == [
        "--snapshot=deploy_one_controller",
        "--description=with one node",
    ]
    assert (passed["given"]["name"], passed["given"]["outcome"]) == (
        "deploy_one_controller",
        "passed",
    )
    assert failed["given"]["outcome"] == "failed"
    more = suites.proboscis(venv, DEVOPS_EXPORT_ON="always", MAKE_SNAPSHOT="true")
    assert [call["arguments"][2] for call in more.calls] == [
        "--snapshot=deploy_one_controller",
        "--snapshot=nobody_asked_for_it",
        f"--snapshot={SNAPSHOT}",
    ]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"DEVOPS_EXPORT_ON": "never"}, ""),
        ({"DEVOPS_EXPORT_ON": " Never "}, ""),
        ({"DEVOPS_EXPORT_TESTS": "boot_*,deploy_one_*"}, "DEVOPS_EXPORT_TESTS has no such test"),
        ({"DEVOPS_STORAGE": "", "DEVOPS_EXPORT_ON": "always"}, "names no storage node"),
    ],
)
def test_nothing_is_exported(
    venv: Venv, suites: Suites, variables: dict[str, str], told: str
) -> None:
    run = suites.proboscis(venv, **variables)
    assert run.calls == []
    assert (run.code, run.result) == (1, "FAILED (errors=1)")
    assert len(run.told) == bool(told)  # once, though two snapshots were made
    assert told in "".join(run.told)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"DOS_MODE": "fails"}, "not exported: dos.py has ended with exit code 6"),
        ({"DOS_MODE": "says nothing"}, "not exported: dos.py has ended with exit code 0"),
        ({"DOS_MODE": "hangs", "DEVOPS_EXPORT_TIMEOUT": "0.5"}, "dos.py was ended after 0.5 s"),
        ({"DEVOPS_EXPORT_DOS": "/nowhere/dos.py"}, "/nowhere/dos.py cannot be run"),
        ({"DEVOPS_EXPORT_DOS": "/né/dos.py"}, r"ceph_ha is not exported: /n\xe9/dos.py cannot be"),
        ({"DEVOPS_EXPORT_TAGS": "urgent"}, "urgent is not of the form key=value"),
        ({"DEVOPS_EXPORT_TIMEOUT": "soon"}, "=soon is no number of seconds"),
        ({"DEVOPS_EXPORT_ON": "sometimes"}, "=sometimes is none of failure, always, never"),
    ],
)
def test_the_results_of_the_suite_stay_the_same(
    venv: Venv, suites: Suites, variables: dict[str, str], told: str
) -> None:
    run = suites.proboscis(venv, **variables)
    assert told in "\n".join(run.told)
    assert (run.code, run.result) == (1, "FAILED (errors=1)")
    assert run.snapshots == ["deploy_one_controller", SNAPSHOT]
    for call in run.calls:
        assert not is_running(call["pid"])


def test_the_hook_waits_for_its_modules_in_many_threads(venv: Venv, suites: Suites) -> None:
    """Each thread imports both, installs the hook once more, and one snapshot is one export."""
    script = suites.directory / "threads.py"
    script.write_text(
        """
import sys, threading
import devops_snapshot_hook as hook
assert not [name for name in sys.modules if name.startswith("fuelweb_test")]
ready = threading.Event()
def work():
    ready.wait()
    hook.install(u"/nowhere/dos.py")
    from fuelweb_test.models import environment
    from fuelweb_test.helpers import decorators
    hook.install(u"/nowhere/dos.py")
threads = [threading.Thread(target=work) for _ in range(16)]
[thread.start() for thread in threads]
ready.set()
[thread.join() for thread in threads]
from fuelweb_test.models.environment import EnvironmentModel
EnvironmentModel().make_snapshot("prep_fail_test_boot", is_make=True)
assert sys.meta_path.count(hook._hook) == 1
import inspect
from fuelweb_test.models import environment
assert "Stand-in" in inspect.getsource(environment)
assert not [name for name in sys.modules if name.startswith(("devops_snapshot.", "django"))]
"""
    )
    run = suites.run(venv.python, str(script))
    assert run.code == 0, run.err
    [call] = run.calls
    assert call["given"] == {"name": "test_boot", "outcome": "error", "tags": {}}


def test_a_deaf_dos_py_is_killed_with_its_children_and_its_guests_go_on(
    venv: Venv, suites: Suites
) -> None:
    script = suites.directory / "deaf.py"
    script.write_text(
        "import devops_snapshot_hook as hook\n"
        "hook.TERM_SECONDS = 0.5\n"
        "from fuelweb_test.models.environment import EnvironmentModel\n"
        "EnvironmentModel().make_snapshot('error_boot', is_make=True)\n"
    )
    run = suites.run(
        venv.python, str(script), DOS_MODE="hangs for good", DEVOPS_EXPORT_TIMEOUT="0.5"
    )
    assert run.code == 0, run.err
    assert "dos.py was killed: the guests that it has suspended go on" in run.told
    hung, settled = run.calls
    assert settled["arguments"] == ["sync", "--repair", "--", "ceph_ha"]
    command = ["ps", "-o", "stat=", "-g", str(hung["pid"])]
    group = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert all(state.startswith("Z") for state in group)  # the dead that nobody asks for


def test_the_hook_itself_fails(venv: Venv, suites: Suites) -> None:
    """Also where not even that can be told, or logged, because the disk is full."""
    script = suites.directory / "fails.py"
    script.write_text(
        """
import logging, sys
import devops_snapshot_hook
from fuelweb_test.models.environment import EnvironmentModel
EnvironmentModel.d_env = None
EnvironmentModel().make_snapshot("error_boot", is_make=True)
sys.stderr = open("/dev/full", "w")
logging.basicConfig(filename="/dev/full")
EnvironmentModel().make_snapshot("error_boot_again", is_make=True)
sys.stderr = sys.__stderr__
logging.getLogger().handlers = []
print("goes on")
"""
    )
    run = suites.run(venv.python, str(script))
    assert (run.code, run.out) == (0, "goes on\n")
    assert run.snapshots == ["error_boot", "error_boot_again"]
    assert run.told == ["the hook has failed, and the test goes on:"]
    assert "'NoneType' object has no attribute 'name'" in run.err


CONFTEST = """
import pytest
from devops_snapshot.hooks import fuel_qa
fuel_qa.install(u"/nowhere/dos.py")
from fuelweb_test.models.environment import EnvironmentModel

@pytest.fixture(autouse=True)
def snapshot(request):
    def test_fin():
        reports = [request.node.rep_setup, getattr(request.node, "rep_call", None)]
        name = request.node.function.__name__
        if reports[0].failed:
            EnvironmentModel().make_snapshot("prep_fail_" + name, is_make=True)
        elif reports[1].failed:
            EnvironmentModel().make_snapshot("fail_" + name, is_make=True)
    request.addfinalizer(test_fin)

@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    setattr(item, "rep_" + report.when, report)
"""
SUITE = """
import pytest

@pytest.fixture
def slaves(snapshot):
    raise RuntimeError("no slaves")

def test_passes(): pass
def test_fails(): assert 1 == 2, "no quorum"
def test_is_not_prepared(slaves): pass
"""


def test_pytest_tests_of_fuel_qa(suites: Suites) -> None:
    """Their snapshots are made when they end, and nothing is handled any more by then."""
    (suites.directory / "conftest.py").write_text(CONFTEST)
    (suites.directory / "test_suite.py").write_text(SUITE)
    run = suites.run(Path(sys.executable), "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert run.out.splitlines()[-1].startswith("1 failed, 1 passed, 1 error"), run.out
    failed, unprepared = (call["given"] for call in run.calls)
    assert failed["name"] == "test_suite.py::test_fails"
    assert failed["outcome"] == "failed"
    assert failed["exception"] == "AssertionError: no quorum"
    assert "assert 1 == 2" in failed["traceback"]
    assert unprepared["name"] == "test_suite.py::test_is_not_prepared"
    assert unprepared["outcome"] == "error"
    assert unprepared["exception"] == "RuntimeError: no slaves"


@pytest.mark.parametrize(
    "description", ["Failed in method 'boot'.", "Failed in method error_boot.", ""]
)
def test_names_of_tests(description: str) -> None:
    """As of fuel-qa's releases 6.1 to 8.0, and of later ones; and of no description."""
    assert fuel_qa._name_of("error_boot", description) == "boot"


def test_the_file_is_of_python_27_and_3() -> None:
    vermin = str(Path(sys.executable).with_name("vermin"))
    command = [vermin, "--no-tips", "--violations", "-t=2.7", "-t=3.10-", fuel_qa.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
