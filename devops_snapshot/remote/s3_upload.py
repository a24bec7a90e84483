"""Creating an object in a bucket from a stream: exclusively, and in bounded memory.

It is one PUT, however large, since that is what stores with conditional writes agree on: the end of
a multipart upload is unconditional in Ceph 16, for one. A PUT needs all data at hand, to tell the
size and to repeat it, so a large object waits for that in a file.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from devops_snapshot.errors import ConflictError, StorageError

from .s3_errors import CONTESTED, EXISTS, MISSING, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITER = "writer"  # the metadata that tells who has written an object
_IN_MEMORY = 1024 * 1024  # bytes
_CONTESTED_PAUSES = (0.1, 0.4, 1.6)  # seconds


class Upload:
    """One object on its way.

    :param run: makes a request, again while the store cannot be reached
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        *,
        run: Callable[[str, Callable[[], Any]], Any],
    ) -> None:
        self._client = client
        self._run = run
        self._bucket = bucket
        self._key = key
        self._writer = secrets.token_hex(16)

    def send(self, data: Iterable[bytes], *, before_creation: Callable[[], None]) -> int:
        """Create the object, or leave nothing; return the number of bytes.

        :param before_creation: called when all data is at hand, to have the last word
        :raises ConflictError: there is an object of that name
        """
        with _at_hand(data) as content:
            size = content.tell()
            before_creation()
            self._run(self._key, lambda: self._create(content))
        return size

    def _create(self, content: IO[bytes]) -> None:
        """Create the object; one that is in the way may be ours, if an answer was lost."""
        for pause in (*_CONTESTED_PAUSES, None):
            try:
                self._put(content)
                return
            except ClientError as error:
                code = code_of(error)
                if code in CONTESTED and pause is not None:
                    time.sleep(pause)
                    continue
                if code not in EXISTS | CONTESTED:
                    raise
                if self._is_ours():
                    return
                raise ConflictError(f"s3://{self._bucket}/{self._key} exists already") from error

    def _put(self, content: IO[bytes]) -> None:
        content.seek(0)
        self._client.put_object(
            Bucket=self._bucket,
            Key=self._key,
            Body=content,
            IfNoneMatch="*",
            Metadata={WRITER: self._writer},
        )

    def _is_ours(self) -> bool:
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return found["Metadata"].get(WRITER) == self._writer


@contextmanager
def _at_hand(data: Iterable[bytes]) -> Iterator[IO[bytes]]:
    """Give a file with all of the data, at its end; a large one lies on this host's disk.

    :raises StorageError: it cannot be written
    """
    directory = os.environ.get("TMPDIR", "/var/tmp")  # /tmp is memory on many hosts
    with SpooledTemporaryFile(_IN_MEMORY, dir=directory) as file:
        for block in data:
            try:
                file.write(block)
            except OSError as error:
                raise StorageError(
                    f"Cannot write to {directory} on this host: {error.strerror}",
                    hint="Name a directory for data on its way to S3 with TMPDIR",
                ) from error
        yield file
