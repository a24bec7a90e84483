"""A storage node that is full, or takes permissions away: one clear line, and nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import AccessError, Remote, connect

from .sshd import Sshd

DATA = os.urandom(3_000_000)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount file systems")
needs_btrfs = pytest.mark.skipif(not shutil.which("mkfs.btrfs"), reason="needs btrfs-progs")


@pytest.fixture
def place(sshd: Sshd, tmp_path: Path) -> Path:
    return sshd.new_directory(f"small-{tmp_path.name}")


@pytest.fixture(params=["file", "sftp"])
def remote(request: pytest.FixtureRequest, sshd: Sshd, place: Path) -> Iterator[Remote]:
    with connect(sshd.url(place) if request.param == "sftp" else f"file://{place}") as remote:
        yield remote


@contextmanager
def mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *arguments, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk(remote: Remote, place: Path) -> None:
    with mounted(place, "-t", "tmpfs", "-o", "size=2m,mode=1777", "none"):
        with pytest.raises(StorageError, match=f"No space left for {place}/unfinished"):
            remote.write("object", [DATA], staging="unfinished")
        assert remote.list("") == []
        assert remote.write("object", [DATA[:1000]], staging="unfinished") == 1000


def test_a_disk_without_room_for_names(remote: Remote, place: Path) -> None:
    with mounted(place, "-t", "tmpfs", "-o", "size=64m,nr_inodes=4,mode=1777", "none"):
        for name in ("a", "b"):  # a link counts as well, and the root directory
            remote.write(name, [b"x"], staging="unfinished")
        with pytest.raises(StorageError, match=f"No space left for {place}"):
            remote.write("c", [b"x"], staging="unfinished")
        assert sorted(entry.name for entry in remote.list("")) == ["a", "b"]


@needs_btrfs
def test_a_quota(remote: Remote, place: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL)
    with mounted(place, "-o", "loop", image):
        subprocess.run(["btrfs", "quota", "enable", place], check=True)
        subprocess.run(["btrfs", "qgroup", "limit", "2M", place], check=True)
        place.chmod(0o1777)
        with pytest.raises(StorageError, match=r"(?i)quota") as caught:
            remote.write("object", [DATA], staging="unfinished")
        assert f"{place}/unfinished" in str(caught.value)
        assert remote.list("") == []


def test_a_file_system_that_becomes_read_only(remote: Remote, place: Path) -> None:
    with mounted(place, "-t", "tmpfs", "-o", "size=8m,mode=1777", "none"):
        remote.write("object", [DATA], staging="unfinished")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with pytest.raises((AccessError, StorageError), match=f"{place}/unfinished"):
            remote.write("other", [DATA], staging="unfinished")
        with pytest.raises((AccessError, StorageError), match=f"{place}/object"):
            remote.remove("object")
        assert remote.read("object") == DATA


def test_a_permission_that_is_lost_while_writing(sshd: Sshd, place: Path) -> None:
    closed = place / "packs"

    def data() -> Iterator[bytes]:
        yield DATA
        os.chown(closed, 0, 0)
        closed.chmod(0o555)
        yield DATA

    with connect(sshd.url(place)) as remote:
        remote.mkdir("packs")
        with pytest.raises(AccessError, match=f"No permission for {closed}/object .* as user"):
            remote.write("packs/object", data(), staging="unfinished")
        assert [entry.name for entry in remote.list("")] == ["packs"]


def test_a_permission_to_read_that_is_lost(sshd: Sshd, place: Path) -> None:
    with connect(sshd.url(place)) as remote:
        remote.write("object", [DATA], staging="unfinished")
        os.chown(place / "object", 0, 0)
        (place / "object").chmod(0o600)
        with pytest.raises(AccessError, match=f"No permission for {place}/object .* as user"):
            remote.read("object")
