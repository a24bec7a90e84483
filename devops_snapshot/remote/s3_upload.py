"""Creating an object in a bucket from a stream: exclusively, and in bounded memory."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from devops_snapshot.errors import ConflictError

from .s3_errors import CONTESTED, EXISTS, MISSING, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

T = TypeVar("T")
WRITER = "writer"  # the metadata that tells who has written an object
PART_SIZE = 8 * 1024 * 1024  # bytes; at most 10,000 parts make an object
_UNDER_WAY = 3  # parts of one object
_CONTESTED_PAUSES = (0.1, 0.4, 1.6)  # seconds


class Upload:
    """One object on its way.

    :param threads: run the requests for parts
    :param run: makes a request, again while the store cannot be reached
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        *,
        threads: Executor,
        run: Callable[[str, Callable[[], Any]], Any],
    ) -> None:
        self._client = client
        self._repeating = run
        self._bucket = bucket
        self._key = key
        self._threads = threads
        self._writer = secrets.token_hex(16)

    def send(self, data: Iterable[bytes], *, before_creation: Callable[[], None]) -> int:
        """Create the object, or leave nothing; return the number of bytes.

        :param before_creation: called when all data has arrived, to have the last word
        :raises ConflictError: there is an object of that name
        """
        parts = _regroup(data)
        head = deque(islice(parts, 2))
        if len(head) == 2:
            return self._send_parts(chain(_drain(head), parts), before_creation)
        content = head.pop() if head else b""
        before_creation()
        self._put(content)
        return len(content)

    def _run(self, request: Callable[[], T]) -> T:
        answer: T = self._repeating(self._key, request)
        return answer

    def _put(self, content: bytes) -> None:
        self._create(
            lambda: self._client.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=content,
                IfNoneMatch="*",
                Metadata={WRITER: self._writer},
            )
        )

    def _send_parts(self, contents: Iterable[bytes], before_creation: Callable[[], None]) -> int:
        upload_id = self._run(self._start)
        try:
            size, parts = self._send_in_parallel(upload_id, contents)
            before_creation()
            self._create(
                lambda: self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self._key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
            )
        except BaseException:
            self._abort(upload_id)
            raise
        return size

    def _start(self) -> str:
        started = self._client.create_multipart_upload(
            Bucket=self._bucket, Key=self._key, Metadata={WRITER: self._writer}
        )
        return started["UploadId"]

    def _abort(self, upload_id: str) -> None:
        with suppress(ClientError, BotoCoreError):  # there is an error to be told already
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=upload_id
            )

    def _send_in_parallel(
        self, upload_id: str, contents: Iterable[bytes]
    ) -> tuple[int, list[CompletedPartTypeDef]]:
        size = 0
        parts: list[CompletedPartTypeDef] = []
        under_way: deque[Future[CompletedPartTypeDef]] = deque()
        try:
            for number, content in enumerate(contents, 1):
                size += len(content)
                if len(under_way) >= _UNDER_WAY:
                    parts.append(under_way.popleft().result())
                under_way.append(self._threads.submit(self._send_part, upload_id, number, content))
            while under_way:
                parts.append(under_way.popleft().result())
        finally:
            for future in under_way:  # a part that arrives after the abort would stay for ever
                if not future.cancel():
                    future.exception()
        return size, parts

    def _send_part(self, upload_id: str, number: int, content: bytes) -> CompletedPartTypeDef:
        answer = self._run(
            lambda: self._client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=upload_id,
                PartNumber=number,
                Body=content,
            )
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _create(self, request: Callable[[], object]) -> None:
        self._run(lambda: self._create_or_recognise(request))

    def _create_or_recognise(self, request: Callable[[], object]) -> None:
        """Make the request that creates the object.

        One whose answer was lost is repeated: then the object that is in the way is ours.
        """
        for pause in (*_CONTESTED_PAUSES, None):
            try:
                request()
                return
            except ClientError as error:
                code = code_of(error)
                if code in CONTESTED and pause is not None:
                    time.sleep(pause)
                    continue
                if code not in EXISTS | CONTESTED | {"NoSuchUpload"}:
                    raise
                if self._is_ours():
                    return
                if code == "NoSuchUpload":
                    raise
                raise ConflictError(f"s3://{self._bucket}/{self._key} exists already") from error

    def _is_ours(self) -> bool:
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return found["Metadata"].get(WRITER) == self._writer


def _regroup(data: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into parts of :data:`PART_SIZE`."""
    blocks: list[memoryview] = []
    size = 0
    for block in data:
        rest = memoryview(block)
        while size + len(rest) > PART_SIZE:
            yield b"".join((*blocks, rest[: PART_SIZE - size]))
            rest = rest[PART_SIZE - size :]
            blocks, size = [], 0
        blocks.append(rest)
        size += len(rest)
    if size:
        yield b"".join(blocks)


def _drain(queue: deque[bytes]) -> Iterator[bytes]:
    while queue:
        yield queue.popleft()
