"""Collection removes what no export needs, tells what it did, and refuses what it cannot judge."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, FormatError
from devops_snapshot.remote import Remote
from devops_snapshot.store import LayerKind, Repository, collect, delete_export, verify
from devops_snapshot.store.format.sealed import seal
from devops_snapshot.store.health.history import COLLECTION, last
from devops_snapshot.store.lease import hold_lease

from .model_world import Chunks, Stored, age, at_once, check, export
from .place import export as export_files
from .place import noise, objects


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A local directory; over SFTP all this happens in test_repack and test_deletion."""
    return f"file://{tmp_path / 'storage'}"


def size(directory: Path, *kinds: str) -> int:
    return sum(path.stat().st_size for path in objects(directory, *kinds))


@contextmanager
def replaced(path: Path, data: bytes) -> Iterator[None]:
    """Let an object have other content for a while."""
    before = path.read_bytes()
    path.write_bytes(data)
    yield
    path.write_bytes(before)


def with_feature(path: Path, kind: str) -> bytes:
    """The object as a later release may have written it."""
    line, _, body = path.read_bytes().partition(b"\n")
    head = json.loads(line)
    for member in ("magic", "version", "checksum", "body_size", "body_blake3"):
        head.pop(member, None)
    return seal(kind, {**head, "features": ["from-the-future"]}, body)


def test_an_empty_repository(repository: Repository, directory: Path) -> None:
    report = collect(repository, sleep=at_once)
    assert (report.packs, report.layers, report.freed, report.discarded) == (0, 0, 0, [])
    assert objects(directory, "leases", "condemned", "revoked") == []


def test_only_what_nobody_needs_goes(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1, 2, 3), (4,)], stored)
    other = export(remote, [(1, 2, 3), (5, 6)], stored)
    before = size(directory, "packs", "layers")
    assert collect(repository, sleep=at_once).freed == 0
    delete_export(repository, other)
    foreseen = collect(repository, dry_run=True)
    assert objects(directory, "deleted") != []
    report = collect(repository, sleep=at_once)
    assert (report.discarded, report.packs, report.layers) == ([other], 1, 1)
    assert report.freed == before - size(directory, "packs", "layers") == foreseen.freed
    assert (foreseen.discarded, foreseen.packs, foreseen.layers) == ([other], 1, 1)
    assert (report.waiting, report.waiting_for) == (0, [])
    assert objects(directory, "leases", "condemned", "deleted") == []
    check(remote, one, stored[one])
    event = last(remote, COLLECTION)
    assert event is not None
    assert event.facts["freed"] == report.freed


def test_a_dry_run_leaves_no_trace(repository: Repository, remote: Remote, directory: Path) -> None:
    delete_export(repository, export(remote, [(1,)], {}))
    before = {path: path.stat() for path in objects(directory)}
    assert collect(repository, dry_run=True).packs == 1
    assert {path: path.stat() for path in objects(directory)} == before


def test_who_is_at_work_is_waited_for(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1, 2)], stored)
    with repository.writing() as session:
        layer = session.add_layer(Chunks((1, 2)), kind=LayerKind.OVERLAY)
        delete_export(repository, one)
        report = collect(repository, sleep=at_once)
        assert (report.discarded, report.packs) == ([one], 0)
        (holder,) = report.waiting_for
        assert holder.purpose == "export"
        assert report.waiting == size(directory, "packs")
        again = collect(repository, sleep=at_once)
        assert (again.packs, again.waiting) == (0, report.waiting)
        session.publish(b"", {})
    assert session.stats.chunks_deduplicated == 2
    report = collect(repository, sleep=at_once)
    assert (report.packs, report.waiting) == (0, 0)
    assert objects(directory, "condemned") == []
    check(remote, session.export_id, Stored([(layer, (1, 2))]))


def test_waiting_until_they_have_ended(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    delete_export(repository, export(remote, [(1, 2)], {}))
    leases = repository.writing()
    leases.__enter__()
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            leases.__exit__(None, None, None)

    report = collect(repository, wait=True, sleep=nap)
    assert (report.packs, report.waiting, len(naps)) == (1, 0, 3)
    assert objects(directory, "packs", "condemned") == []


def test_nobody_relies_on_what_is_condemned(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    stored: dict[str, Stored] = {}
    delete_export(repository, export(remote, [(1, 2)], {}))
    with repository.writing():  # keeps the condemned from being removed
        assert collect(repository, sleep=at_once).waiting > 0
        again = export(remote, [(1, 2)], stored)
        assert len(objects(directory, "packs")) == 2
        assert len(objects(directory, "layers")) == 2
    report = collect(repository, sleep=at_once)
    assert (report.packs, report.layers) == (1, 1)
    check(remote, again, stored[again])


def test_an_import_keeps_what_it_reads(repository: Repository, remote: Remote) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1, 2)], stored)
    with repository.reading(one) as session:
        delete_export(repository, one)
        report = collect(repository, sleep=at_once)
        assert (report.discarded, report.waiting, report.packs) == ([], 0, 0)
        stored[one].check(session)
    assert collect(repository, sleep=at_once).discarded == [one]


def test_an_import_goes_on_although_its_layers_are_moved(
    repository: Repository, remote: Remote
) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1, 2, 3, 4, 5, 6, 7, 8)], stored)
    other = export(remote, [(1, 2)], stored)
    with repository.reading(other) as session:
        (layer, content) = stored[other].layers[0]
        reader = session.layer(layer)
        delete_export(repository, one)
        report = collect(repository, sleep=at_once)
        assert (report.repacked, report.packs) == (1, 0)
        assert report.waiting > 0
        assert Stored([(layer, content)]).check(session) is None
        assert len(reader.pread(0, reader.size)) == reader.size
    assert collect(repository, sleep=at_once).packs == 1
    check(remote, other, stored[other])


