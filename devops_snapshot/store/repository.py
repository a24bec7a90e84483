"""A repository on a storage node: its exports, and sessions that write and read them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError, StorageError
from devops_snapshot.remote import AccessError, Remote

from .cache import Cache
from .collection.condemned import Avoided, load_avoided
from .dedup.chunk_index import ChunkIndex
from .dedup.pack_indexes import PackIndexes
from .export_session import ExportSession
from .exports.catalogue import Catalogue
from .exports.retention import Retention, load_retention
from .format.envelope import Envelope, ExportEntry, decode_envelope
from .format.features import require_known
from .format.names import (
    DIRECTORIES,
    REPOSITORY,
    deleted_path,
    export_path,
    is_export_id,
    is_repository_id,
    new_export_id,
)
from .format.sealed import seal, unseal, well_formed
from .import_session import ImportSession
from .lease import hold_lease
from .reading.kept_frames import KeptFrames
from .writing.known_files import KnownFiles
from .writing.pack_set import PackSet

log = logging.getLogger(__name__)


class Repository:
    """Exports and the chunks that they share; from :meth:`initialise` or :meth:`open`.

    :ivar remote: where it lives
    :ivar cache: what this machine remembers of it
    :ivar catalogue: its exports
    :ivar indexes: of its packs
    """

    def __init__(self, remote: Remote, settings: dict[str, Any]) -> None:
        if not is_repository_id(settings["id"]):
            raise ValueError(f"{settings['id']!r} is no id of a repository")
        self.id: str = settings["id"]
        self.remote = remote
        self.cache = Cache(self.id)
        self.catalogue = Catalogue(remote, self.cache)
        self.indexes = PackIndexes(remote, self.cache)
        self._features = {
            action: [str(feature) for feature in settings["features"][action]]
            for action in ("read", "write", "collect")
        }
        self._initial_retention = Retention.decode(settings["retention"])

    @classmethod
    def initialise(cls, remote: Remote, retention: Retention | None = None) -> Repository:
        """Make an empty repository.

        :raises ConflictError: there is one already
        """
        _require_empty(remote)
        for directory in ("", *DIRECTORIES):
            remote.mkdir(directory)
        settings = seal(
            "repository",
            {
                "id": secrets.token_hex(16),
                "features": {"read": [], "write": [], "collect": []},
                "hash": "blake3-256",
                "retention": (retention or Retention()).encode(),
            },
        )
        try:
            remote.write(REPOSITORY, [settings], staging=f"{REPOSITORY}.{secrets.token_hex(8)}")
        except ConflictError as error:
            raise ConflictError(f"There is a repository at {remote.url} already") from error
        return cls.open(remote)

    @classmethod
    def open(cls, remote: Remote, *, create: bool = False) -> Repository:
        """Open a repository, and with ``create`` make one where there is none.

        :raises NotFoundError: there is none
        :raises FormatError: it is damaged, or needs a newer release
        """
        where = f"Repository {remote.url}"
        try:
            settings, _ = unseal("repository", remote.read(REPOSITORY), where)
        except NotFoundError as error:
            if not create:
                raise NotFoundError(
                    f"There is no repository at {remote.url}",
                    hint="Check the path; the first export to a storage node makes one",
                ) from error
            return cls._initialise_or_open(remote)
        with well_formed(where):
            require_known(settings["features"]["read"], where, "read")
            return cls(remote, settings)

    @property
    def retention(self) -> Retention:
        """The settings that count now, read from the storage node."""
        return load_retention(self.remote, self._initial_retention)

    def require_feature(self, action: str, participle: str) -> None:
        """Refuse what this release does not understand.

        :param action: ``write`` or ``collect``
        :raises FormatError: the repository needs a newer release for that
        """
        require_known(self._features[action], f"Repository {self.remote.url}", participle)

    def require_export(self, export_id: str) -> None:
        """Make sure that an export exists.

        :raises NotFoundError: it does not
        """
        if not is_export_id(export_id):
            raise self._unknown(export_id)
        try:
            self.remote.stat(export_path(export_id))
        except NotFoundError as error:
            raise self._unknown(export_id) from error

    def has_or_had(self, export_id: str) -> bool:
        """Whether an export exists, or is deleted and can still be brought back."""
        for path in (export_path(export_id), deleted_path(export_id), export_path(export_id)):
            with suppress(NotFoundError):
                self.remote.stat(path)
                return True
        return False

    def exports(self) -> list[ExportEntry]:
        """Return all readable exports, oldest first; others are named in a warning."""
        return self.catalogue.entries()

    def manifest(self, export_id: str) -> bytes:
        """Return the manifest of an export as it was given to ``publish``.

        :raises NotFoundError: there is no export with exactly that id
        :raises FormatError: it is damaged, or needs a newer release
        """
        return self._envelope(export_id).manifest

    @contextmanager
    def writing(
        self, related: Sequence[str] = (), *, export_id: str | None = None
    ) -> Iterator[ExportSession]:
        """Begin an export, which exists once its session's ``publish`` returns.

        :param related: ids of exports whose data it is likely to share, most alike first
        :param export_id: of :func:`new_export_id`, for one that may be begun more than once;
            otherwise it gets one now
        :raises FormatError: the repository needs a newer release to be written
        """
        self.require_feature("write", "written")
        with hold_lease(self.remote, {"purpose": "export"}) as lease:
            avoid = load_avoided(self.remote)
            index = ChunkIndex(self.remote, self.indexes, avoid=avoid.packs)
            index.load(related)
            known_files = KnownFiles(self.indexes)
            with closing(PackSet(lease, index)) as packs:
                yield ExportSession(
                    self.remote,
                    lease,
                    index,
                    packs,
                    export_id=export_id or new_export_id(lease.id),
                    avoid=avoid,
                    known_files=known_files,
                )
            self.catalogue.write_summary_if_many(lease)

    @contextmanager
    def reading(self, export_id: str, *, scratch: Path | None = None) -> Iterator[ImportSession]:
        """Begin an import; its lease keeps the export from being collected.

        :param scratch: a directory where much can be kept while the import lasts; otherwise that
            for temporary files
        :raises NotFoundError: there is no export with exactly that id
        """
        with self._reading_lease(export_id):
            avoid = self._avoided_if_known()
            envelope = self._envelope(export_id)
            with closing(KeptFrames(scratch or Path(gettempdir()))) as kept:
                yield ImportSession(self.remote, self.indexes, envelope, avoid=avoid, kept=kept)

    @classmethod
    def _initialise_or_open(cls, remote: Remote) -> Repository:
        try:
            return cls.initialise(remote)
        except ConflictError:  # another client was faster
            return cls.open(remote)

    @contextmanager
    def _reading_lease(self, export_id: str) -> Iterator[None]:
        """Hold a lease where this user may write; reading must work without."""
        with ExitStack() as stack:
            try:
                stack.enter_context(
                    hold_lease(self.remote, {"purpose": "import", "export": export_id})
                )
            except AccessError:
                log.info("%s is read-only: import without a lease", self.remote.url)
            except StorageError as error:  # a full disk must not stop an import
                log.warning("Import without a lease: %s", error)
            yield

    def _avoided_if_known(self) -> Avoided:
        """What is condemned is only to be preferred last by a reader, so damage stops nobody."""
        try:
            return load_avoided(self.remote)
        except FormatError as error:
            log.warning("%s", error)
            return Avoided()

    def _envelope(self, export_id: str) -> Envelope:
        if not is_export_id(export_id):
            raise self._unknown(export_id)
        path = export_path(export_id)
        try:
            data = self.remote.read(path)
        except NotFoundError as error:
            raise self._unknown(export_id) from error
        return decode_envelope(export_id, data, f"Export {path}")

    def _unknown(self, export_id: str) -> NotFoundError:
        return NotFoundError(
            f"There is no export {export_id!r} at {self.remote.url}",
            hint="List the exports to see their ids",
        )


def _require_empty(remote: Remote) -> None:
    """Hidden files and what an attempt that was cut short has left are no obstacle.

    :raises StorageError: naming what is there
    """
    ours = (*DIRECTORIES, REPOSITORY, "lost+found")
    found = sorted(
        entry.name for entry in remote.list("") if not entry.name.startswith((".", *ours))
    )
    if found:
        raise StorageError(
            f"{remote.url} is no repository, and not empty: it holds {found[0]!r}",
            hint="Name an empty or new directory",
        )
