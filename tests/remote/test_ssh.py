"""Connecting: host keys, keys, configuration, and what is said when something is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import AccessError, connect, sftp_connection
from devops_snapshot.store import Repository

from .sshd import Sshd, make_key, running_sshd


@pytest.fixture
def new_home(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the ``HOME`` that can log in, to be spoilt."""
    shutil.copytree(sshd.home, tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def own_sshd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """An sshd for one test, which may do it harm."""
    with tempfile.TemporaryDirectory(prefix="sshd-") as name, running_sshd(Path(name)) as sshd:
        monkeypatch.setenv("HOME", str(sshd.home))
        yield sshd


@pytest.fixture
def read_only_sshd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as name,
        running_sshd(Path(name), command="internal-sftp -R") as sshd,
    ):
        monkeypatch.setenv("HOME", str(sshd.home))
        yield sshd


def failure(url: str) -> str:
    """Connect, and return the one line that says why that failed."""
    with pytest.raises(StorageError) as caught, connect(url):
        pass
    message = str(caught.value)
    assert "\n" not in message
    return message


def fingerprint(key: Path) -> str:
    shown = subprocess.check_output(["ssh-keygen", "-l", "-f", str(key)], text=True)
    return shown.split()[1]


def test_an_unknown_host_key_is_refused(sshd: Sshd, new_home: Path) -> None:
    (new_home / ".ssh" / "known_hosts").unlink()
    message = failure(sshd.url())
    assert f"Host key of [127.0.0.1]:{sshd.port} is unknown: ssh-ed25519 SHA256:" in message
    assert fingerprint(sshd.directory / "host_key.pub") in message
    command = f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> ~/.ssh/known_hosts"
    assert command in message
    env = os.environ | {"HOME": str(new_home)}
    subprocess.run(command, shell=True, check=True, env=env, stderr=subprocess.DEVNULL)
    with connect(sshd.url()) as remote:
        assert remote.stat("").is_directory


