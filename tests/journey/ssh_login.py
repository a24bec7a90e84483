"""A host whose libvirt is reached by SSH, with keys that are made for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.bed import Host

START_TIMEOUT = 15.0  # seconds
CONFIG = """\
ListenAddress {address}:22
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


SSH = """\
#!/bin/sh
exec /usr/bin/ssh -o UserKnownHostsFile={keys}/known_hosts "$@"
"""


def open_to_ssh(host: Host, keys: Path) -> str:
    """Start sshd there; returns libvirt's URI for a client that has the directory ``keys``.

    In that there is also an ``ssh`` which knows the host, for the client's ``PATH``. The sshd ends
    with the host, which has an address in the bed's own network.
    """
    server = host.directory / "ssh"
    for directory, name in ((server, "host_key"), (keys, "user_key")):
        directory.mkdir()
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    shutil.copy(keys / "user_key.pub", server)
    address = _address(host)
    key_type, key, *_ = (server / "host_key.pub").read_text().split()
    (keys / "known_hosts").write_text(f"{address} {key_type} {key}\n")
    ssh = keys / "ssh"
    ssh.write_text(SSH.format(keys=keys))
    ssh.chmod(0o755)
    config, log = server / "config", server / "log"
    config.write_text(CONFIG.format(address=address, directory=server))
    host.run(["mkdir", "-p", "/run/sshd"])
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    host.compartment.daemon(command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, log=log)
    deadline = time.monotonic() + START_TIMEOUT
    while "Server listening" not in log.read_text():
        if time.monotonic() > deadline:
            raise RuntimeError(f"sshd did not start: {log.read_text()}")
        time.sleep(0.02)
    return f"qemu+ssh://root@{address}/system?keyfile={keys}/user_key&no_tty=1"


def _address(host: Host) -> str:
    command = ["ip", "-json", "-4", "address", "show", "dev", "uplink"]
    told: list[dict[str, Any]] = json.loads(host.run(command).stdout)
    return str(told[0]["addr_info"][0]["local"])
