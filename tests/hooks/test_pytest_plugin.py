"""The pytest plugin: a real suite in a process of its own, and a dos.py that tells of its calls."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .place import STORAGE, Run, Suites

EXPORT = "20261122T213124Z-bd564354"
SUITE = """
import pytest

pytestmark = pytest.mark.devops_env("base")

@pytest.fixture
def database():
    yield
    print("the database has ended")

@pytest.fixture
def broken(database):
    raise RuntimeError("no slaves")

def test_passes(): pass

@pytest.mark.devops_env("ceph_ha", "ceph_ha-admin")
def test_fails(database):
    assert 1 == 2, "no quorum"

def test_is_not_prepared(broken): pass

def test_adds_its_own(devops_env):
    assert devops_env.name == "base"
    devops_env.add("made_here", "base")
    raise ValueError("no \\u2603")

@pytest.mark.xfail
def test_is_expected_to_fail(): assert False

@pytest.mark.skip
def test_is_skipped(): pass
"""
FOREIGN = """
def test_fails(): assert False

def test_names_none(devops_env):
    devops_env.name
"""
NONSENSE = """
def test_fails(devops_env):
    devops_env.names = 1
    assert False
"""
NO_NAMES = """
import pytest

@pytest.mark.devops_env
def test_none(): assert False

@pytest.mark.devops_env(name="base")
def test_keyword(): assert False

@pytest.mark.devops_env(["base"], "base", "base")
def test_list(): assert False
"""
SUBTESTS = """
import unittest
import pytest

@pytest.mark.devops_env("base")
class TestAll(unittest.TestCase):
    def test_fails(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number % 2, 0)

    def test_passes(self):
        for number in range(3):
            with self.subTest(number=number):
                pass
"""
RERUN = """
import os, pathlib
import pytest

pytestmark = pytest.mark.devops_env("base")
tries = []

@pytest.fixture
def database():
    yield
    print("exported before that:", pathlib.Path(os.environ["DOS_CALLS"]).exists())

@pytest.fixture
def broken():
    raise RuntimeError("no slaves")

def test_recovers():
    tries.append(None)
    assert len(tries) > 1

def test_fails(database):
    assert 1 == 2, "no quorum"

