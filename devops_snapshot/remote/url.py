"""Storage URLs: ``file:///abs/path``, ``sftp://user@host:port/abs/path``, ``scp://`` likewise,
``s3://bucket/prefix``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import SplitResult, unquote, urlsplit

from devops_snapshot.errors import UsageError

_WORD = re.compile(r"[\w.:%@+][\w.:%@+-]*")
_BUCKET = re.compile(r"[A-Za-z0-9][\w.-]{1,254}", re.ASCII)
FORMS = "file:///abs/path, sftp://user@host:port/abs/path or s3://bucket/prefix"


@dataclass(frozen=True)
class Location:
    """A storage URL taken apart.

    :param scheme: ``file``, ``sftp`` or ``s3``
    :param user: empty where ``~/.ssh/config`` or the local user name decides
    :param host: for S3 the bucket
    :param port: None where ``~/.ssh/config`` or 22 decides
    :param path: absolute; for S3 the prefix with a slash before it
    """

    scheme: str
    user: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{host}{port}{self.path}"


def parse(url: str) -> Location:
    """Take a storage URL apart.

    :raises UsageError: it is not one; the message never repeats a password
    """
    parts = _split(url)
    if parts.password is not None:
        raise UsageError(
            f"Storage URL for host {parts.hostname} contains a password",
            hint="Use an SSH key or agent instead",
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"Storage URL {url!r} contains '?' or '#'", hint="Write them as %3F and %23"
        )
    match parts.scheme:
        case "file":
            if parts.netloc not in ("", "localhost"):
                raise _bad(url, f"names a host ({parts.netloc}), which file:// cannot")
            return Location("file", "", "", None, _path(url, parts))
        case "sftp" | "scp":
            return Location("sftp", *_login(url, parts), parts.port, _path(url, parts))
        case "s3":
            return Location("s3", "", _bucket(url, parts), None, _path(url, parts))
        case "":
            raise _bad(url, "has no scheme")
        case scheme:
            raise _bad(url, f"has the unknown scheme {scheme!r}")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"Storage URL cannot be parsed: {error}", hint=f"Use {FORMS}") from error
    return parts


def _login(url: str, parts: SplitResult) -> tuple[str, str]:
    """Return user and host, which may become words of an ssh command."""
    user, host = unquote(parts.username or ""), unquote(parts.hostname or "")
    if not host:
        raise _bad(url, "names no host")
    if not _WORD.fullmatch(host) or (user and not _WORD.fullmatch(user)):
        raise _bad(url, "has a character in user or host that cannot be there")
    return user, host


def _bucket(url: str, parts: SplitResult) -> str:
    if not _BUCKET.fullmatch(parts.netloc):
        raise _bad(url, "names no bucket, or one with a character that cannot be there")
    return parts.netloc


def _path(url: str, parts: SplitResult) -> str:
    path = unquote(parts.path) or "/" * (parts.scheme == "s3")
    if not path.startswith("/"):
        raise _bad(url, "has no absolute path")
    if "\0" in path or "\n" in path:
        raise _bad(url, "has control characters in its path")
    return "/" + normpath(path).lstrip("/")


def _bad(url: str, what: str) -> UsageError:
    return UsageError(f"Storage URL {url!r} {what}", hint=f"Use {FORMS}")
