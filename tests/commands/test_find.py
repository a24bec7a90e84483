"""Exports of tests: how they are found, and what is shown of them."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import pytest

from devops_snapshot.store import JSON
from tests.manifest.real import document
from tests.store.place import opened

from .conftest import MANIFEST, Node, resealed
from .test_output import ESCAPE, on_terminal

TEST: dict[str, Any] = {
    "name": "deploy_ha",
    "outcome": "failed",
    "exception": "AssertionError: 2 != 3",
    "traceback": 'Traceback (most recent call last):\n  File "x.py", line 5, in deploy_ha\nNODE',
    "job": "9.1.system_test",
    "build": "1234",
    "url": "https://ci.example.org/job/9.1.system_test/1234/",
    "commits": {"fuel-qa": "5f2a9c01", "nailgun": "bd564354"},
    "release": "9.1",
    "duration_seconds": 5430.0,
}


def publish(
    node: Node,
    test: str | None,
    outcome: str = "passed",
    *,
    published: str | None = None,
    environment: str = "demo",
    tags: JSON = None,
) -> str:
    """An export without files that tells of a test; returns its id."""
    with opened(node.directory) as repository, repository.writing() as session:
        summary: dict[str, JSON] = {"environment": environment, "snapshots": ["s"]}
        if test is not None:
            summary |= {"test": test, "outcome": outcome, "job": "nightly", "build": "7"}
        session.publish(MANIFEST, summary | {"tags": tags})
    if published is not None:
        path = node.directory / f"exports/{session.export_id}.json"
        path.write_bytes(resealed(path.read_bytes(), published=published))
    return session.export_id


def find(node: Node, *options: str) -> set[str]:
    return {one["id"] for one in node.dos("list-exports", "--json", *options).json}


def test_all_that_is_asked_for_has_to_hold(node: Node) -> None:
    ha = publish(node, "deploy_ha", "failed", tags={"release": "9.1", "team": "x"})
    old = publish(node, "deploy_ha", "failed", published="2026-01-05T12:00:00+00:00")
    ceph = publish(node, "deploy_ceph", "passed", tags={"release": "9.1"})
    broken = publish(node, "Deploy[ha-2]", "error", environment="other", tags={"release": "9.2"})
    plain = publish(node, None)
    assert find(node) == {ha, old, ceph, broken, plain}
    assert find(node, "--failed") == {ha, old, broken}
    assert find(node, "--test", "deploy_*") == {ha, old, ceph}
    assert find(node, "--test", "deploy") == find(node, "--test", "") == set()
    assert find(node, "--test", "*") == {ha, old, ceph, broken}
    assert find(node, "--test", "Deploy[ha-2]") == {broken}
    assert find(node, "--test", "[Dd]eploy*ha*") == {ha, old, broken}
    assert find(node, "--since", "2d") == {ha, ceph, broken, plain}
    assert find(node, "--since", "999999w", "--failed") == find(node, "--failed")
    assert find(node, "--since", "2026-01-05 12:00") == find(node)
    assert old not in find(node, "--since", "2026-01-05 12:00:01")
    assert old in find(node, "--since", "2026-01-05T14:00:00+02:00")
    assert find(node, "--tag", "release=9.1") == {ha, ceph}
    assert find(node, "--tag", "release=9.1", "--tag", "team=x") == {ha}
    assert find(node, "--tag", "release=9.1", "--tag", "release=9.2") == set()
    assert find(node, "--tag", "release=") == set()
    assert find(node, "--env", "other", "--failed", "--since", "1h", "--tag=release=9.2") == {
        broken
    }
    assert find(node, "--env", "demo", "--test", "*ha", "--failed", "--since", "1h") == {ha}
    node.dos("delete-export", ha, ceph)
    assert find(node, "--deleted", "--failed") == {ha}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "'soon' is neither a duration nor a date"),
        (["--since", "2026-13-01"], "'2026-13-01' is neither"),
        (["--since", ""], "'' is neither"),
        (["--tag", "release"], "'release' is no tag: give a key and a value, KEY=VALUE"),
        (["--tag", "=9.1"], "'=9.1' is no tag"),
    ],
)
def test_what_nobody_can_look_for(node: Node, options: list[str], message: str) -> None:
    done = node.dos("list-exports", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_nothing_is_found(node: Node) -> None:
    publish(node, "deploy_ha", "passed")

    def said(*options: str) -> str:
        done = node.dos("list-exports", *options)
        assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
        return done.err.partition(" at ")[0]

    assert said("--failed") == "There are no exports that match"
    assert said("--env", "x", "--test", "y") == "There are no exports of environment 'x' that match"
    assert said("--deleted", "--tag", "a=b") == "There are no deleted exports that match"


def test_columns_of_tests_only_where_there_are_any(node: Node) -> None:
    publish(node, None)
    assert "TEST" not in node.dos("list-exports").out
    publish(node, "deploy_ha", "failed")
    header, _, plain, tested = node.dos("list-exports").out.splitlines()
    assert header.split()[:5] == ["ID", "ENVIRONMENT", "TEST", "OUTCOME", "SNAPSHOTS"]
    assert tested.split()[1:5] == ["demo", "deploy_ha", "failed", "s"]
    assert plain.split()[1:3] == ["demo", "s"]
    narrow = on_terminal("list-exports", "--storage", node.url, columns=60)
    assert "deploy_ha" in narrow
    assert "failed" in narrow


def test_programs_are_told_the_same_of_all(node: Node) -> None:
    """Also of what an earlier release has exported."""
    publish(node, "deploy_ha", "failed", tags={"a": "b"})
    node.export("old")
    fields = ("test", "outcome", "job", "build", "tags")
    tested, plain = (
        [one[name] for name in fields] for one in node.dos("list-exports", "--json").json
    )
    assert tested == ["deploy_ha", "failed", "nightly", "7", {"a": "b"}]
    assert plain == [None, None, None, None, {}]


@pytest.mark.parametrize(
    "odd",
    [
        {"test": 5, "outcome": ["failed"], "tags": ["release"]},
        {"test": "*", "outcome": "lucky", "tags": {"release": 9.1}},
        {"test": None, "outcome": "failed", "tags": "release=9.1"},
        {"test": "\x1b[2J" * 50_000, "outcome": "failed\n", "tags": {"release": ["9.1"]}},
    ],
    ids=lambda odd: str(odd)[:30],
)
def test_an_odd_test_hides_no_other(node: Node, odd: dict[str, Any]) -> None:
    sound = publish(node, "deploy_ha", "failed", tags={"release": "9.1"})
    strange = publish(node, "x")
    path = node.directory / f"exports/{strange}.json"
    path.write_bytes(resealed(path.read_bytes(), summary=odd))
    shutil.rmtree(node.directory.parent / "cache")
    options = ("--test", "*a*a*a*_*a*a*ha", "--failed", "--tag", "release=9.1")
    assert find(node, "--test", "*_ha", *options[2:]) == {sound}
    assert find(node, *options) == set()
    assert node.dos("list-exports").code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--test", "x"], 2, "a test and its outcome are told together"),
        (["--test", "", "--outcome", "failed"], 2, "the name of the test is empty"),
        (["--outcome", "lucky"], 2, "invalid choice: 'lucky'"),
        (["--tag", "x"], 2, "'x' is no tag"),
        (["--test-report", "/nowhere"], 1, "the test report '/nowhere': No such file or directory"),
        (["--test-report", "/"], 1, "the test report '/': Is a directory"),
        (["--test-report", "-"], 1, "standard input is closed"),
    ],
)
def test_what_an_export_cannot_be_told(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as it is where it was closed
    done = node.dos("export-env", "nobody", *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def told(node: Node, **provenance: Any) -> str:
    """An export whose manifest tells that; returns its id."""
    manifest = document()
    manifest["provenance"].update(provenance)
    return node.export("one", manifest=json.dumps(manifest).encode())


def test_an_export_shows_all_of_its_test(node: Node) -> None:
    export_id = told(node, test=TEST, tags={"release": "9.1", "team": "x"})
    shown = node.dos("show-export", export_id).out
    assert (
        "Test:          deploy_ha\n"
        "Outcome:       failed\n"
        "Exception:     AssertionError: 2 != 3\n"
        "Took:          90 min\n"
        "Release:       9.1\n"
        "Job:           9.1.system_test\n"
        "Build:         1234\n"
        "URL:           https://ci.example.org/job/9.1.system_test/1234/\n"
        "Commits:       fuel-qa=5f2a9c01, nailgun=bd564354\n"
        "Tags:          release=9.1, team=x\n"
        "Host:"
    ) in shown
    assert shown.endswith(
        "\n\nTraceback:\n  Traceback (most recent call last):\n"
        '    File "x.py", line 5, in deploy_ha\n  NODE\n'
    )
    assert node.dos("show-export", export_id, "--json").json["manifest"]["provenance"][
        "test"
    ] == json.loads(json.dumps(TEST))


def test_what_is_not_known_is_not_shown(node: Node) -> None:
    shown = node.dos("show-export", told(node, test={"name": "x", "outcome": "passed"})).out
    assert "Outcome:       passed\nHost:" in shown
    assert "Traceback" not in shown
    assert "Test:" not in node.dos("show-export", told(node)).out


def test_a_test_does_not_rule_the_terminal(node: Node) -> None:
    texts = ("name", "exception", "traceback", "job", "build", "url", "release")
    test = {**TEST, **dict.fromkeys(texts, ESCAPE), "commits": {ESCAPE: ESCAPE}}
    export_id = told(node, test=test, tags={ESCAPE: ESCAPE})
    shown = on_terminal("show-export", export_id, "--storage", node.url, columns=100)
    assert shown.count("\\x1b[2Jgone\\x9b") == len(texts) + 4
    assert not any(c in shown for c in "\x1b\x9b\u202e")
    assert "\nnext" not in shown
    publish(node, ESCAPE, ESCAPE)
    listed = node.dos("list-exports").out
    assert not any(c in listed for c in "\x1b\x9b\u202e")
    assert len(listed.splitlines()) == 4


def test_a_manifest_with_a_test_that_makes_no_sense(node: Node) -> None:
    done = node.dos("show-export", told(node, test={**TEST, "outcome": "lucky"}))
    assert (done.code, done.out, done.err.count("\n")) == (7, "", 1)
    assert "provenance.test.outcome" in done.err
