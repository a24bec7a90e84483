"""Exports that wait to be sent, of small files: no virtual machine is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from devops_snapshot.manifest import Manifest
from devops_snapshot.remote import connect
from devops_snapshot.spool import Draft, Job, Spool
from devops_snapshot.store import Repository, new_export_id
from tests.manifest.real import document, manifest_of
from tests.store.place import noise, restore


@dataclass(frozen=True)
class Host:
    """A host with a storage pool, a spool beside it, and a storage node.

    :param directory: of them all
    """

    directory: Path

    @property
    def pool(self) -> Path:
        return self.directory / "pool"

    @property
    def spool(self) -> Spool:
        return Spool(self.directory / "spool")

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    @property
    def storage(self) -> str:
        return f"file://{self.repository}"

    def make_files(self, seed: int, *, count: int = 3, size: int = 200_000) -> list[Path]:
        """Files of an environment, each of another content."""
        self.pool.mkdir(exist_ok=True)
        paths = [self.pool / f"{seed}_{number}" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(noise(size, 100 * seed + number))
        return paths

    def detach(
        self,
        paths: Sequence[Path],
        *,
        outcome: str = "",
        environment: str = "env",
        sealed: bool = True,
    ) -> Job:
        """What ``export-env --detach`` does once it knows the files."""
        manifest = _manifest(paths)

        def fill(draft: Draft) -> bytes:
            names = [str(path) for path in paths]
            draft.take(names, sealed=frozenset(names if sealed else ()))
            return manifest.to_json()

        job = Job(
            id=new_export_id(),
            directory=Path(),
            environment=environment,
            storage=self.storage,
            queued=datetime.now(timezone.utc),
            snapshots=("now",),
            size=sum(path.stat().st_size for path in paths),
            outcome=outcome,
        )
        return self.spool.add(job, fill)

    def exports(self) -> list[str]:
        """Ids of those that are on the storage node."""
        with connect(self.storage) as remote:
            return [entry.id for entry in Repository.open(remote).exports()]

    def content_of(self, export_id: str) -> list[bytes]:
        """The files of an export, as an import gets them."""
        target = self.directory / "restored"
        with (
            connect(self.storage) as remote,
            Repository.open(remote).reading(export_id) as session,
        ):
            manifest = Manifest.from_json(session.manifest)
            contents = []
            for file in manifest.files:
                contents.append(restore(session, file.layer, target).read_bytes())
                target.unlink()
        return contents

    def waiting(self) -> list[str]:
        """All that is in the spool but for receipts and locks, half made jobs included."""
        ours = {"receipts", "owners", "lock", "worker"}
        return [path.name for path in self.spool.directory.glob("*") if path.name not in ours]


def _manifest(paths: Sequence[Path]) -> Manifest:
    written = document()
    [template, *_] = written["files"]
    written["files"] = [
        {**template, "path": str(path), "size": path.stat().st_size, "layer": None}
        for path in paths
    ]
    return manifest_of(written)
