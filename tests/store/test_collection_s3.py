"""Collection in a bucket, where nothing is really renamed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import (
    LayerKind,
    Repository,
    collect,
    delete_export,
    leases,
    plan_prune,
    undelete_export,
)

from .model_world import Chunks, Stored, at_once, check, export
from .turns import at_every_operation, dying_everywhere, let_die

CONTENT = tuple(range(20))


@pytest.fixture
def remote(s3_url: str) -> Iterator[Remote]:
    with connect(s3_url) as remote:
        yield remote


def names(remote: Remote, kind: str) -> set[str]:
    """The names of all objects of a kind."""
    found = set()
    for entry in remote.list(kind):
        found |= names(remote, f"{kind}/{entry.name}") if entry.is_directory else {entry.name}
    return found


def test_a_life_of_a_repository(remote: Remote) -> None:
    repository = Repository.initialise(remote)
    stored: dict[str, Stored] = {}
    old = export(remote, [CONTENT], stored)
    kept = export(remote, [CONTENT[:3], (100, 101)], stored)
    assert plan_prune(repository).expired == ()
    delete_export(repository, old)
    undelete_export(repository, old)
    check(remote, old, stored[old])
    delete_export(repository, old)
    report = collect(repository, sleep=at_once)
    assert (report.discarded, report.repacked, report.waiting) == ([old], 1, 0)
    assert names(remote, "condemned") == names(remote, "leases") == set()
    with pytest.raises(NotFoundError):
        undelete_export(repository, old)
    check(remote, kept, stored[kept])


def test_an_exporter_that_was_given_up_wakes_up(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository.initialise(remote)
    with repository.writing() as session:
        session.add_layer(Chunks(CONTENT), kind=LayerKind.OVERLAY)
        monkeypatch.setattr(leases, "_FRESH_SECONDS", -1)
        assert len(collect(repository, sleep=at_once).revoked) == 1
        with pytest.raises(StorageError, match="was revoked at s3://"):
            session.publish(b"", {})
    assert repository.exports() == []
    collect(repository, sleep=at_once)
    assert names(remote, "packs") == names(remote, "layers") == set()


def test_collection_while_an_undeletion_runs(remote: Remote) -> None:
    repository = Repository.initialise(remote)
    stored: dict[str, Stored] = {}

    def collect_now() -> None:
        collect(Repository.open(remote), sleep=at_once)

    for interrupted in at_every_operation(remote, collect_now, step=12):
        one = export(remote, [CONTENT], stored)
        delete_export(repository, one)
        try:
            undelete_export(Repository.open(interrupted), one)
        except (NotFoundError, StorageError) as error:
            # where no time passes, whoever has not beaten since is given up
            if not isinstance(error, NotFoundError) and "was revoked" not in str(error):
                raise
            assert one not in [entry.id for entry in repository.exports()]
        else:
            collect_now()
            check(remote, one, stored[one])
            delete_export(repository, one)


def test_a_collection_that_is_killed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.initialise(remote)
    stored: dict[str, Stored] = {}
    monkeypatch.setattr(leases, "_FRESH_SECONDS", -1)
    for dying in dying_everywhere(remote, step=120):
        dead = export(remote, [CONTENT], stored)
        kept = export(remote, [CONTENT[:3]], stored)
        delete_export(repository, dead)
        let_die(lambda dying=dying: collect(Repository.open(dying), sleep=at_once))  # type: ignore[misc]
        collect(repository, sleep=at_once)
        check(remote, kept, stored[kept])
        assert names(remote, "condemned") == names(remote, "deleted") == set()
        delete_export(repository, kept)
