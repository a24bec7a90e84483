"""Clocks of guests, set over SSH.

The guests are real SSH servers with a shell behind them, but ``date`` there is a script, since
the real one would set the clock of this machine.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import libvirt_qemu
import paramiko
import pytest
from django.conf import settings

from devops_snapshot.devops import timesync
from devops_snapshot.devops.libvirt import guest_agent
from devops_snapshot.devops.models import Environment
from devops_snapshot.errors import HypervisorError, NotFoundError
from devops_snapshot.shell import main

LOGIN, PASSWORD = "root", "r00tme"
RUNNING_DOMAIN = "6695eb01-f6a4-8304-79aa-97f2502e193f"  # libvirt's test driver comes with it
DATE = """\
#!/bin/sh
case "$*" in
"") cat {clock} ;;
"-u -s @"*) echo "${{3#@}}" > {clock} ;;
*) echo "date: invalid option: $*" >&2; exit 1 ;;
esac
"""
SERVICE = '#!/bin/sh\necho "{name} $*" >> {log}\n'


@dataclass
class Guest(paramiko.ServerInterface):
    """A guest's SSH server; commands find the programs of ``directory`` first."""

    directory: Path
    address: str
    password: str | None = PASSWORD
    key: paramiko.PKey | None = None
    logins: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.programs = self.directory / "bin"
        self.programs.mkdir(parents=True)
        self.log = self.directory / "log"
        self.clock = self.directory / "clock"
        self.clock.write_text("1000000000\n")
        self.program("date", DATE.format(clock=self.clock))
        for name in ("sh", "cat", "echo"):
            (self.programs / name).symlink_to(str(shutil.which(name)))

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    # What paramiko asks

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        return self._answer(username == LOGIN and password == self.password, "password")

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._answer(username == LOGIN and key == self.key, "key")

    def _answer(self, welcome: bool, how: str) -> int:
        if welcome:
            self.logins.append(how)
            return paramiko.AUTH_SUCCESSFUL
        return paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode())).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        # nothing of this machine is on its PATH
        done = subprocess.run(
            ["sh", "-c", command], env={"PATH": str(self.programs)}, capture_output=True
        )
        with suppress(OSError):  # whoever asked has gone
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
        channel.close()

    @contextmanager
    def serving(self, port: int) -> Iterator[None]:
        listener = socket.create_server((self.address, port))
        transports: list[paramiko.Transport] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # closed below
                transport = paramiko.Transport(connection)
                transport.add_server_key(HOST_KEY)
                transports.append(transport)
                try:
                    transport.start_server(server=self)
                except paramiko.SSHException:
                    continue  # the client went away

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
            for transport in transports:
                transport.close()


HOST_KEY = paramiko.RSAKey.generate(2048)


@dataclass
class Lab:
    """An environment of ``admin`` and two slaves, whose addresses are this machine's own."""

    environment: Environment
    guests: dict[str, Guest]


