"""Of which test an export is: what a hook reports, what the user says, and what the CI knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.errors import UsageError
from devops_snapshot.exporter import Told, told
from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.document import LONGEST_TRACEBACK, MOST_FACTS

from .real import TEST_RUN as WHOLE
from .real import document, manifest_of

CI = {
    "JOB_NAME": "nightly",
    "BUILD_NUMBER": "7",
    "BUILD_URL": "https://ci/job/nightly/7/",
    "GIT_URL": "https://user:secret@example.org/openstack/fuel-qa.git",
    "GIT_COMMIT": "aaaa",
    "GERRIT_PROJECT": "openstack/nailgun",
    "GERRIT_PATCHSET_REVISION": "bbbb",
}


def reported(report: object, **options: Any) -> Told:
    data = report if isinstance(report, bytes) else json.dumps(report).encode()
    return told(report=data, **{"environ": {}, **options})


def run(report: object, **options: Any) -> d.TestRun:
    test = reported(report, **options).test
    assert test is not None
    return test


def test_the_fields_of_a_report_are_those_of_a_test_and_tags() -> None:
    assert set(WHOLE) == set(d.TestRun.model_fields)
    found = reported({**WHOLE, "tags": {"release": "9.1", "n": 5}})
    assert found.test == d.TestRun(**WHOLE)
    assert found.tags == {"release": "9.1", "n": "5"}
    assert found.complaints == ()


def test_nothing_is_of_no_test() -> None:
    assert told(environ=CI) == Told()
    assert told(tags={"a": "b"}, environ=CI) == Told(tags={"a": "b"})
    assert reported({"tags": {"a": "b"}}) == Told(tags={"a": "b"})


def test_the_user_is_believed_first_then_the_report_then_the_ci() -> None:
    report = {"name": "x", "outcome": "passed", "job": "mine", "tags": {"a": "1", "b": "2"}}
    found = reported(report, test="y", outcome="error", tags={"b": "3"}, environ=CI)
    assert found.test is not None
    assert (found.test.name, found.test.outcome) == ("y", "error")
    assert (found.test.job, found.test.build) == ("mine", "7")
    assert found.tags == {"a": "1", "b": "3"}


def test_what_the_ci_knows(tmp_path: Path) -> None:
    test = told(test="x", outcome="passed", environ=CI).test
    assert test is not None
    assert (test.job, test.build, test.url) == ("nightly", "7", "https://ci/job/nightly/7/")
    assert test.commits == {"fuel-qa": "aaaa", "nailgun": "bbbb"}
    assert test.release is None
    image = tmp_path / "fuel-9.1-1234.iso"
    (tmp_path / "current.iso").symlink_to(image)
    iso = {"ISO_PATH": str(tmp_path / "current.iso"), "FUEL_QA_COMMIT": "cccc"}
    assert run(WHOLE | {"release": None}, environ=iso).release == "fuel-9.1-1234"
    assert run(WHOLE | {"release": None}, environ={**iso, "VERSION_ID": "9.1"}).release == "9.1"
    assert run(WHOLE, environ={**iso, **CI}).commits == {"fuel-qa": "5f2a9c01", "nailgun": "bbbb"}
    assert run(WHOLE | {"commits": {}}, environ=iso).commits == {"fuel-qa": "cccc"}


@pytest.mark.parametrize(
    "url", ["https://user:secret@host", "https://secret@host/", "git@host:secret@x", "ssh://host"]
)
def test_no_secret_of_an_address(url: str) -> None:
    commits = run(WHOLE, environ={"GIT_URL": url, "GIT_COMMIT": "aaaa"}).commits
    assert "aaaa" in commits.values()
    assert "secret" not in str(commits)


def test_what_is_too_long_is_cut() -> None:
    lines = "\n".join(f"line {n}" for n in range(5000))
    found = run({"name": "x" * 5000, "outcome": "failed", "traceback": lines, "job": "j" * 999})
    assert found.name == "x" * 999 + "…"
    assert found.job == "j" * 254 + "…"
    assert found.traceback is not None
    assert len(found.traceback) > LONGEST_TRACEBACK - 20
    assert found.traceback.startswith("line ")
    assert found.traceback.endswith("\nline 4999")
    assert len(run(WHOLE | {"traceback": "x" * 99999}).traceback or "") == LONGEST_TRACEBACK


def test_what_is_one_line_is_one_line() -> None:
    found = run(WHOLE | {"exception": "Error: one\n\ttwo\r\n three\u2028four\x85"})
    assert found.exception == "Error: one two three four"


def test_texts_that_are_no_unicode() -> None:
    """As arguments have them, and Python 2 writes them."""
    found = told(test="x\udcff", outcome="passed", tags={"\udcfe": "\udcfd"}, environ={})
    assert found.test is not None
    assert (found.test.name, found.tags) == ("x\\udcff", {"\\udcfe": "\\udcfd"})
    assert run(b'{"name": "x\xff", "outcome": "failed"}').name == "x\ufffd"
    assert run(b'{"name": "x\\ud800", "outcome": "failed"}').name == "x\\ud800"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mood": 1}, "'mood', which is unknown"),
        ({"outcome": "xfail"}, "the outcome 'xfail', which is none of passed, failed, error"),
        ({"outcome": ["x"]}, "taken for an error"),
        ({"duration_seconds": -1}, "-1 as duration_seconds: left out"),
        ({"duration_seconds": float("nan")}, "nan as duration_seconds"),
        ({"duration_seconds": 10**400}, "as duration_seconds"),
        ({"duration_seconds": "long"}, "'long' as duration_seconds"),
        ({"job": ["x" * 5000]}, "as job: left out"),
        ({"commits": "x"}, "'x' as commits: left out"),
        ({"commits": {"a": None}}, "'a' is None: left out"),
        ({"tags": {" ": "x"}}, "' ' is 'x': left out"),
        ({"tags": {str(n): n for n in range(50)}}, "50 are too many, the first 32 are kept"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_makes_no_sense_is_told_and_the_rest_is_kept(
    change: dict[str, Any], complaint: str
) -> None:
    found = reported(WHOLE | change)
    assert found.test is not None
    assert found.test.name == "deploy_ha"
    assert found.test.traceback == WHOLE["traceback"]
    [told_once] = found.complaints
    assert complaint in told_once
    assert len(told_once) < 250
    if "outcome" in change:
        assert found.test.outcome == "error"


@pytest.mark.parametrize("report", [b"", b"x", b"[1]", b"5", b"\xff\xfe", b"[" * 100_000, b'"x"'])
def test_what_is_no_report(report: bytes) -> None:
    found = reported(report)
    assert found.test is None
    assert len(found.complaints) == 1
    assert run(report, test="x", outcome="failed").name == "x"


def test_a_report_without_a_name() -> None:
    found = reported({"outcome": "failed", "job": "x", "tags": {"a": "b"}})
    assert (found.test, found.tags) == (None, {"a": "b"})
    assert found.complaints == ("The test report names no test: only its tags are kept",)


def test_a_report_without_an_outcome_is_not_one_of_success() -> None:
    found = reported({"name": "x"})
    assert found.test is not None
    assert found.test.outcome == "error"
    assert len(found.complaints) == 1


@pytest.mark.parametrize(
    "options", [{"test": "x"}, {"outcome": "failed"}, {"test": " ", "outcome": "failed"}]
)
def test_options_that_say_half(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        told(**options, environ={})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys([*d.TestRun.model_fields, "tags", "other"], JSON)
    )
)
def test_whatever_is_reported_a_manifest_can_say_it(report: dict[str, Any]) -> None:
    found = reported(report)
    assert len(found.tags) <= MOST_FACTS
    manifest = document()
    manifest["provenance"]["tags"] = found.tags
    manifest["provenance"]["test"] = found.test and found.test.model_dump()
    assert manifest_of(manifest).provenance.test == found.test