def test_two_at_once(repository: Repository, remote: Remote) -> None:
    with hold_lease(remote, {"purpose": "collect"}) as lease:
        naps = []

        def nap(_seconds: float) -> None:
            naps.append(1)
            lease.write(f"{lease.directory}/beat-{10 + len(naps)}", [b""])

        with pytest.raises(ConflictError, match=r"is at work already: collect on .* since 20"):
            collect(repository, sleep=nap)
        assert len(naps) == 1
    collect(repository, sleep=at_once)


def test_one_that_died_is_no_obstacle(repository: Repository, remote: Remote) -> None:
    """Its beat is fresh, but does not go on."""
    with hold_lease(remote, {"purpose": "collect"}) as lease:
        assert collect(repository, sleep=at_once).revoked == [lease.id]


def test_an_unfinished_export_of_a_dead_client_goes(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    with repository.writing() as session:
        session.add_layer(Chunks(tuple(range(20))), kind=LayerKind.OVERLAY)
        session._packs.finish()
        for path in (directory / "leases").rglob("*"):
            age(path, 3600)
        report = collect(repository, sleep=at_once)
        assert len(report.revoked) == report.packs == 1
    assert objects(directory, "packs", "leases", "revoked") == []


def test_damaged_exports_are_named(repository: Repository, remote: Remote, directory: Path) -> None:
    one = export(remote, [(1,)], {})
    other = export(remote, [(2,)], {})
    delete_export(repository, export(remote, [(3,)], {}))
    before = objects(directory, "packs", "layers")
    path = directory / "exports" / f"{one}.json"
    for data in (path.read_bytes()[:-1].replace(b"layers", b"lairs"), with_feature(path, "export")):
        with replaced(path, data), pytest.raises(FormatError, match=one) as caught:
            collect(repository, sleep=at_once)
        assert other not in str(caught.value)
        assert "Nothing was removed" in caught.value.hint
        assert objects(directory, "packs", "layers") == before
    with replaced(path, b"damaged"):
        delete_export(repository, one)
        assert collect(repository, sleep=at_once).packs > 0
        path.write_bytes(b"")
    path.unlink()


def test_exports_with_damaged_layers_are_named(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    one = export(remote, [(1,)], {})
    (path,) = objects(directory, "layers")
    other = export(remote, [(2,)], {})
    for data in (path.read_bytes()[:-1], with_feature(path, "layer")):
        with replaced(path, data), pytest.raises(FormatError, match=one) as caught:
            collect(repository, sleep=at_once)
        assert other not in str(caught.value)
    assert len(objects(directory, "packs", "layers")) == 4
    path.unlink()
    assert collect(repository, sleep=at_once).packs == 1  # a missing layer protects nothing


def test_features_that_are_not_known(remote: Remote, directory: Path) -> None:
    repository = Repository.initialise(remote)
    path = directory / "repository.json"
    head = json.loads(path.read_bytes())
    for action in ("collect", "write"):
        features = {"read": [], "write": [], "collect": [], action: ["from-the-future"]}
        fields = {"id": head["id"], "retention": head["retention"], "features": features}
        with (
            replaced(path, seal("repository", fields)),
            pytest.raises(FormatError, match=r"cannot be collected.* from-the-future"),
        ):
            collect(Repository.open(remote), sleep=at_once)
    collect(repository, sleep=at_once)


def test_a_damaged_epoch_is_begun_anew(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    delete_export(repository, export(remote, [(1, 2)], {}))
    with repository.writing():
        collect(repository, sleep=at_once)
    (path,) = (directory / "condemned").glob("*/objects.json")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="storage-collect"):
        export(remote, [(1,)], {})
    assert collect(repository, sleep=at_once).packs == 1
    assert objects(directory, "condemned", "packs") == []


def test_unknown_leases_protect_all_deleted_exports(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    one = export(remote, [(1,)], {})
    with repository.reading(one):
        delete_export(repository, one)
        (path,) = (directory / "leases").glob("*/lease.json")
        path.write_bytes(b"damaged")
        assert collect(repository, sleep=at_once).discarded == []
    assert collect(repository, sleep=at_once).discarded == [one]


def test_healed_layers_replace_damaged_ones(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    """Of several objects of a layer the one stays whose packs are all there."""
    stored: dict[str, Stored] = {}
    export(remote, [(1, 2)], stored)
    (pack,) = objects(directory, "packs")
    pack.unlink()
    export(remote, [(1, 2)], stored)
    assert len(objects(directory, "layers")) == 2
    report = collect(repository, sleep=at_once)
    assert (report.layers, report.packs) == (1, 0)
    for export_id, content in stored.items():
        check(remote, export_id, content)


def test_damaged_objects_stay_that_make_a_layer_together(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    """Each of two objects lies in a pack with another damaged frame: an import needs both."""
    data = noise(4 << 20)
    stored: set[Path] = set()
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        for damage_at in (500_000, 3_000_000):
            export_id, (layer,), _ = export_files(repository, Path(file.name))
            (pack,) = set(objects(directory, "packs")) - stored
            stored.add(pack)
            spoil(pack, damage_at)
            verify(repository, read_data=True)
        for _ in range(2):
            report = collect(repository, sleep=at_once)
            assert (report.layers, report.packs, report.repacked) == (0, 0, 0)
        with repository.reading(export_id) as session:
            assert session.layer(layer).pread(0, len(data)) == data
        export_files(repository, Path(file.name))
    report = collect(repository, sleep=at_once)  # the third object is whole: the others may go
    assert (report.layers, report.packs) == (2, 2)
    with repository.reading(export_id) as session:
        assert session.layer(layer).pread(0, len(data)) == data


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
