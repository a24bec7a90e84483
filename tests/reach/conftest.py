"""Environments with a running guest: one as it was created, and two isolated copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed, Host

from .lab import Lab, gone_soon, serve


@pytest.fixture(scope="module")
def host(bed: Bed) -> Iterator[Host]:
    """With a way to another machine."""
    bed.storage()
    yield bed.host("alpha")
    bed.clean()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test all that env-shells have made is gone."""
    yield
    if "host" in request.fixturenames:
        assert gone_soon(request.getfixturevalue("host"))


@pytest.fixture(scope="module")
def ordinary(host: Host) -> Lab:
    lab = Lab.create(host, "trip")
    lab.boot()
    return lab


@pytest.fixture(scope="module")
def deserted(host: Host) -> Lab:
    """Networks, and nobody there."""
    lab = Lab.create(host, "trip")
    for name in ("admin", "private"):
        lab.network(name).create()
    return lab


@pytest.fixture(scope="module")
def copies(host: Host) -> tuple[Lab, Lab]:
    """Two whose guests have the same addresses; what they serve tells them apart."""
    labs = Lab.isolated(host, "one"), Lab.isolated(host, "two")
    with ExitStack() as shells:
        for lab in labs:
            shells.enter_context(lab.open())  # for DHCP
            serve(lab.boot(), "who", lab.name)
        for lab in labs:
            assert lab.guest.address() == "10.109.0.128"
            lab.guest.run("ip address add 10.109.1.2/24 dev eth1")
    return labs


@pytest.fixture(scope="module")
def outside(bed: Bed) -> str:
    """The address of a machine that is neither a guest nor a host."""
    return bed.storage().url.partition("@")[2].partition("/")[0].partition(":")[0]
