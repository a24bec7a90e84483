"""What fails in the middle of an export or import ends it at once, with one clear line."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import connect
from devops_snapshot.store import Extent, FileSource, LayerKind, Repository
from tests.remote.sshd import Sshd, running_sshd

from .place import CHUNK, export, make_file, noise, objects, opened, restore
from .small_disk import fill, needs_root, small_file_system

pytestmark = pytest.mark.timeout(60)


class EndlessSource:
    """A gigabyte of noise that calls back on its way."""

    size = 16384 * CHUNK

    def __init__(self, at: int, call: threading.Event | None = None) -> None:
        self._at = at
        self.reached = call or threading.Event()
        self.go_on = threading.Event()

    def extents(self) -> list[Extent]:
        return [Extent(0, self.size)]

    def pread(self, offset: int, length: int) -> bytes:
        if offset >= self._at:
            self.reached.set()
            assert self.go_on.wait(30)
        return os.urandom(length)


@needs_root
@pytest.mark.parametrize("kind", ["file", "sftp"])
def test_a_full_storage_node_ends_an_export(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    small = sshd.new_directory(f"small-{tmp_path.name}")
    good = make_file(tmp_path / "good", CHUNK, {0: noise(CHUNK)})
    source = EndlessSource(at=1 << 60)
    url = sshd.url(small) if kind == "sftp" else f"file://{small}"
    with small_file_system(small, "20m"), connect(url) as remote:
        repository = Repository.open(remote, create=True)
        export_id, (layer,), _ = export(repository, good)
        with (
            pytest.raises(StorageError, match=f"No space left for {small}/leases/"),
            repository.writing() as session,
        ):
            session.add_layer(source, kind=LayerKind.OVERLAY)
        assert objects(small, "leases") == []
        with repository.reading(export_id) as reading:
            assert restore(reading, layer, tmp_path / "copy").read_bytes() == noise(CHUNK)
        small_one = make_file(tmp_path / "next", 1000, {0: noise(1000, seed=3)})
        export(repository, small_one)
        assert len(repository.exports()) == 2


@needs_root
def test_an_import_from_a_full_storage_node(sshd: Sshd, tmp_path: Path) -> None:
    small = sshd.new_directory(f"full-{tmp_path.name}")
    good = make_file(tmp_path / "good", CHUNK, {0: noise(CHUNK)})
    with small_file_system(small, "2m"), connect(sshd.url(small)) as remote:
        repository = Repository.open(remote, create=True)
        export_id, (layer,), _ = export(repository, good)
        fill(small / "filler")
        with repository.reading(export_id) as reading:
            assert restore(reading, layer, tmp_path / "copy").read_bytes() == noise(CHUNK)


@needs_root
def test_a_full_local_disk_ends_an_import(tmp_path: Path) -> None:
    file = make_file(tmp_path / "file", 5_000_000, {0: noise(5_000_000)})
    (tmp_path / "small").mkdir()
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), _ = export(repository, file)
        with small_file_system(tmp_path / "small", "2m"), repository.reading(export_id) as session:
            target = tmp_path / "small" / "copy"
            with pytest.raises(StorageError, match=f"No space left for {target}"):
                restore(session, layer, target)
            assert not target.exists()


def test_a_cut_connection_does_not_end_an_export(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tempfile.TemporaryDirectory(prefix="sshd-") as name, running_sshd(Path(name)) as sshd:
        monkeypatch.setenv("HOME", str(sshd.home))
        with connect(sshd.url()) as remote:
            repository = Repository.open(remote, create=True)
            source = EndlessSource(at=1000 * CHUNK)  # packs are on their way then
            source.size = 1500 * CHUNK

            def cut() -> None:
                assert source.reached.wait(30)
                sshd.cut_connections()
                source.go_on.set()

            cutting = threading.Thread(target=cut)
            cutting.start()
            with repository.writing() as session:
                layer = session.add_layer(source, kind=LayerKind.OVERLAY)
                session.publish(b"", {})
            cutting.join()
            assert "was lost; trying again" in caplog.text
            (entry,) = repository.exports()
            with repository.reading(entry.id) as reading:
                assert restore(reading, layer, tmp_path / "copy").stat().st_size == source.size


def test_a_revoked_lease_publishes_nothing(tmp_path: Path) -> None:
    file = make_file(tmp_path / "file", CHUNK, {0: noise(CHUNK)})
    root = tmp_path / "repository"
    with opened(root) as repository:
        with repository.writing() as session, FileSource.open(file) as source:
            session.add_layer(source, kind=LayerKind.BASE)
            (lease,) = (root / "leases").iterdir()
            lease.rename(root / "revoked")
            with pytest.raises(StorageError, match=f"Lease {lease.name} was revoked at file://"):
                session.publish(b"", {})
        assert repository.exports() == []
        assert objects(root, "packs", "layers", "exports") == []


def test_a_sink_that_fails_ends_an_import(tmp_path: Path) -> None:
    class FailingSink:
        def allocate(self, size: int) -> None:
            assert size == 5_000_000

        def pwrite(self, offset: int, data: bytes) -> None:
            raise StorageError(f"sink refuses {len(data)} bytes")

    file = make_file(tmp_path / "file", 5_000_000, {0: noise(5_000_000)})
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), _ = export(repository, file)
        with (
            repository.reading(export_id) as session,
            pytest.raises(StorageError, match="sink refuses"),
        ):
            session.restore(layer, FailingSink())
