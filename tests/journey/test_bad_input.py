"""What a user can get wrong: one clear line each, an exit code, and nothing half-made."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed import Bed

from .scenario import Place


@pytest.fixture(scope="module")
def alpha(bed: Bed) -> Iterator[Place]:
    """A host with an environment that is off."""
    place = Place(bed.host("alpha"))
    place.create(boot=False)
    bed.storage()
    yield place
    bed.clean()


@pytest.fixture
def storage(alpha: Place, tmp_path: Path) -> str:
    return f"file://{alpha.host.home}/{tmp_path.name}"


def test_unknown_environment_names_the_database(alpha: Place, storage: str) -> None:
    code, line = alpha.refused("export-env", "nobody", "--storage", storage)
    assert code == 3
    assert "'nobody'" in line
    assert ".devops" in line


def test_unknown_snapshot(alpha: Place, storage: str) -> None:
    for command in ("revert", "revert-resume", "snapshot-delete"):
        code, line = alpha.refused(command, "trip", "nothing")
        assert code == 3
        assert "'nothing'" in line
    code, line = alpha.refused("export-env", "trip", "--snapshot", "no,thing", "--storage", storage)
    assert code == 3
    assert "'no'" in line
    assert "snapshot-list trip" in line
    assert not Path(storage.removeprefix("file://")).exists()  # no repository was made in vain


@pytest.mark.parametrize("name", [".hidden", "a/b", "n" * 252, "two\nlines"])
def test_snapshot_names_that_libvirt_would_refuse_too_late(alpha: Place, name: str) -> None:
    pool = sorted(alpha.host.pool_dir.iterdir())
    alpha.refused("snapshot", "trip", name)
    assert sorted(alpha.host.pool_dir.iterdir()) == pool


def test_a_snapshot_name_that_is_taken(alpha: Place) -> None:
    alpha.dos("snapshot", "trip", "taken")
    pool = sorted(alpha.host.pool_dir.iterdir())
    code, line = alpha.refused("snapshot", "trip", "taken")
    assert code == 4
    assert "'taken'" in line
    assert sorted(alpha.host.pool_dir.iterdir()) == pool


@pytest.mark.parametrize("names", ["", ","])
def test_an_empty_choice_of_snapshots(alpha: Place, storage: str, names: str) -> None:
    """As of a variable in a script that was never set."""
    before = alpha.snapshots()
    _, line = alpha.refused("export-env", "trip", "--snapshot", names, "--storage", storage)
    assert "names no snapshot" in line
    assert alpha.snapshots() == before


def test_a_directory_that_holds_something_else(alpha: Place, storage: str) -> None:
    directory = Path(storage.removeprefix("file://"))
    directory.mkdir()
    (directory / "thesis.tex").touch()
    for snapshot in ((), ("--definitions-only",)):
        code, line = alpha.refused("export-env", "trip", *snapshot, "--storage", storage)
        assert code == 6
        assert "'thesis.tex'" in line
    assert [path.name for path in directory.iterdir()] == ["thesis.tex"]


def test_only_one_command_changes_an_environment(alpha: Place, storage: str) -> None:
    with (alpha.host.home / ".devops/locks/trip").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ("snapshot", "trip", "second"),
            ("revert", "trip", "second"),
            ("erase", "trip"),
            ("start", "trip"),
            ("export-env", "trip", "--storage", storage),
        ):
            code, line = alpha.refused(*command)
            assert code == 4
            assert "another command is changing environment 'trip'" in line
    assert "second" not in alpha.snapshots()


def test_unknown_export(alpha: Place, storage: str) -> None:
    alpha.dos("export-env", "trip", "--definitions-only", "--storage", storage)
    for wanted in ("20200101", "latest:nobody"):
        code, line = alpha.refused("import-env", wanted, "--storage", storage)
        assert code == 3
        assert wanted.removeprefix("latest:") in line
    code, line = alpha.refused("import-env", "2", "--storage", storage + "-none")
    assert code == 3
    assert "no repository" in line


def test_an_ambiguous_beginning_of_an_id(alpha: Place, storage: str) -> None:
    for _ in range(2):
        alpha.dos("export-env", "trip", "--definitions-only", "--storage", storage)
    _, line = alpha.refused("show-export", "20", "--storage", storage)
    assert "any of 2 exports" in line


def test_storage_that_cannot_be_reached(alpha: Place) -> None:
    url = "sftp://devops@198.51.100.1:9/srv/devops"
    code, line = alpha.refused("export-env", "trip", "--storage", url)
    assert code == 6
    assert "198.51.100.1" in line
    assert recorded_errors(alpha)[-1] in line  # the record says the same
    assert not any(name.startswith("export-") for name in alpha.snapshots())


def recorded_errors(place: Place) -> list[str]:
    """Errors of failed exports, oldest first."""
    [database] = (place.host.home / ".devops").glob("*.sqlite3")
    with sqlite3.connect(database) as connection:
        query = "SELECT error FROM devops_snapshot_export WHERE state = 'failed' ORDER BY id"
        return [row[0] for row in connection.execute(query)]


def test_unknown_host_key(alpha: Place, bed: Bed) -> None:
    known_hosts = alpha.host.home / ".ssh/known_hosts"
    kept = known_hosts.read_text()
    known_hosts.write_text("")
    try:
        code, line = alpha.refused("export-env", "trip", "--storage", bed.storage().url)
    finally:
        known_hosts.write_text(kept)
    assert code == 6
    assert "SHA256:" in line
    assert "known_hosts" in line


def test_no_permission_on_the_storage_node(alpha: Place, bed: Bed) -> None:
    url = bed.storage().url.removesuffix("srv/devops") + "etc/devops"
    code, line = alpha.refused("export-env", "trip", "--storage", url)
    assert code == 6
    assert "/etc/devops" in line


@pytest.mark.parametrize("url", ["ftp://storage/srv", "sftp://storage", "nonsense", "file://"])
def test_urls_that_make_no_sense(alpha: Place, url: str) -> None:
    _, line = alpha.refused("list-exports", "--storage", url)
    assert url in line


def test_a_pool_that_is_not_there(alpha: Place, storage: str) -> None:
    alpha.dos("export-env", "trip", "--definitions-only", "--storage", storage)
    arguments = ("import-env", "latest", "--storage", storage, "--pool", "swimming")
    code, line = alpha.refused(*arguments)
    assert code == 3
    assert "'swimming'" in line
    assert "default" in line


def test_an_environment_that_is_there_already(alpha: Place, storage: str) -> None:
    alpha.dos("export-env", "trip", "--storage", storage)
    pool = sorted(alpha.host.pool_dir.iterdir())
    code, line = alpha.refused("import-env", "latest", "--storage", storage)
    assert code == 4
    assert "'trip'" in line
    assert "erase" in line
    assert sorted(alpha.host.pool_dir.iterdir()) == pool


def test_everything_in_the_way_is_told_at_once(alpha: Place, storage: str) -> None:
    """The rows are gone, but libvirt still has the rest."""
    alpha.dos("export-env", "trip", "--storage", storage)
    home = alpha.host.home / ".devops"
    shutil.move(home, home.with_name("aside"))
    try:
        code, line = alpha.refused("import-env", "latest", "--storage", storage)
    finally:
        shutil.rmtree(home)
        shutil.move(home.with_name("aside"), home)
    assert code == 4
    for what in ("domain 'trip_node-1'", "network 'trip_admin'", "a file", "--dry-run"):
        assert what in line
    assert "With '--name NEW --isolated' it can come" in line


def test_a_damaged_manifest(alpha: Place, storage: str) -> None:
    alpha.dos("export-env", "trip", "--definitions-only", "--storage", storage)
    [manifest] = (Path(storage.removeprefix("file://")) / "exports").iterdir()
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b"trip", b"tr1p"))
    code, line = alpha.refused("import-env", manifest.stem, "--storage", storage)
    assert code == 7
    assert manifest.stem in line
    assert "damaged" in line