@pytest.fixture
def lab(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    # libvirt's test driver plays an agent, too; with a real one: tests/snapshot/test_quiesce.py
    monkeypatch.setattr(timesync, "read_clock", lambda _domain: None)
    port = free_port()
    environment = Environment.create("lab")
    group = environment.add_group(
        "default", "devops.driver.libvirt", connection_string="test:///default"
    )
    environment.add_address_pool("admin-pool", "127.77.0.0/24")
    group.add_l2_network_device("admin", address_pool="admin-pool")
    roles = {"admin": "fuel_master", "slave-01": "fuel_slave", "slave-02": "fuel_slave"}
    guests = {}
    with ExitStack() as stack:
        for name, role in roles.items():
            node = group.add_node(
                name,
                role=role,
                uuid=RUNNING_DOMAIN,
                ssh_port=port,
                interfaces=[{"label": "eth0", "l2_network_device": "admin"}],
            )
            address = node.get_ip_address_by_network_name("admin")
            guests[name] = Guest(tmp_path / name, address)
            stack.enter_context(guests[name].serving(port))
        yield Lab(environment, guests)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_now(text: str) -> bool:
    return abs(float(text) - time.time()) < 30


def test_all_clocks_are_set(lab: Lab) -> None:
    results = timesync.sync_time(lab.environment)
    assert [result.node_name for result in results] == ["admin", "slave-01", "slave-02"]
    for result in results:
        assert (result.before, result.error) == ("1000000000", "")
        assert is_now(result.after)
        assert is_now(lab.guests[result.node_name].clock.read_text())


def test_some_clocks_are_set(lab: Lab) -> None:
    assert [result.node_name for result in timesync.sync_time(lab.environment, ["slave-01"])] == [
        "slave-01"
    ]
    assert is_now(lab.guests["slave-01"].clock.read_text())
    assert lab.guests["slave-02"].clock.read_text() == "1000000000\n"
    results = timesync.sync_time(lab.environment, skip=["admin", "slave-01"])
    assert [result.node_name for result in results] == ["slave-02"]
    with pytest.raises(NotFoundError, match="Unknown node 'slave-09'"):
        timesync.sync_time(lab.environment, ["slave-09"])


def test_a_guest_that_cannot_be_reached_is_named_and_the_others_are_set(lab: Lab) -> None:
    node = lab.environment.get_node(name="slave-01")
    node.ssh_port = free_port()
    node.save()
    lab.guests["slave-02"].password = "other"
    admin, first, second = timesync.sync_time(lab.environment)
    assert (admin.error, is_now(admin.after)) == ("", True)
    assert first.error.startswith(f"no SSH to root@127.77.0.3:{node.ssh_port}: ")
    assert second.error.startswith("no SSH to root@127.77.0.4:")
    assert "Authentication failed" in second.error


def test_a_clock_that_cannot_be_set(lab: Lab) -> None:
    lab.guests["slave-01"].program("date", "#!/bin/sh\necho 'date: not permitted' >&2; exit 1\n")
    (result,) = timesync.sync_time(lab.environment, ["slave-01"])
    assert result.error == "setting the clock failed: date: not permitted"


def test_a_guest_that_says_more_than_anybody_reads(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guests are not trusted: neither with memory nor with time of this host."""
    monkeypatch.setattr(timesync, "COMMAND_TIMEOUT", 1.0)
    guest = lab.guests["slave-01"]
    (tmp_path / "much").write_bytes(b"\xff" * (5 * timesync.MOST_OUTPUT))
    guest.program("date", f"#!/bin/sh\ncat {tmp_path}/much\n")
    (result,) = timesync.sync_time(lab.environment, ["slave-01"])
    assert "the guest does not end: date" in result.error


def test_what_the_admin_node_takes_for_addresses(lab: Lab) -> None:
    lines = "lladdr\nx lladdr\nevil.example.org dev eth0 lladdr 64:00:00:00:00:01 REACHABLE"
    assert timesync._neighbours(f"{lines}\n192.0.2.7 dev eth0 lladdr AA:00 STALE") == {
        "aa:00": "192.0.2.7"
    }


@pytest.mark.parametrize("told", [None, "x", -1, 1 << 80, [], 1.5, float("nan")])
def test_an_agent_that_tells_no_time(monkeypatch: pytest.MonkeyPatch, told: object) -> None:
    answer = json.dumps({"return": told})
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", lambda *_: answer)
    with (
        closing(libvirt.open("test:///default")) as connection,
        pytest.raises(HypervisorError, match="the guest agent of test tells no time"),
    ):
        guest_agent.read_clock(connection.lookupByName("test"))


@pytest.mark.parametrize(
    ("programs", "called"),
    [
        (["systemctl"], "systemctl try-restart ntpd ntp ntpsec chronyd chrony systemd-timesyncd\n"),
        (["crm_resource", "crm", "systemctl"], "crm resource restart p_ntp\n"),
    ],
)
def test_what_keeps_the_time_in_the_guest_starts_again(
    lab: Lab, programs: list[str], called: str
) -> None:
    guest = lab.guests["slave-01"]
    for name in programs:
        guest.program(name, SERVICE.format(name=name, log=guest.log))
    (result,) = timesync.sync_time(lab.environment, ["slave-01"])
    assert result.error == ""
    assert guest.log.read_text().endswith(called)


def test_slaves_let_in_the_key_of_the_admin_node_where_it_says_they_are(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(tmp_path / "bootstrap.rsa"))
    monkeypatch.setattr(timesync, "ADMIN_KEYS", (f"{tmp_path}/id_rsa", f"{tmp_path}/bootstrap.rsa"))
    node = lab.environment.get_node(name="slave-02")
    interface = node.interfaces[0]
    interface.addresses.all().delete()
    slave = lab.guests["slave-02"]
    slave.password, slave.key = None, key
    neighbour = f"{slave.address} dev eth0 lladdr {interface.mac_address.upper()} REACHABLE"
    lab.guests["admin"].program("ip", f"#!/bin/sh\necho '192.0.2.1 dev eth0 FAILED\n{neighbour}'\n")
    (result,) = timesync.sync_time(lab.environment, ["slave-02"])
    assert result.error == ""
    assert slave.logins == ["key"]


def test_credentials_are_those_of_the_settings(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**settings.SSH_SLAVE_CREDENTIALS, "password": "s3same"}
    monkeypatch.setattr(settings, "SSH_SLAVE_CREDENTIALS", changed)
    admin, first, second = timesync.sync_time(lab.environment)
    assert (admin.error, bool(first.error), bool(second.error)) == ("", True, True)
    lab.guests["slave-01"].password = "s3same"
    (result,) = timesync.sync_time(lab.environment, ["slave-01"])
    assert result.error == ""


def test_the_command(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time-sync", "lab", "--skip-sync", "slave-01,slave-02"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Current time on 'admin' = 1000000000"
    assert is_now(second.removeprefix("New time on 'admin' = "))
    lab.guests["slave-02"].password = "other"
    assert main(["time-sync", "lab"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("New time on") == 2
    assert captured.err.startswith("Error: The clock was not set on slave-02 (no SSH to root@127")
    assert captured.err.count("\n") == 1
