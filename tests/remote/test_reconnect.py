"""SFTP over a network that breaks: operations go on, and nothing is done twice or guessed."""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError
from devops_snapshot.remote import Remote, connect, patience

from .network import Network, network_to
from .sshd import Sshd

MIB = 1024 * 1024
DATA = os.urandom(40 * MIB)


def blocks() -> Iterator[bytes]:
    for start in range(0, len(DATA), MIB):
        yield DATA[start : start + MIB]


@pytest.fixture
def network(sshd: Sshd) -> Iterator[Network]:
    with network_to(sshd.port) as network:
        known = sshd.known_hosts.read_text()
        host_key = known.split(" ", 1)[1]
        sshd.known_hosts.write_text(f"{known}[127.0.0.1]:{network.port} {host_key}")
        yield network
        sshd.known_hosts.write_text(known)


@pytest.fixture
def place(sshd: Sshd, tmp_path: Path) -> Path:
    """Where the storage lies on this machine."""
    return sshd.new_directory(f"storage-{tmp_path.name}")


@pytest.fixture
def remote(sshd: Sshd, network: Network, place: Path) -> Iterator[Remote]:
    with connect(f"sftp://{sshd.user}@127.0.0.1:{network.port}{place}") as remote:
        yield remote


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def without_answer(
    network: Network, operation: Callable[[], None], is_done: Callable[[], bool]
) -> Future[None]:
    """Begin an operation, wait until it has happened, and cut the network before it is told."""
    network.answers.clear()
    threads = ThreadPoolExecutor(1)
    future = threads.submit(operation)
    threads.shutdown(wait=False)
    await_true(is_done)
    time.sleep(0.1)
    return future


def end(network: Network) -> None:
    network.cut()
    network.answers.set()


def test_a_write_goes_on_where_it_was_cut(
    remote: Remote, network: Network, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network.cut_after = itertools.chain(iter([7 * MIB] * 6), itertools.repeat(1 << 60))
    network.cut()
    assert remote.write("object", blocks(), staging="unfinished") == len(DATA)
    assert (place / "object").read_bytes() == DATA
    assert names(place) == ["object"]
    assert network.connections >= 7
    assert network.sent < 1.6 * len(DATA)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) >= 6
    assert re.fullmatch(
        r"Connection to 127\.0\.0\.1 port \d+ was lost; trying again in 0 s",
        warnings[0].getMessage(),
    )


def test_sshd_is_killed_while_it_writes(remote: Remote, sshd: Sshd, place: Path) -> None:
    def data() -> Iterator[bytes]:
        for number, block in enumerate(blocks()):
            if number in (3, 20):
                sshd.cut_connections()
            yield block

    assert remote.write("object", data(), staging="unfinished") == len(DATA)
    assert (place / "object").read_bytes() == DATA


def test_a_read_is_repeated(remote: Remote, network: Network, place: Path) -> None:
    (place / "object").write_bytes(DATA)
    network.cut_after = iter([5 * MIB, 10 * MIB])
    network.cut()
    assert remote.read("object") == DATA
    assert network.connections == 4