def test_is_not_prepared(broken): pass
"""
ALL = ["base", "ceph_ha", "ceph_ha-admin", "base", "base", "made_here"]
"""In the order of the tests."""


@pytest.fixture
def suite(suites: Suites) -> Suites:
    (suites.directory / "test_suite.py").write_text(SUITE)
    return suites


def run(suites: Suites, *options: str, **variables: str) -> Run:
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", *options)
    return suites.run(Path(sys.executable), "-m", "pytest", *options, ".", **variables)


def result(run: Run) -> str:
    """Numbers of tests by outcome."""
    return run.out.splitlines()[-1].partition(" in ")[0]


def environments(run: Run) -> list[str]:
    return [call["arguments"][-1] for call in run.calls]


def test_environments_of_failed_tests_are_exported(suite: Suites) -> None:
    done = run(suite, "--devops-export=on-failure", "--junit-xml=junit.xml")
    assert result(done) == "2 failed, 1 passed, 1 skipped, 1 xfailed, 1 error"
    assert environments(done) == ALL[1:]
    assert done.calls[0]["arguments"][:-1] == ["export-env", "--test-report=-", "--detach", "--"]
    reports = {call["given"]["name"]: call["given"] for call in done.calls}
    fails = reports["test_suite.py::test_fails"]
    assert (fails["outcome"], fails["exception"]) == (
        "failed",
        "AssertionError: no quorum\nassert 1 == 2",
    )
    assert fails["traceback"].splitlines()[-1] == "test_suite.py:19: AssertionError"
    assert fails["duration_seconds"] < 10
    assert reports["test_suite.py::test_is_not_prepared"]["outcome"] == "error"
    assert reports["test_suite.py::test_adds_its_own"]["exception"] == "ValueError: no \u2603"

    said = done.out.splitlines()
    place = said.index(f"ceph_ha is exported as {EXPORT}")
    assert said[place + 1] == f"dos.py import-env {EXPORT} --storage {STORAGE}"
    assert f"test_suite.py::test_is_not_prepared: {EXPORT}" in said
    assert said.index(f"ceph_ha is exported as {EXPORT}") < said.index("the database has ended")
    [properties, *_] = ElementTree.parse(suite.directory / "junit.xml").iterfind(
        ".//testcase[@name='test_fails']/properties"
    )
    assert [item.attrib for item in properties] == [{"name": "devops_export", "value": EXPORT}] * 2


def test_environments_of_all_tests_are_exported(suite: Suites) -> None:
    done = run(suite, "--devops-export=always", DEVOPS_EXPORT_DETACH="0")
    assert environments(done) == ALL
    assert done.calls[0]["given"]["outcome"] == "passed"
    assert f"test_suite.py::test_passes: {EXPORT}" in done.out


@pytest.mark.parametrize(
    ("options", "variables", "number"),
    [
        ([], {}, 0),
        ([], {"DEVOPS_EXPORT_ON": "failure"}, 5),
        ([], {"DEVOPS_EXPORT_ON": "on-failure"}, 5),
        (["--devops-export=never"], {"DEVOPS_EXPORT_ON": "always"}, 0),
        (["--devops-export=on-failure"], {"DEVOPS_EXPORT_TESTS": "*own,test_pass*"}, 2),
    ],
)
def test_who_decides(
    suite: Suites, options: list[str], variables: dict[str, str], number: int
) -> None:
    done = run(suite, *options, **variables)
    assert len(done.calls) == number
    assert result(done) == "2 failed, 1 passed, 1 skipped, 1 xfailed, 1 error"
    assert (EXPORT in done.out) == (number > 0)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"DOS_MODE": "fails"},
            "Error: the storage node is dead\nbase is not exported: dos.py has ended with exit",
        ),
        ({"DOS_MODE": "hangs", "DEVOPS_EXPORT_TIMEOUT": "0.3"}, "dos.py was ended after 0.3 s"),
        ({"DEVOPS_EXPORT_DOS": "/nowhere/dos.py"}, "/nowhere/dos.py cannot be run"),
    ],
)
def test_the_results_stay_the_same(suite: Suites, variables: dict[str, str], told: str) -> None:
    done = run(suite, "--devops-export=on-failure", **variables)
    assert result(done) == "2 failed, 1 passed, 1 skipped, 1 xfailed, 1 error"
    assert told in done.out
    assert "INTERNALERROR" not in done.out


def test_the_plugin_itself_fails(suites: Suites) -> None:
    (suites.directory / "test_suite.py").write_text(NONSENSE)
    done = run(suites, "--devops-export=on-failure")
    assert result(done) == "1 failed"
    assert "not exported:\nTraceback" in done.out
    assert "INTERNALERROR" not in done.out


def test_markers_that_name_no_environment(suites: Suites) -> None:
    (suites.directory / "test_suite.py").write_text(NO_NAMES)
    done = run(suites, "--devops-export=on-failure")
    assert done.out.count('nothing is exported: a marker devops_env("name") has to name') == 2
    assert "['base'] is not exported: it is no name of an environment" in done.out
    assert environments(done) == ["base"]
    assert result(done) == "3 failed"


@pytest.mark.parametrize(("when", "number"), [("on-failure", 1), ("always", 2)])
def test_subtests_are_exported_with_the_first_that_fails(
    suites: Suites, when: str, number: int
) -> None:
    (suites.directory / "test_suite.py").write_text(SUBTESTS)
    done = run(suites, f"--devops-export={when}")
    told = [(call["given"]["name"][-10:], call["given"]["outcome"]) for call in done.calls]
    wanted = [("test_fails", "failed"), ("est_passes", "passed")]
    assert told == wanted[:number]


def test_an_alarm_does_not_go_off_in_an_export(suite: Suites) -> None:
    options = ("--devops-export=on-failure", "--timeout=1.5", "-k", "test_fails")
    done = run(suite, *options, DOS_MODE="hangs", DEVOPS_EXPORT_TIMEOUT="1")
    assert "ceph_ha-admin is not exported: dos.py was ended after 1 s" in done.out
    assert result(done) == "1 failed, 5 deselected"


def test_without_a_storage_node_that_is_said_once(suite: Suites) -> None:
    done = run(suite, "--devops-export=on-failure", "-v", DEVOPS_STORAGE="")
    assert done.out.count("DEVOPS_STORAGE names no storage node: nothing is exported") == 1
    assert done.calls == []
    assert "DEVOPS_STORAGE" not in run(suite, "-v", DEVOPS_STORAGE="").out


def test_tests_without_an_environment(suites: Suites) -> None:
    (suites.directory / "test_suite.py").write_text(FOREIGN)
    done = run(suites, "--devops-export=always", "--strict-markers")
    assert done.calls == []
    assert result(done) == "2 failed"
    assert "LookupError: neither a marker devops_env nor the test" in done.out


@pytest.mark.parametrize(
    ("options", "tests"),
    [
        ([], ["test_fails", "test_is_not_prepared"]),
        (["-n", "1"], ["test_fails", "test_is_not_prepared"]),
        (
            ["--only-rerun", "AssertionError"],
            ["test_recovers", "test_fails", "test_fails", "test_is_not_prepared"],
        ),
        (
            ["--devops-export=always"],
            ["test_recovers"] * 2 + ["test_fails"] * 2 + ["test_is_not_prepared"] * 2,
        ),
    ],
)
def test_of_tries_the_last_one_is_exported(
    suites: Suites, options: list[str], tests: list[str]
) -> None:
    """Unless it may turn out that it was not the last one, or all are wanted."""
    (suites.directory / "test_suite.py").write_text(RERUN)
    done = run(suites, "--devops-export=on-failure", "--reruns=1", *options)
    assert [call["given"]["name"] for call in done.calls] == [f"test_suite.py::{x}" for x in tests]
    assert result(done).startswith("1 failed, 1 passed, 1 error, ")
    [report] = [x for x in done.out.split("\n___") if x.startswith("_") and " test_fails " in x]
    assert f"base is exported as {EXPORT}" in report
    assert "exported before that: True" in report
