"""Fixtures: the test bed, shared by all tests of a run and clean for each of them."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.bed import Bed, Host, Postgres, Storage, namespaces_available

NO_NAMESPACES = "no rights to make namespaces here (unshare): tests that need libvirt hosts skip"
LOG_LINES = 30

# Other work on the machine must not fail a test: what is generated slowly is no fault of it.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Whoever runs this in the background ignores Ctrl-C, and so would the programs that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    return [] if namespaces_available() else [NO_NAMESPACES]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what the daemons of the bed said lately."""
    report = yield
    bed = getattr(item, "funcargs", {}).get("bed")
    if report.failed and isinstance(bed, Bed):
        for name, log in bed.logs().items():
            report.sections.append((f"log of {name}", "".join(log.splitlines(True)[-LOG_LINES:])))
    return report


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """Two hosts, ``alpha`` and ``beta``, for the whole run; use it with :func:`clean_hosts`."""
    if not namespaces_available():
        pytest.skip(NO_NAMESPACES)
    with Bed() as bed:
        bed.host("alpha")
        bed.host("beta")
        yield bed


@pytest.fixture
def clean_hosts(bed: Bed) -> Iterator[Bed]:
    """The bed; after the test no domain, network, volume, database or repository is left on it."""
    yield bed
    bed.clean()


@pytest.fixture
def alpha(clean_hosts: Bed) -> Host:
    return clean_hosts.host("alpha")


@pytest.fixture
def beta(clean_hosts: Bed) -> Host:
    return clean_hosts.host("beta")


@pytest.fixture
def storage(clean_hosts: Bed) -> Storage:
    """The storage node, with no repository on it."""
    return clean_hosts.storage()


@pytest.fixture
def postgres(alpha: Host, clean_hosts: Bed) -> Postgres:
    """The PostgreSQL server of ``alpha``, with an empty database."""
    return clean_hosts.postgres(alpha)
