"""Buckets: what the network and other stores do, and what is said when something is wrong."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy_boto3_s3.type_defs import CopySourceTypeDef

from devops_snapshot.errors import FormatError, NotFoundError, StorageError, UsageError
from devops_snapshot.remote import (
    AccessError,
    Remote,
    connect,
    patience,
    require_exclusive_creation,
)
from devops_snapshot.remote.s3_bucket import Bucket

from .s3_proxy import Proxy, Request, running_proxy
from .s3_server import OTHER, S3Server

DATA = os.urandom(1_000_003)
MIB = 1024 * 1024


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What clients take for the S3 server."""
    with running_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def bucket(proxy: Proxy, s3: S3Server) -> str:
    return s3.new_bucket()


@pytest.fixture
def remote(bucket: str) -> Iterator[Remote]:
    with connect(f"s3://{bucket}") as remote:
        yield remote


def names(remote: Remote, path: str = "") -> list[str]:
    return sorted(entry.name for entry in remote.list(path))


def failure(url: str) -> str:
    """Connect, and return the one line that says why that failed."""
    with pytest.raises(StorageError) as caught, connect(url):
        pass
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("times", [1, 17], ids=["small", "large"])
def test_a_write_whose_answer_got_lost_is_no_conflict(
    remote: Remote, proxy: Proxy, times: int
) -> None:
    proxy.once("put", "swallow")
    assert remote.write("object", [DATA] * times, staging="unfinished") == times * len(DATA)
    assert proxy.kinds().count("put") == 2
    assert remote.read("object") == DATA * times


def test_a_write_that_another_client_does_at_the_same_time(remote: Remote, proxy: Proxy) -> None:
    proxy.once("put", (409, "ConditionalRequestConflict"))
    remote.write("object", [DATA], staging="unfinished")
    assert remote.read("object") == DATA


@pytest.mark.parametrize("kind", ["copy", "delete"])
def test_a_rename_whose_answer_got_lost_is_done(remote: Remote, proxy: Proxy, kind: str) -> None:
    remote.write("a", [DATA], staging="unfinished")
    proxy.once(kind, "swallow")
    remote.rename("a", "b")
    assert proxy.kinds().count(kind) == 2
    assert names(remote) == ["b"]


def test_a_rename_that_was_cut_short_can_be_repeated(remote: Remote, proxy: Proxy) -> None:
    remote.write("a", [DATA], staging="unfinished")
    proxy.always("delete", (403, "AccessDenied"))
    with pytest.raises(AccessError):
        remote.rename("a", "b")
    assert names(remote) == ["a", "b"]
    proxy.rule = lambda request: None
    remote.rename("a", "b")
    assert names(remote) == ["b"]


def test_a_read_goes_on_where_the_connection_broke(remote: Remote, proxy: Proxy) -> None:
    remote.write("object", [DATA], staging="unfinished")
    for offset, length in ((0, None), (1000, 900_000)):
        proxy.seen.clear()
        proxy.once("get", "cut")
        end = None if length is None else offset + length
        assert remote.read("object", offset, length) == DATA[offset:end]
        first, second = (request.headers["range"] for request in proxy.seen)
        assert first.startswith(f"bytes={offset}-")
        assert int(second[6:].partition("-")[0]) > offset + 400_000


