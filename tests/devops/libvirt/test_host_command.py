"""Commands on libvirt's host: here, or at the other end of ``ssh``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devops_snapshot.devops.libvirt.host_command import run_on_host
from devops_snapshot.errors import HypervisorError
from tests.bed import Host

PORT = 2222
SSHD = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
"""
#: Run with another ``~/.ssh``: ssh looks up the home of root, whatever $HOME says.
ASK = """\
sed 's,^root:.*,root:x:0:0::{directory}:/bin/sh,' /etc/passwd > {directory}/passwd
mount --bind {directory}/passwd /etc/passwd
exec {python} -c '
import sys
from devops_snapshot.devops.libvirt.host_command import run_on_host
print(run_on_host(sys.argv[1], sys.argv[2:], as_root=True), end="")' "$@"
"""


def test_here_it_is_run_as_it_is() -> None:
    for uri in ("qemu:///system", "qemu+unix:///system?socket=/x", "qemu+ssh:///system"):
        assert run_on_host(uri, ["echo", "a  b", "$HOME;"], as_root=False) == "a  b $HOME;\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root would be asked by sudo")
def test_root_needs_no_sudo() -> None:
    assert run_on_host("qemu:///system", ["id", "-u"], as_root=True) == "0\n"


def test_failures_say_what_was_run() -> None:
    with pytest.raises(HypervisorError, match=r"^'sh -c 'echo no >&2; exit 3'' failed: no$"):
        run_on_host("qemu:///system", ["sh", "-c", "echo no >&2; exit 3"], as_root=False)
    with pytest.raises(HypervisorError, match=r"^cannot run 'no-such-program': .*No such file"):
        run_on_host("qemu:///system", ["no-such-program"], as_root=False)
    with pytest.raises(HypervisorError, match="no way to run commands on far"):
        run_on_host("qemu+tls://far/system", ["true"], as_root=False)


@pytest.fixture
def sshd(alpha: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory with the keys of an sshd on the host."""
    directory = alpha.directory / "sshd"
    (directory / ".ssh").mkdir(parents=True)
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(make, check=True)
    key = (directory / "host_key.pub").read_text().split()
    (directory / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{PORT} {key[0]} {key[1]}\n")
    (directory / "config").write_text(SSHD.format(port=PORT, directory=directory))
    alpha.run(["mkdir", "-p", "/run/sshd"])
    server = alpha.popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "config")])
    deadline = time.monotonic() + 20
    while alpha.run(["sh", "-c", f"ss -Htln | grep -q :{PORT}"], check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield directory
    server.terminate()
    server.communicate()
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another home")
def test_at_the_other_end_of_ssh(alpha: Host, sshd: Path) -> None:
    script = ASK.format(directory=sshd, python=sys.executable)
    uri = f"qemu+ssh://root@127.0.0.1:{PORT}/system?keyfile={sshd}/user_key"
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", uri]
    answer = alpha.run([*command, "sh", "-c", 'echo "$(id -u) $SSH_CONNECTION" "$1"', "-", "a  $b"])
    assert answer.stdout.startswith("0 127.0.0.1 ")
    assert answer.stdout.endswith(f" 127.0.0.1 {PORT} a  $b\n")
    failed = alpha.run([*command, "false"], check=False)
    assert "'false' failed: exit code 1" in failed.stderr
