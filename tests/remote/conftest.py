"""Places for repositories: a local directory, a private SFTP server, a private S3 server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devops_snapshot.remote import Remote, connect

from .s3_server import S3Server, running_s3
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


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with an environment in which it is found."""
    for name, value in shared_s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return shared_s3


@pytest.fixture
def s3_url(s3: S3Server) -> str:
    """The URL of an empty prefix in a bucket."""
    return f"s3://{s3.new_bucket()}/some/prefix"


@pytest.fixture(params=["file", "sftp"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty directory, once for each kind of storage that has directories."""
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


@pytest.fixture(params=["file", "sftp", "s3"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty place, once for each kind of storage."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    if request.param == "sftp":
        sshd: Sshd = request.getfixturevalue("sshd")
        return sshd.url(sshd.new_directory(f"storage-{tmp_path.name}"))
    (tmp_path / "storage").mkdir()
    return f"file://{tmp_path / 'storage'}"
