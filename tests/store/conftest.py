"""Repositories on each kind of storage, with a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from devops_snapshot.remote import Remote
from devops_snapshot.store import Repository
from tests.remote.conftest import directory, remote, s3, s3_url, shared_s3, shared_sshd, sshd, url

__all__ = ["directory", "remote", "s3", "s3_url", "shared_s3", "shared_sshd", "sshd", "url"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's clients remember packs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def repository(remote: Remote) -> Repository:
    return Repository.initialise(remote)
