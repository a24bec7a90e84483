"""From a storage URL to a remote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .interface import Remote
from .local import LocalRemote
from .throttle import Pace, ThrottledRemote
from .url import parse


@contextmanager
def connect(url: str, *, rate: int | None = None) -> Iterator[Remote]:
    """Open the storage node that a URL names, and close its connections at the end.

    :param rate: bytes a second that are written at most
    :raises UsageError: the URL is not valid
    :raises StorageError: the node cannot be reached
    """
    with _open(url) as remote:
        yield ThrottledRemote(remote, Pace(rate)) if rate else remote


@contextmanager
def _open(url: str) -> Iterator[Remote]:
    location = parse(url)
    if location.scheme == "file":
        yield LocalRemote(Path(location.path))
        return
    if location.scheme == "s3":
        from .s3 import S3Remote  # here, because boto3 takes longer to load than a listing takes

        with closing(S3Remote(location)) as bucket:
            bucket.check()
            yield bucket
        return
    from .sftp import SftpRemote  # here, likewise
    from .ssh import resolve

    with closing(SftpRemote(location, resolve(location))) as remote:
        remote.check()
        yield remote
