"""pytest plugin: exports the environments of a test that has failed, before its fixtures end.

Tests say which they are by ``@pytest.mark.devops_env("name")``, or by the fixture ``devops_env``.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Generator
from typing import Any

import pytest

from . import fuel_qa
from .reruns import is_run_again

LOG = logging.getLogger("devops_snapshot.hook")

SECTION = "devops_snapshot"
PROPERTY = "devops_export"
"""Of the test's report, also in JUnit's XML: the id of an export."""

_OPTION = "--devops-export"
_CHOICES = {"on-failure": "failure", "always": "always", "never": "never"}
_PASSED = ("call", "passed")
_DOS = (sys.executable, "-m", "devops_snapshot")
_NAMELESS = 'nothing is exported: a marker devops_env("name") has to name an environment'


class DevopsEnv:
    """The environments of a test.

    :ivar names: those that the test's closest marker names, and those that were added
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names

    @property
    def name(self) -> str:
        """Of the only one, or the first.

        :raises LookupError: there is none
        """
        if not self.names:
            raise LookupError("neither a marker devops_env nor the test has named an environment")
        return self.names[0]

    def add(self, *names: str) -> None:
        """From now on, the test has these, too."""
        for name in names:
            if name not in self.names:
                self.names.append(name)


_environments = pytest.StashKey[DevopsEnv]()
_is_running = pytest.StashKey[bool]()
_has_failed = pytest.StashKey[bool]()
"""By one of its subtests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("devops_snapshot", "export of environments")
    group.addoption(
        _OPTION,
        choices=list(_CHOICES),
        help="whether the environments of a test are exported to $DEVOPS_STORAGE once it has "
        "failed; default: what $DEVOPS_EXPORT_ON says (failure, always or never), else never",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "devops_env(*names): environments that are exported when the test fails"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say once what would have nothing done."""
    if _when(config) == "never" or os.environ.get("DEVOPS_STORAGE"):
        return None
    return "devops_snapshot: DEVOPS_STORAGE names no storage node: nothing is exported"


@pytest.fixture
def devops_env(request: pytest.FixtureRequest) -> DevopsEnv:
    """The environments that are exported if the test fails; more can be added."""
    return _environments_of(request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What is reported inside is of a subtest."""
    item.stash[_is_running], item.stash[_has_failed] = True, False
    try:
        return (yield)
    finally:
        item.stash[_is_running] = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when != "teardown" and (report.failed or (report.when, report.outcome) == _PASSED):
        try:
            _export(item, call, report)
        except Exception:  # the test's own result stays what it is, whatever happens here
            LOG.exception("the environments of %s are not exported", item.nodeid)
            report.sections.append((SECTION, f"not exported:\n{traceback.format_exc()}"))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """All exports at the end, those of tests that have passed, too."""
    lines = [
        f"{report.nodeid}: {export_id}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, export_id in report.user_properties
        if name == PROPERTY
    ]
    if lines:
        terminalreporter.section("exported environments")
        for line in dict.fromkeys(lines):  # each try of a test has those of the tries before
            terminalreporter.line(line)


def _when(config: pytest.Config) -> str:
    chosen = config.getoption(_OPTION) or os.environ.get("DEVOPS_EXPORT_ON") or "never"
    return _CHOICES.get(chosen.lower(), chosen)


def _environments_of(item: pytest.Item) -> DevopsEnv:
    if _environments not in item.stash:
        marker = item.get_closest_marker("devops_env")
        item.stash[_environments] = DevopsEnv([])
        item.stash[_environments].add(*(marker.args if marker else ()))
    return item.stash[_environments]


def _export(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Each environment of the test, if that is wanted; the report says what has become of it."""
    lines: list[str] = []
    when = _when(item.config)
    settings = fuel_qa.Settings({**os.environ, "DEVOPS_EXPORT_ON": when}, _DOS, lines.append)
    names = [item.nodeid, item.name, getattr(item, "originalname", item.name)]
    environments = _environments_of(item).names
    is_nameless = not environments and item.get_closest_marker("devops_env") is not None
    if not settings.storage or not settings.wants(report.failed, names):
        return
    if not (environments or is_nameless) or _is_of_subtest(item, report):
        return
    if settings.when == "failure" and is_run_again(item):
        LOG.info("%s has failed and is run again: only its last try is exported", item.nodeid)
        return
    if is_nameless:
        lines.append(_NAMELESS)
    told = _told(item, call, report)
    for environment in environments:
        export_id = _exported(environment, told, settings, lines)
        if export_id:
            item.user_properties.append((PROPERTY, export_id))
    for line in lines:
        LOG.info("%s", line)
    report.sections.append((SECTION, "\n".join(lines)))


def _exported(
    environment: object, told: dict[str, Any], settings: fuel_qa.Settings, lines: list[str]
) -> str | None:
    """Export one; returns the id of the export.

    :param environment: as a test has written it
    :param lines: what has become of it is added
    """
    if not isinstance(environment, str):
        lines.append(f"{environment!r} is not exported: it is no name of an environment")
        return None
    try:
        export_id = fuel_qa.export(environment, told, settings, os.environ, lines.append)
    except fuel_qa.NotExportedError as error:
        lines.append(f"{environment} is not exported: {error}")
        return None
    lines.append(f"{environment} is exported as {export_id}")
    lines.append(fuel_qa.import_command(export_id, settings.storage))
    return export_id


def _is_of_subtest(item: pytest.Item, report: pytest.TestReport) -> bool:
    """Whether the test goes on, or was exported when the first of its subtests had failed."""
    if report.when != "call":
        return False
    is_running, has_failed = item.stash.get(_is_running, False), item.stash.get(_has_failed, False)
    if report.passed:
        return is_running or has_failed
    item.stash[_has_failed] = True
    return has_failed


def _told(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> dict[str, Any]:
    exception = trace = None
    if report.failed:
        exception = call.excinfo.exconly().strip() if call.excinfo else report.longreprtext
        trace = report.longreprtext
    outcome = "passed" if report.passed else "failed" if report.when == "call" else "error"
    return fuel_qa.report_of(item.nodeid, outcome, exception, trace, call.duration)
