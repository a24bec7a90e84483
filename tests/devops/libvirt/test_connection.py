"""Connections, and libvirt's errors in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from devops_snapshot.connection import open_connection
from devops_snapshot.devops.libvirt.connection import (
    asking,
    find_domain,
    find_network,
    shared_connection,
)
from devops_snapshot.errors import ConflictError, HypervisorError
from devops_snapshot.storage_pool import find_volume
from tests.bed import Host

CHECKOUT = Path(__file__).parents[3]
NO_UUID = "00000000-0000-4000-8000-000000000000"


def test_one_connection_is_shared_and_others_are_ones_own(alpha: Host) -> None:
    shared = shared_connection(alpha.uri)
    assert shared_connection(alpha.uri) is shared
    with open_connection(alpha.uri) as own:
        assert own is not shared
        assert own.isAlive()
    with pytest.raises(libvirt.libvirtError):
        own.getLibVersion()
    assert shared.isAlive()


def test_a_broken_connection_is_replaced(alpha: Host) -> None:
    broken = shared_connection(alpha.uri)
    broken.close()
    assert shared_connection(alpha.uri) is not broken
    assert shared_connection(alpha.uri).isAlive()


def test_what_is_absent_is_none(alpha: Host) -> None:
    connection = shared_connection(alpha.uri)
    assert find_domain(connection, NO_UUID) is None
    assert find_network(connection, NO_UUID) is None
    assert find_volume(connection, "/nowhere") is None
    assert find_domain(connection, None) is None


def test_errors_are_one_line_with_the_uri_and_what_was_asked(alpha: Host) -> None:
    with pytest.raises(HypervisorError) as caught, asking(alpha.uri, "define domain 'x'"):
        alpha.connection.defineXML("<domain/>")
    assert str(caught.value).startswith(f"cannot define domain 'x' on {alpha.uri}: ")
    assert "\n" not in str(caught.value)


def test_what_is_there_already_is_a_conflict(alpha: Host) -> None:
    pool = alpha.connection.storagePoolLookupByName("default")
    xml = "<volume><name>v</name><capacity>1</capacity></volume>"
    pool.createXML(xml)
    with pytest.raises(ConflictError, match="'v' exists already"), asking(alpha.uri, "create"):
        pool.createXML(xml)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError) as caught:
        shared_connection(f"qemu:///system?socket={tmp_path}/socket")
    assert f"cannot connect to libvirt at qemu:///system?socket={tmp_path}" in str(caught.value)
    assert caught.value.hint == "Is libvirtd running there?"


def test_connection_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(HypervisorError, match=r"Connection refused\. Is libvirtd running"):
            shared_connection(f"qemu:///system?socket={tmp_path}/socket")


ASK_AS_NOBODY = """
import os, sys
from devops_snapshot.devops.libvirt.connection import shared_connection
from devops_snapshot.errors import DevopsError
os.setuid(65534)
try:
    shared_connection(sys.argv[1])
except DevopsError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_no_permission_and_nothing_on_standard_error(alpha: Host) -> None:
    command = [sys.executable, "-c", ASK_AS_NOBODY, alpha.uri]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert "Permission denied. Add your user to the group libvirt" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


class AskedError(Exception):
    """By a signal, to end."""


def test_a_signal_while_libvirt_refuses_is_that_signal() -> None:
    def end(_number: int, _frame: object) -> None:
        raise AskedError

    def refused_for(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            with suppress(libvirt.libvirtError):
                connection.lookupByName("nobody")

    before = signal.signal(signal.SIGALRM, end)
    connection = libvirt.open("test:///default")
    try:
        for number in range(200):
            with pytest.raises(AskedError):
                refused_for(1e-4 + number * 1e-6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        connection.close()
