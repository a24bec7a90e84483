"""A repository in a bucket: Amazon S3, Ceph RGW, MinIO and others that have conditional writes.

An object is the object of that key. A directory is there if a key begins with its name; one that
was made and is empty has a marker, an empty object whose key ends with a slash.

Objects cannot be renamed, so another name is a copy, and directories cannot be taken away from
under somebody: :meth:`S3Remote.revoke` puts tombstones instead, which stay for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from posixpath import basename, dirname

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .interface import Entry, moderately_many
from .s3_bucket import TOMBSTONE, Bucket, Head, whole_seconds
from .s3_upload import Upload
from .url import Location

_PUBLISHED = "manifest"  # the name in a directory that is renamed to publish something


class S3Remote:
    """The operations of :class:`~devops_snapshot.remote.Remote` on a bucket."""

    rename_is_move = False

    def __init__(self, location: Location) -> None:
        self._location = location
        self._root = location.path.strip("/")
        self._bucket = Bucket(location.host)

    @property
    def url(self) -> str:
        return str(self._location)

    def check(self) -> None:
        """Connect once, so that what stands in the way is told at once."""
        self._bucket.check(self._prefix(""))

    def close(self) -> None:
        self._bucket.close()

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            self.stat(path)
            return b""
        return self._bucket.get(self._key(path), offset, length)

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        bucket = self._bucket
        upload = Upload(bucket.client, bucket.name, self._key(path), run=bucket.run)
        return upload.send(
            data, before_creation=lambda: self._require_not_revoked(dirname(staging))
        )

    def rename(self, source: str, target: str) -> None:
        head = self._head(source)
        if head is not None:
            self._require_not_revoked(dirname(target))
            self._rename_object(source, target, head)
            return
        if not self._bucket.any_key(self._prefix(source)) or self._is_revoked(source):
            raise self._missing(source)
        if self._bucket.any_key(self._prefix(target)):
            raise ConflictError(f"{self._url(target)} exists already")
        self._move_objects(source, target)

    def revoke(self, directory: str, target: str) -> None:
        """See :class:`~devops_snapshot.remote.Remote`; may be repeated if it was cut short.

        The first tombstone is in the way of writing the object to be published, and of copying it.
        The last one, with the name of the directory itself, hides from listings what remains there.
        """
        hidden = self._bucket.head(self._key(directory))
        if hidden is not None or not self._bucket.any_key(self._prefix(directory)):
            raise self._missing(directory)
        self._bucket.put_tombstone(self._key(f"{directory}/{_PUBLISHED}"))
        self._move_objects(directory, target)
        self._bucket.put_tombstone(self._key(directory))

    def list(self, path: str) -> list[Entry]:
        named = (entry for entry in self._entries(path) if entry.name)  # a marker has none
        found = list(moderately_many(named, self._url(path)))
        objects = {entry.name: entry for entry in found if not entry.is_directory}
        directories = {entry.name for entry in found if entry.is_directory}
        revoked = directories & objects.keys()
        if self._is_tombstone(path, objects.get(_PUBLISHED)):
            revoked.add(_PUBLISHED)
        shown = [_directory(name) for name in directories] + list(objects.values())
        return [entry for entry in shown if entry.name not in revoked]

    def _entries(self, path: str) -> Iterator[Entry]:
        """What a listing says, also of a directory that was revoked."""
        prefix = self._prefix(path)
        for page in self._bucket.pages(prefix, delimiter="/"):
            for item in page.get("Contents", ()):
                name, modified = item["Key"][len(prefix) :], whole_seconds(item["LastModified"])
                yield Entry(name, item["Size"], modified, is_directory=False)
            for common in page.get("CommonPrefixes", ()):
                yield _directory(common["Prefix"][len(prefix) : -1])

    def stat(self, path: str) -> Entry:
        head = self._head(path)
        if head is not None:
            return Entry(basename(path), head.size, head.modified, is_directory=False)
        if path and (not self._bucket.any_key(self._prefix(path)) or self._is_revoked(path)):
            raise self._missing(path)
        return _directory(basename(path))

    def remove(self, path: str) -> None:
        if self._head(path) is not None:
            self._bucket.delete(self._key(path))
            return
        if not self.stat(path).is_directory:
            raise self._missing(path)
        marker = self._prefix(path)
        if any(key != marker for key in islice(self._bucket.keys(marker), 2)):
            raise StorageError(f"{self._url(path)} is not empty")
        self._bucket.delete(marker)

    def mkdir(self, path: str) -> None:
        if path and not self._bucket.any_key(self._prefix(path)):
            self._bucket.put_marker(self._prefix(path))

    def free_space(self) -> None:
        """Nobody knows."""

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    def _prefix(self, path: str) -> str:
        """With what the keys of all that is in a directory begin."""
        key = self._key(path).rstrip("/")
        return f"{key}/" if key else ""

    def _url(self, path: str) -> str:
        return f"s3://{self._bucket.name}/{self._key(path)}"

    def _missing(self, path: str) -> NotFoundError:
        return NotFoundError(f"{self._url(path)} does not exist")

    def _head(self, path: str) -> Head | None:
        head = self._bucket.head(self._key(path)) if path else None
        return None if head is None or head.is_tombstone else head

    def _is_revoked(self, directory: str) -> bool:
        head = self._bucket.head(self._key(f"{directory}/{_PUBLISHED}"))
        return head is not None and head.is_tombstone

    def _require_not_revoked(self, directory: str) -> None:
        if directory and self._is_revoked(directory):
            raise self._missing(directory)

    def _is_tombstone(self, path: str, entry: Entry | None) -> bool:
        return entry is not None and entry.size == len(TOMBSTONE) and self._is_revoked(path)

    def _rename_object(self, source: str, target: str, head: Head) -> None:
        """Copy, and remove the source; complete what was cut short between the two."""
        if self._head(target) is None:
            self._bucket.copy(self._key(source), self._key(target), head.etag)
        copy = self._bucket.head(self._key(target))
        if copy is None:  # the source is not the same any more
            raise self._missing(source)
        if copy.is_tombstone or (copy.is_copy_of(head) and self._is_revoked(dirname(source))):
            self._bucket.delete(self._key(target))  # who revoked may have looked before it came
            raise self._missing(source)
        if not copy.is_copy_of(head):
            raise ConflictError(f"{self._url(target)} exists already")
        self._bucket.delete(self._key(source), etag=head.etag)

    def _move_objects(self, source: str, target: str) -> None:
        """Move what is in a directory; what somebody else moves meanwhile does not matter."""
        old, new = self._prefix(source), self._prefix(target)
        for key in self._bucket.keys(old):
            with suppress(NotFoundError):
                head = self._bucket.head(key)
                if head is not None and not head.is_tombstone:
                    self._bucket.copy(key, new + key[len(old) :], head.etag)
                    self._bucket.delete(key)


def _directory(name: str) -> Entry:
    """S3 knows no times of directories."""
    return Entry(name, 0, 0.0, is_directory=True)
