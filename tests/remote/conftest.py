"""Places for repositories: a local directory and a private SFTP server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devops_snapshot.remote import Remote, connect

from .sshd import Sshd, running_sshd


@pytest.fixture(scope="session")
def shared_sshd() -> Iterator[Sshd]:
    """One sshd for the run; its directories can be entered by every user."""
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as directory,
        running_sshd(Path(directory)) as sshd,
    ):
        yield sshd


@pytest.fixture
def sshd(shared_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The sshd, with a ``HOME`` from which one can log in."""
    monkeypatch.setenv("HOME", str(shared_sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return shared_sshd


@pytest.fixture(params=["file", "sftp"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty directory, once for each kind of storage."""
    if request.param == "file":
        return f"file://{tmp_path / 'storage'}"
    sshd: Sshd = request.getfixturevalue("sshd")
    return sshd.url(sshd.new_directory(f"storage-{tmp_path.name}"))


@pytest.fixture
def directory(url: str) -> Path:
    """Where :func:`url` lies on this machine."""
    path = Path("/" + url.split("://", 1)[1].split("/", 1)[1])
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def remote(url: str, directory: Path) -> Iterator[Remote]:
    with connect(url) as remote:
        yield remote