@pytest.mark.parametrize("size", [MIB, 17 * MIB], ids=["small", "large"])
def test_a_store_that_cannot_be_reached_for_a_while(
    remote: Remote,
    proxy: Proxy,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Requests are carried out, and nobody hears of it: longer than boto repeats them."""
    monkeypatch.setattr(patience, "PAUSES", (0.1,) * 10)
    left = [8]

    def rule(request: Request) -> None:
        if request.kind == "put" and left[0]:
            left[0] -= 1
            request.outcome = "swallow"

    proxy.rule = rule
    assert remote.write("object", [bytes(size)], staging="unfinished") == size
    assert remote.stat("object").size == size
    if size == MIB:
        assert f"Connection to {proxy.endpoint} was lost; trying again" in caplog.text


def test_a_store_that_is_too_busy_is_asked_again(remote: Remote, proxy: Proxy) -> None:
    proxy.once("put", (503, "SlowDown"))
    remote.write("object", [DATA], staging="unfinished")
    assert proxy.kinds().count("put") == 2


def test_a_large_object_waits_on_disk(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "no such directory"))
    with pytest.raises(StorageError, match=r"Cannot write to .*no such directory on this host"):
        remote.write("object", [DATA] * 17, staging="unfinished")
    assert names(remote) == []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    remote.write("object", [DATA] * 17, staging="unfinished")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(bool(OTHER), reason="it looks at signatures, and the condition is signed")
def test_a_store_that_ignores_conditions_is_refused(remote: Remote, proxy: Proxy) -> None:
    def rule(request: Request) -> None:
        if request.kind == "put":
            request.headers.pop("if-none-match", None)

    proxy.rule = rule
    with pytest.raises(StorageError, match=r"replaces an object that exists \(write"):
        require_exclusive_creation(remote)
    assert names(remote) == []


@pytest.mark.parametrize("store", ["checks", "is slow", "ignores the condition"])
def test_a_lease_that_is_revoked_while_its_manifest_is_copied(
    remote: Remote, bucket: str, proxy: Proxy, s3: S3Server, store: str
) -> None:
    source = "leases/L/manifest"
    remote.write(source, [DATA], staging="leases/L/unfinished")

    def rule(request: Request) -> None:
        if request.kind == "copy" and "exports" in request.path:
            proxy.rule = lambda _: None
            if store == "is slow":  # it has checked, and nobody has seen the copy yet
                copied: CopySourceTypeDef = {"Bucket": bucket, "Key": source}
                s3.client().copy_object(Bucket=bucket, Key="exports/E.json", CopySource=copied)
            with connect(f"s3://{bucket}") as collector:
                collector.revoke("leases/L", "revoked/L")
            if request.headers["x-amz-copy-source-if-match"] and store != "ignores the condition":
                request.outcome = (412, "PreconditionFailed")

    proxy.rule = rule
    with pytest.raises(NotFoundError, match=source):
        remote.rename(source, "exports/E.json")
    assert (names(remote, "exports"), names(remote, "leases")) == ([], [])


def test_a_revocation_that_was_cut_short_is_completed(remote: Remote, proxy: Proxy) -> None:
    for name in ("lease.json", "manifest", "beat-7"):
        remote.write(f"leases/L/{name}", [b"x"], staging="leases/L/unfinished")
    proxy.always("copy", (403, "AccessDenied"))
    with pytest.raises(AccessError):
        remote.revoke("leases/L", "revoked/L")
    assert names(remote, "leases") == ["L"]
    with pytest.raises(NotFoundError):
        remote.rename("leases/L/manifest", "exports/E.json")
    proxy.rule = lambda request: None
    remote.revoke("leases/L", "revoked/L")
    assert names(remote, "leases") == []
    assert names(remote, "revoked/L") == ["beat-7", "lease.json"]


def test_an_object_of_another_program(remote: Remote, s3: S3Server, bucket: str) -> None:
    """As after copying a repository with a tool."""
    s3.client().put_object(Bucket=bucket, Key="packs/ab/pack", Body=DATA)
    assert remote.read("packs/ab/pack") == DATA
    assert names(remote, "packs") == ["ab"]
    assert remote.stat("packs").is_directory
    remote.rename("packs/ab/pack", "pack")
    assert remote.read("pack") == DATA
    assert names(remote) == ["pack"]


def test_a_missing_bucket(s3: S3Server) -> None:
    assert f"There is no bucket 'no-such-bucket' at {s3.endpoint}" in failure("s3://no-such-bucket")


@pytest.mark.parametrize("url", ["s3:///prefix", "s3://user@bucket/prefix"])
def test_a_bucket_name_that_cannot_be(url: str) -> None:
    with pytest.raises(UsageError, match="names no bucket"), connect(url):
        pass


def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught, connect("s3://user:secret@bucket/prefix"):
        pass
    assert "secret" not in str(caught.value)


def test_no_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    message = failure(f"s3://{s3.new_bucket()}/prefix")
    assert "No credentials for S3" in message
    assert "AWS_PROFILE" in message


def test_a_profile_that_does_not_exist(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "No credentials for S3: The config profile (nobody)" in failure("s3://bucket")


def test_nobody_listens(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert f"Cannot connect to {endpoint}: Connection refused. Check" in failure("s3://bucket")


def test_an_endpoint_that_is_no_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "storage:9000")
    assert "Invalid endpoint: storage:9000" in failure("s3://bucket")


def test_something_else_than_s3_answers(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Web(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"<html><p>Welcome</html>")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert f"What runs at {endpoint} does not answer like S3" in failure("s3://bucket")
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", "No permission for s3://bucket/prefix/ at http://.*AccessDenied it"),
        (403, "InvalidAccessKeyId", "does not accept these credentials: InvalidAccessKeyId it is"),
        (403, "SignatureDoesNotMatch", "does not accept these credentials"),
        (301, "PermanentRedirect", "Bucket bucket is in another region"),
        (403, "RequestTimeTooSkewed", "clock of this host differs"),
    ],
)
def test_what_the_store_refuses(proxy: Proxy, status: int, code: str, message: str) -> None:
    proxy.always("get", (status, code))
    with pytest.raises(StorageError, match=message), connect("s3://bucket/prefix"):
        pass


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "QuotaExceeded"), (400, "XMinioAdminBucketQuotaExceeded"), (507, "XMinioStorageFull")],
)
def test_a_full_store_is_named(
    remote: Remote, bucket: str, proxy: Proxy, status: int, code: str
) -> None:
    proxy.always("put", (status, code))
    with pytest.raises(StorageError, match=f"No space left for s3://{bucket}/object: {code}"):
        remote.write("object", [DATA], staging="unfinished")


def test_boto_is_loaded_only_when_used() -> None:
    code = (
        "import sys, devops_snapshot.remote as remote\n"
        "with remote.connect('file:///'): pass\n"
        "assert not {'boto3', 'botocore', 'paramiko'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Endless(http.server.BaseHTTPRequestHandler):
    """Whatever is asked for, zeros until nobody wants more."""

    sent = 0

    def do_GET(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", str(1 << 40))
        self.send_header("ETag", '"x"')
        self.end_headers()
        block = bytes(MIB)
        try:
            while True:
                self.wfile.write(block)
                type(self).sent += MIB
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def endless(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(Endless, "sent", 0)
        bucket = Bucket("bucket")
        yield bucket
        bucket.close()
        server.shutdown()
        thread.join()


def test_an_object_without_end_is_not_read_to_its_end(endless: Bucket) -> None:
    with pytest.raises(FormatError, match="100663296 at most make sense"):
        endless.get("object", 0, None)
    assert Endless.sent < 200 * MIB


def test_no_more_is_taken_than_was_asked_for(endless: Bucket) -> None:
    assert endless.get("object", 7, 1000) == bytes(1000)
    assert endless.get("object", 0, 2 * MIB + 1) == bytes(2 * MIB + 1)
    assert Endless.sent < 100 * MIB
