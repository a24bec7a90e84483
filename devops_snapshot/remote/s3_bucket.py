"""The requests to one bucket: objects by their keys, boto's errors as the project's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devops_snapshot.errors import NotFoundError, StorageError

from .interface import require_moderate
from .patience import persistently
from .s3_errors import EXISTS, MISSING, clear_errors, code_of, no_credentials, not_s3
from .s3_upload import WRITER

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        HeadObjectOutputTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
    )

T = TypeVar("T")
_REVOKED = "revoked"  # the metadata of a tombstone
TOMBSTONE = b"This name is not to be used again.\n"
_READ_BLOCK = 1024 * 1024  # bytes
_CONFIG = Config(
    connect_timeout=20,
    read_timeout=120,
    retries={"mode": "standard", "total_max_attempts": 5},  # within seconds, then see Bucket.run
    max_pool_connections=16,
    tcp_keepalive=True,
    # the default would send checksums in a way that older stores refuse
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


@dataclass(frozen=True)
class Head:
    """What a store tells of an object.

    :param size: bytes
    :param modified: seconds since 1970 by the store's clock
    :param writer: a random name for the write that it comes from, empty if another program wrote it
    :param is_tombstone: whether it stands for a name that must not be used again
    """

    size: int
    modified: float
    etag: str
    writer: str
    is_tombstone: bool

    def is_copy_of(self, other: Head) -> bool:
        """Say whether both come from the same write."""
        if self.writer or other.writer:
            return self.writer == other.writer
        return (self.etag, self.size) == (other.etag, other.size)


class Bucket:
    """A bucket of an S3-compatible store, at the endpoint that boto3's usual places tell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = _client()

    @property
    def endpoint(self) -> str:
        return self.client.meta.endpoint_url

    def close(self) -> None:
        self.client.close()

    def run(self, key: str, request: Callable[[], T]) -> T:
        """Make a request, again for about a minute while the store cannot be reached.

        :param request: may be repeated when nobody knows whether it was carried out
        """

        def attempt() -> T:
            with self._clear_errors(key):
                return request()

        return persistently(attempt)

    def _clear_errors(self, key: str) -> AbstractContextManager[None]:
        return clear_errors(f"s3://{self.name}/{key}", self.name, self.endpoint)

    def check(self, prefix: str) -> None:
        """Make a request, so that what stands in the way is told at once."""
        with self._clear_errors(prefix):
            try:
                self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1)
            except ClientError as error:
                if code_of(error).isdigit():
                    raise not_s3(self.endpoint, error) from error
                raise

    def head(self, key: str) -> Head | None:
        """Describe an object; None if there is none."""

        def request() -> HeadObjectOutputTypeDef | None:
            try:
                return self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise

        found = self.run(key, request)
        return None if found is None else _head(found)

    def get(self, key: str, offset: int, length: int | None) -> bytes:
        """Return bytes of an object, fewer only where it ends; go on where a connection broke.

        :raises FormatError: all are wanted, and they are too many to be read as a whole
        """
        received = bytearray()

        def attempt() -> None:
            with self._clear_errors(key):
                self._receive(key, offset, length, received)

        persistently(attempt, progress=lambda: len(received))
        return bytes(received)

    def _receive(self, key: str, offset: int, length: int | None, received: bytearray) -> None:
        """Append to ``received`` what is missing there."""
        first = offset + len(received)
        if length is not None and len(received) >= length:
            return
        last = "" if length is None else offset + length - 1
        try:
            answer = self.client.get_object(
                Bucket=self.name, Key=key, Range=f"bytes={first}-{last}"
            )
        except ClientError as error:
            if code_of(error) in {"416", "InvalidRange"}:  # the object ends before
                return
            raise
        with closing(answer["Body"]) as body:
            if _REVOKED in answer["Metadata"]:
                raise NotFoundError(f"s3://{self.name}/{key} does not exist any more")
            for block in body.iter_chunks(_READ_BLOCK):  # perhaps without end, whatever was asked
                received += block
                if length is None:
                    require_moderate(len(received), f"s3://{self.name}/{key}")
                elif len(received) >= length:
                    del received[length:]
                    return

    def put_marker(self, key: str) -> None:
        """Make an empty object, unless there is one."""

        def request() -> None:
            with _passing_over(EXISTS):
                self.client.put_object(Bucket=self.name, Key=key, Body=b"", IfNoneMatch="*")

        self.run(key, request)

    def put_tombstone(self, key: str) -> None:
        """Replace whatever there may be by what counts as missing and is in the way of a write."""

        def request() -> None:
            self.client.put_object(
                Bucket=self.name, Key=key, Body=TOMBSTONE, Metadata={_REVOKED: "yes"}
            )

        self.run(key, request)

    def copy(self, source: str, target: str, etag: str) -> None:
        """Copy an object if it has this ETag and the target does not exist; look what came of it.

        :raises NotFoundError: there is no source
        """

        def request() -> None:
            with _passing_over(EXISTS):
                self.client.copy_object(
                    Bucket=self.name,
                    Key=target,
                    CopySource={"Bucket": self.name, "Key": source},
                    CopySourceIfMatch=etag,
                    IfNoneMatch="*",
                )

        self.run(source, request)

    def delete(self, key: str, *, etag: str = "") -> None:
        """Remove an object if it is there.

        :param etag: leave it if it has another ETag; some stores do not look
        """

        def request() -> None:
            with _passing_over(EXISTS | MISSING):
                if etag:
                    self.client.delete_object(Bucket=self.name, Key=key, IfMatch=etag)
                else:
                    self.client.delete_object(Bucket=self.name, Key=key)

        self.run(key, request)

    def pages(self, prefix: str, *, delimiter: str = "") -> Iterator[ListObjectsV2OutputTypeDef]:
        """Yield what a listing answers, page after page."""
        after = ""

        def request() -> ListObjectsV2OutputTypeDef:
            asked: ListObjectsV2RequestTypeDef = {"Bucket": self.name, "Prefix": prefix}
            if delimiter:
                asked["Delimiter"] = delimiter
            if after:
                asked["ContinuationToken"] = after
            return self.client.list_objects_v2(**asked)

        while True:
            page = self.run(prefix, request)
            yield page
            if not page["IsTruncated"]:
                return
            after = page["NextContinuationToken"]

    def keys(self, prefix: str) -> Iterator[str]:
        for page in self.pages(prefix):
            for item in page.get("Contents", ()):
                yield item["Key"]

    def any_key(self, prefix: str) -> bool:
        found = self.run(
            prefix,
            lambda: self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1),
        )
        return found["KeyCount"] > 0


@contextmanager
def _passing_over(codes: frozenset[str]) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) not in codes:
            raise


def _head(found: HeadObjectOutputTypeDef) -> Head:
    return Head(
        size=found["ContentLength"],
        modified=whole_seconds(found["LastModified"]),
        etag=found["ETag"],
        writer=found["Metadata"].get(WRITER, ""),
        is_tombstone=_REVOKED in found["Metadata"],
    )


def whole_seconds(time: datetime) -> float:
    """What HEAD tells; listings of some stores are more exact, and both are compared."""
    return time.replace(microsecond=0).timestamp()


def _client() -> S3Client:
    try:
        return boto3.session.Session().client("s3", config=_CONFIG)
    except ValueError as error:  # botocore: Invalid endpoint
        raise StorageError(
            f"{error}", hint="Write AWS_ENDPOINT_URL as https://host:port"
        ) from error
    except BotoCoreError as error:
        raise no_credentials(error) from error
