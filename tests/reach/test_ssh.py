"""The engineer's first act: ssh to the admin node. Two have one address, and keys of their own.

The guests of the bed have no sshd, so this machine's stands in for them, plugged in as they are.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.bed import Host

from .lab import Lab, run_in

ADMIN = "10.109.0.2"
CONFIG = """\
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
ForceCommand echo this is {name}
"""
LISTENING = "Server listening"


@contextmanager
def admin_node(lab: Lab, directory: Path, key: Path) -> Iterator[None]:
    """A machine in the network ``admin`` that lets in who has the key, and says whose it is."""
    make_key(directory / "host_key")
    config = directory / "config"
    config.write_text(CONFIG.format(address=ADMIN, directory=directory, key=key, name=lab.name))
    machine, port = f"admin-of-{lab.name}", f"plug-{lab.name}"
    run_in(lab.host, "mkdir", "-p", "/run/sshd")
    run_in(lab.host, "ip", "netns", "add", machine)
    try:
        for command in (
            f"link add {port} type veth peer name eth0 netns {machine}",
            f"link set {port} master {lab.bridge('admin')} up",
            f"-netns {machine} address add {ADMIN}/24 dev eth0",
            f"-netns {machine} link set eth0 up",
        ):
            run_in(lab.host, "ip", *command.split())
        command = ["ip", "netns", "exec", machine, "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
        with lab.host.popen(command) as sshd:
            try:
                assert sshd.stderr is not None
                assert LISTENING in sshd.stderr.readline()
                yield
            finally:
                sshd.terminate()
                sshd.wait(timeout=60)
    finally:
        run_in(lab.host, "ip", "netns", "del", machine)


def make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


@pytest.fixture
def copies(host: Host) -> tuple[Lab, Lab]:
    """Two that have the same addresses, with nobody there yet."""
    return Lab.isolated(host, "one"), Lab.isolated(host, "two")


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs an SSH client")
def test_the_admin_node_of_each_copy(copies: tuple[Lab, Lab], tmp_path: Path) -> None:
    key = tmp_path / "user_key"
    make_key(key)
    with ExitStack() as stack:
        for lab in copies:
            directory = tmp_path / lab.name
            directory.mkdir()
            stack.enter_context(admin_node(lab, directory, key))
        for lab in copies:
            said = lab.sees("ssh", "-o", "BatchMode=yes", "-i", str(key), f"root@{ADMIN}")
            assert said == f"this is {lab.name}\n"
