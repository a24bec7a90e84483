"""Storage URLs."""

from __future__ import annotations

import pytest

from devops_snapshot.errors import UsageError
from devops_snapshot.remote import connect
from devops_snapshot.remote.url import Location, parse


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("file:///srv/a%20b/", Location("file", "", "", None, "/srv/a b")),
        ("file://localhost/srv", Location("file", "", "", None, "/srv")),
        ("sftp://devops@storage/srv", Location("sftp", "devops", "storage", None, "/srv")),
        ("scp://storage:2222//srv", Location("sftp", "", "storage", 2222, "/srv")),
        ("sftp://u%40d@[::1]:22/srv/../x", Location("sftp", "u@d", "::1", 22, "/x")),
    ],
)
def test_valid(url: str, location: Location) -> None:
    assert parse(url) == location


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/srv/devops", "has no scheme"),
        ("ftp://host/srv", "unknown scheme 'ftp'"),
        ("file://srv/devops", r"names a host \(srv\)"),
        ("file:srv", "has no absolute path"),
        ("sftp://host", "has no absolute path"),
        ("sftp:///srv", "names no host"),
        ("sftp://-oProxyCommand=x/srv", "user or host"),
        ("sftp://a%0AHost%20b@host/srv", "user or host"),
        ("sftp://host:port/srv", "cannot be parsed"),
        ("sftp://[::1/srv", "cannot be parsed"),
        ("sftp://host/srv#1", "contains '\\?' or '#'"),
    ],
)
def test_invalid(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught, connect(url):
        pass
    assert "\n" not in str(caught.value)


def test_a_password_is_refused_and_not_repeated() -> None:
    with (
        pytest.raises(UsageError, match="contains a password") as caught,
        connect("sftp://user:secret@host/srv"),
    ):
        pass
    assert "secret" not in str(caught.value)
