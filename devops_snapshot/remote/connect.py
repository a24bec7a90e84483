"""From a storage URL to a remote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .interface import Remote
from .local import LocalRemote
from .url import parse


@contextmanager
def connect(url: str) -> Iterator[Remote]:
    """Open the storage node that a URL names, and close its connections at the end.

    :raises UsageError: the URL is not valid
    :raises StorageError: the node cannot be reached
    """
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
