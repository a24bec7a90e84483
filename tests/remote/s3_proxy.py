"""Stands between a client and the S3 server, and plays the network and other kinds of stores."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit


@dataclass
class Request:
    """A request on its way, which a rule may change.

    :param outcome: ``pass``; ``swallow``: it is carried out, and the answer gets lost; ``cut``: of
        the answer only half arrives; an error of S3: it is not carried out
    """

    method: str
    path: str
    headers: dict[str, str]
    size: int
    outcome: Literal["pass", "swallow", "cut"] | tuple[int, str] = "pass"

    @property
    def kind(self) -> str:
        if self.method == "PUT" and "x-amz-copy-source" in self.headers:
            return "copy"
        return self.method.lower()


Rule = Callable[[Request], None]


@dataclass
class Proxy:
    """The running proxy.

    :param rule: is asked about each request
    """

    endpoint: str
    rule: Rule = lambda request: None
    seen: list[Request] = field(default_factory=list)

    def once(self, kind: str, outcome: Literal["swallow", "cut"] | tuple[int, str]) -> None:
        """Let the first request of a kind have this outcome."""
        left = [outcome]

        def rule(request: Request) -> None:
            if request.kind == kind and left:
                request.outcome = left.pop()

        self.rule = rule

    def always(self, kind: str, outcome: tuple[int, str]) -> None:
        def rule(request: Request) -> None:
            if request.kind == kind:
                request.outcome = outcome

        self.rule = rule

    def kinds(self) -> list[str]:
        return [request.kind for request in self.seen]


@contextmanager
def running_proxy(server: str) -> Iterator[Proxy]:
    """Forward to the S3 server with this endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, len(body))
            proxy.seen.append(request)
            proxy.rule(request)
            if isinstance(request.outcome, tuple):
                self._refuse(*request.outcome)
                return
            status, answer_headers, answer = _forward(server, request, body)
            if request.outcome == "swallow":
                self.close_connection = True
                return
            self._answer(status, answer_headers, answer, cut=request.outcome == "cut")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 (http.server's)

        def _refuse(self, status: int, code: str) -> None:
            answer = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
            self._answer(status, [], b"" if self.command == "HEAD" else answer)

        def _answer(
            self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = next((v for n, v in headers if n.lower() == "content-length"), len(body))
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        proxy = Proxy(f"http://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()


def _forward(
    server: str, request: Request, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    headers = {name: value for name, value in request.headers.items() if name != "expect"}
    try:
        connection.request(request.method, request.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()