def test_a_login_is_repeated(
    sshd: Sshd, network: Network, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was cut: while host keys, keys or SFTP were agreed upon."""
    monkeypatch.setattr(patience, "LOGIN_PAUSES", (0.0,))
    url = f"sftp://{sshd.user}@127.0.0.1:{network.port}{place}"
    step = 500  # bytes; a login takes some 7000
    for bytes_until_cut in itertools.count(random.randrange(1, step), step):
        network.cut_after = iter([bytes_until_cut])
        before = network.connections
        with connect(url) as remote:
            assert remote.stat("").is_directory
        if network.connections == before + 1:
            assert bytes_until_cut > 4000
            return


def test_many_threads_are_cut(remote: Remote, network: Network, place: Path) -> None:
    cutting = iter([4 * MIB, 1 << 60, 3 * MIB, 1 << 60, 6 * MIB])
    network.cut_after = cutting

    def write(number: int) -> None:
        remote.write(f"object-{number}", [DATA[number : 9 * MIB]], staging=f"unfinished-{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert [(place / f"object-{n}").read_bytes() for n in range(4)] == [
        DATA[n : 9 * MIB] for n in range(4)
    ]
    assert next(cutting, None) is None


def test_what_a_restarted_storage_node_forgot_is_noticed(
    remote: Remote, network: Network, place: Path
) -> None:
    """It had acknowledged data that was not on its disk yet."""

    def forget() -> None:
        if (place / "unfinished").exists():
            with (place / "unfinished").open("r+b") as file:
                file.seek(MIB)
                file.write(bytes(4096))

    network.cut_after = iter([20 * MIB])
    network.cut()
    network.on_cut = forget
    with pytest.raises(StorageError, match="unfinished arrived damaged"):
        remote.write("object", blocks(), staging="unfinished")
    assert names(place) == []


def test_a_lease_that_is_revoked_while_the_network_is_down(
    remote: Remote, network: Network, place: Path
) -> None:
    for directory in ("leases/L", "revoked", "packs"):
        remote.mkdir(directory)
    network.cut_after = iter([20 * MIB])
    network.cut()
    network.on_cut = lambda: (place / "leases/L").rename(place / "revoked/L")
    with pytest.raises(NotFoundError, match="leases/L/unfinished"):
        remote.write("packs/pack", blocks(), staging="leases/L/unfinished")
    assert names(place / "packs") == []
    assert names(place / "leases") == []


def test_a_rename_that_happened_is_not_repeated(
    remote: Remote, network: Network, place: Path
) -> None:
    (place / "a").write_bytes(b"x")
    future = without_answer(network, lambda: remote.rename("a", "b"), (place / "b").exists)
    end(network)
    future.result(10)
    assert names(place) == ["b"]


def test_a_rename_that_happened_half_is_completed(
    remote: Remote, network: Network, place: Path
) -> None:
    (place / "a").write_bytes(b"x")
    future = without_answer(network, lambda: remote.rename("a", "b"), (place / "b").exists)
    os.link(place / "b", place / "a")  # as if sshd was killed between link and unlink
    end(network)
    future.result(10)
    assert names(place) == ["b"]


def test_another_client_that_was_faster_is_a_conflict(
    remote: Remote, network: Network, place: Path
) -> None:
    (place / "a").write_bytes(b"ours")
    (place / "b").write_bytes(b"else")
    os.utime(place / "b", (time.time(), (place / "a").stat().st_mtime))
    sent = network.sent
    future = without_answer(network, lambda: remote.rename("a", "b"), lambda: network.sent > sent)
    end(network)
    with pytest.raises(ConflictError, match="b exists already"):
        future.result(10)
    assert (place / "b").read_bytes() == b"else"
    assert names(place) == ["a", "b"]


def test_a_removal_that_happened_is_not_repeated(
    remote: Remote, network: Network, place: Path
) -> None:
    (place / "a").write_bytes(b"x")
    future = without_answer(network, lambda: remote.remove("a"), lambda: not (place / "a").exists())
    end(network)
    future.result(10)
    with pytest.raises(NotFoundError):
        remote.remove("a")


def test_directories_and_listings_are_repeated(
    remote: Remote, network: Network, place: Path
) -> None:
    network.cut()
    remote.mkdir("a/b")
    network.cut()
    assert [entry.name for entry in remote.list("a")] == ["b"]
    network.cut()
    assert remote.stat("a/b").is_directory
    network.cut()
    assert remote.free_space()


def test_a_network_that_comes_back(
    remote: Remote, network: Network, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.2,) * 20)
    (place / "a").write_bytes(b"x")
    network.is_down = True
    network.cut()
    threading.Timer(1.0, setattr, (network, "is_down", False)).start()
    assert remote.read("a") == b"x"


def test_a_network_that_stays_away(
    remote: Remote, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 55 < sum(patience.PAUSES) < 65
    monkeypatch.setattr(patience, "PAUSES", (0.1, 0.2))
    network.is_down = True
    network.cut()
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"Cannot connect to 127\.0\.0\.1 port \d+: ") as caught:
        remote.stat("")
    assert "\n" not in str(caught.value)
    assert 0.2 < time.monotonic() - started < 5


def test_a_key_that_is_not_accepted_any_more_is_told_at_once(
    remote: Remote, network: Network, sshd: Sshd
) -> None:
    keys = sshd.directory / "authorized_keys"
    accepted = keys.read_text()
    keys.write_text("")
    network.cut()
    started = time.monotonic()
    try:
        with pytest.raises(StorageError, match="Authentication failed for user"):
            remote.stat("")
    finally:
        keys.write_text(accepted)
    assert time.monotonic() - started < 5
