"""For how long exports are kept can be changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from devops_snapshot.errors import FormatError, StorageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import Repository, Retention, configure

from .place import objects

DAY = timedelta(days=1)


def test_a_new_repository(repository: Repository) -> None:
    assert repository.retention == Retention(keep=7 * DAY, min_age=2 * DAY)


def test_settings_are_changed_one_by_one(repository: Repository, remote: Remote) -> None:
    assert configure(repository, keep=30 * DAY) == Retention(30 * DAY, 2 * DAY)
    assert configure(repository, min_age=DAY / 2) == Retention(30 * DAY, DAY / 2)
    assert Repository.open(remote).retention == Retention(30 * DAY, DAY / 2)


def test_negative_times_are_refused(repository: Repository, directory: Path) -> None:
    with pytest.raises(StorageError, match="min_age cannot be -1 day, 0:00:00"):
        configure(repository, keep=DAY, min_age=-DAY)
    assert objects(directory, "settings") == []


def test_several_change_them_at_once(repository: Repository, url: str, directory: Path) -> None:
    def change(number: int) -> None:
        with connect(url) as remote:
            other = Repository.open(remote)
            if number % 2:
                configure(other, keep=number * DAY)
            else:
                configure(other, min_age=number * DAY)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(1, 7)))
    assert len(objects(directory, "settings")) == 6
    retention = repository.retention
    assert retention.keep in (DAY, 3 * DAY, 5 * DAY)
    assert retention.min_age in (2 * DAY, 4 * DAY, 6 * DAY)


def test_damaged_settings_are_named(repository: Repository, remote: Remote) -> None:
    configure(repository, keep=DAY)
    data = remote.read("settings/00000001.json")
    remote.remove("settings/00000001.json")
    remote.write("settings/00000001.json", [data[:-9]], staging="settings/x")
    with pytest.raises(FormatError, match=r"settings/00000001\.json is damaged"):
        _ = repository.retention


def test_damaged_settings_can_be_replaced(repository: Repository, directory: Path) -> None:
    configure(repository, keep=timedelta(days=3))
    (directory / "settings" / "00000001.json").write_text("x")
    with pytest.raises(FormatError, match="both --keep and --min-age writes new settings"):
        configure(repository, keep=timedelta(days=4))
    settings = configure(repository, keep=timedelta(days=4), min_age=timedelta(days=1))
    assert repository.retention == settings == Retention(timedelta(days=4), timedelta(days=1))