def test_a_changed_host_key_is_refused(sshd: Sshd, new_home: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (new_home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    message = failure(sshd.url())
    assert f"Host key of [127.0.0.1]:{sshd.port} has changed" in message
    assert fingerprint(sshd.directory / "host_key.pub") in message
    assert fingerprint(tmp_path / "other.pub") in message


def test_a_key_of_another_type_is_a_changed_key(sshd: Sshd, new_home: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other", "ecdsa")
    key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (new_home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    assert "has changed" in failure(sshd.url())


def test_a_wrong_user_key_is_named(sshd: Sshd, new_home: Path) -> None:
    for name in ("id_ed25519", "id_ed25519.pub"):
        (new_home / ".ssh" / name).unlink()
    make_key(new_home / ".ssh" / "id_ed25519")
    message = failure(sshd.url())
    assert f"Authentication failed for user {sshd.user} at 127.0.0.1 port {sshd.port}" in message
    assert str(new_home / ".ssh" / "id_ed25519") in message


def test_no_key_at_all(sshd: Sshd, new_home: Path) -> None:
    for name in ("id_ed25519", "id_ed25519.pub"):
        (new_home / ".ssh" / name).unlink()
    message = failure(sshd.url())
    assert f"Authentication failed for user {sshd.user}" in message
    assert "no key files" in message


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    message = failure(f"sftp://user@127.0.0.1:{port}/srv")
    assert f"Cannot connect to 127.0.0.1 port {port}: Connection refused" in message


def test_a_host_name_that_does_not_exist() -> None:
    message = failure("sftp://nowhere.invalid/srv")
    assert message.startswith("Cannot connect to nowhere.invalid port 22: ")
    assert "Errno" not in message


def test_something_else_than_ssh_listens() -> None:
    class Mail(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"220 mail.example.org ESMTP\r\n" * 200)

    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        message = failure(f"sftp://user@127.0.0.1:{port}/srv")
        server.shutdown()
    assert f"Cannot connect to 127.0.0.1 port {port}: " in message


def logging_in(sshd: Sshd) -> socket.socket:
    """A connection that takes the only place there is, before its user is known."""
    while True:
        other = socket.create_connection(("127.0.0.1", sshd.port))
        if other.recv(4) == b"SSH-":
            return other
        other.close()


def test_sshd_hangs_up_while_too_many_log_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as name,
        running_sshd(Path(name), startups="1") as sshd,
        logging_in(sshd) as other,
    ):
        monkeypatch.setenv("HOME", str(sshd.home))
        threading.Timer(1.0, other.shutdown, (socket.SHUT_RDWR,)).start()
        with connect(sshd.url()) as remote:
            assert remote.stat("").is_directory
        assert "MaxStartups" in (sshd.directory / "log").read_text()
        assert "trying again" in caplog.text


@pytest.mark.parametrize(
    "command",
    ["/usr/lib/openssh/sftp-server", "internal-sftp -z"],
    ids=["its shell says that the account is not available", "it hangs up"],
)
def test_logins_that_are_no_sftp(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as name,
        running_sshd(Path(name), command=command) as sshd,
    ):
        monkeypatch.setenv("HOME", str(sshd.home))
        message = failure(sshd.url())
        assert f"127.0.0.1 port {sshd.port} offers no SFTP to user {sshd.user}: " in message
        assert "Enable 'Subsystem sftp internal-sftp' in its sshd_config; a login that" in message


def test_the_ssh_configuration_is_used(sshd: Sshd, new_home: Path) -> None:
    ssh = new_home / ".ssh"
    (ssh / "id_ed25519").rename(ssh / "special")
    (ssh / "config").write_text(
        f"Host storage\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile ~/.ssh/special\n  UserKnownHostsFile {ssh}/elsewhere\n"
    )
    (ssh / "known_hosts").rename(ssh / "elsewhere")
    with connect(f"scp://storage{sshd.root}") as remote:
        assert remote.stat("").is_directory


def test_a_proxy_command_is_used(sshd: Sshd, new_home: Path) -> None:
    (new_home / "proxy.py").write_text(
        "import os, select, socket, sys\n"
        "peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "while True:\n"
        "    for ready in select.select([0, peer], [], [])[0]:\n"
        "        data = os.read(0, 65536) if ready == 0 else peer.recv(65536)\n"
        "        if not data:\n"
        "            sys.exit()\n"
        "        peer.sendall(data) if ready == 0 else os.write(1, data)\n"
    )
    (new_home / ".ssh" / "config").write_text(
        f"Host 127.0.0.1\n  ProxyCommand python3 {new_home}/proxy.py %p\n"
    )
    with connect(sshd.url()) as remote:
        assert remote.stat("").is_directory


def test_no_permission_is_named(sshd: Sshd, tmp_path: Path) -> None:
    closed = sshd.new_directory(f"closed-{tmp_path.name}")
    closed.chmod(0o500)
    if os.geteuid() == 0:
        os.chown(closed, 0, 0)
    with connect(sshd.url(closed)) as remote, pytest.raises(AccessError) as caught:
        Repository.initialise(remote)
    assert f"No permission for {closed}" in str(caught.value)
    assert f"as user {sshd.user}" in str(caught.value)


def test_no_repository_is_named(sshd: Sshd) -> None:
    url = sshd.url(sshd.root / "missing")
    with connect(url) as remote, pytest.raises(NotFoundError) as caught:
        Repository.open(remote)
    assert f"There is no repository at {url}" in str(caught.value)


@pytest.mark.parametrize("operation", ["read", "write", "stat"])
def test_a_connection_that_falls_silent_is_given_up(
    own_sshd: Sshd,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    operation: str,
) -> None:
    monkeypatch.setattr(sftp_connection, "SILENCE", 0.5)
    with connect(own_sshd.url()) as remote:
        remote.write("object", [b"x"], staging="unfinished")

        def data() -> Iterator[bytes]:
            yield b"x" * 1000
            own_sshd.silence_connections()
            yield b"x" * 50_000_000

        operations: dict[str, Callable[[], object]] = {
            "read": lambda: remote.read("object"),
            "stat": lambda: remote.stat("object"),
            "write": lambda: remote.write("other", data(), staging="unfinished"),
        }
        if operation != "write":
            own_sshd.silence_connections()
        started = time.monotonic()
        operations[operation]()
        assert 0.5 < time.monotonic() - started < 5
        assert f"Connection to 127.0.0.1 port {own_sshd.port} was lost" in caplog.text
        assert remote.read("object") == b"x"
        own_sshd.cut_connections()


def test_a_read_only_account_can_read(read_only_sshd: Sshd) -> None:
    (read_only_sshd.root / "object").write_bytes(b"x")
    with connect(read_only_sshd.url()) as remote:
        assert remote.read("object") == b"x"
        with pytest.raises(AccessError, match=r"No permission for .*/unfinished"):
            remote.write("other", [b"x"], staging="unfinished")


def encrypt(key: Path) -> None:
    command = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(key)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SSH agent that holds no key yet."""
    socket_path = tempfile.mktemp(prefix="agent-")  # a path in tmp_path is too long for a socket
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 10
        while not Path(socket_path).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.parametrize("config", ["", "IdentityFile ~/.ssh/id_ed25519\nIdentitiesOnly yes\n"])
def test_an_encrypted_key(sshd: Sshd, new_home: Path, agent: None, config: str) -> None:
    """It serves if an agent holds it; otherwise it is said what is missing."""
    key = new_home / ".ssh" / "id_ed25519"
    (new_home / ".ssh" / "config").write_text(config)
    subprocess.run(["ssh-add", "-q", str(key)], check=True)
    encrypt(key)
    with connect(sshd.url()) as remote:
        assert remote.stat("").is_directory
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    message = failure(sshd.url())
    assert f"Authentication failed for user {sshd.user}" in message
    assert f"{key} is encrypted, and no SSH agent holds it. Run" in message
    assert f"`ssh-add {key}`" in message


def test_an_agent_with_too_many_keys(sshd: Sshd, new_home: Path, agent: None) -> None:
    """sshd hangs up after six, and says why; that is no connection that was cut."""
    for number in range(7):
        make_key(new_home / f"key-{number}")
        subprocess.run(["ssh-add", "-q", str(new_home / f"key-{number}")], check=True)
    message = failure(sshd.url())
    assert f"Authentication failed for user {sshd.user}" in message
    assert "Too many authentication failures" in message


def test_an_encrypted_key_beside_a_wrong_one(sshd: Sshd, new_home: Path) -> None:
    """Whichever was tried last."""
    encrypt(new_home / ".ssh" / "id_ed25519")
    make_key(new_home / ".ssh" / "other")
    (new_home / ".ssh" / "config").write_text(
        "IdentityFile ~/.ssh/id_ed25519\nIdentityFile ~/.ssh/other\n"
    )
    assert f"{new_home}/.ssh/id_ed25519 is encrypted" in failure(sshd.url())


def test_a_key_that_is_none(sshd: Sshd, new_home: Path) -> None:
    """The host is reached, so nobody tries again, or is told to check the network."""
    (new_home / ".ssh" / "id_ed25519").write_text("no key\n")
    started = time.monotonic()
    message = failure(sshd.url())
    assert time.monotonic() - started < 3
    assert "Authentication failed" in message
    assert "not a valid" in message
