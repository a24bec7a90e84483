"""Standard output and standard error as they are found: closed, full, or short of characters."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

PROGRAM = "dos.py"
"""What users call."""

_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What moves the cursor, changes colours or turns the direction of writing; tab and newline stay"""


class OutputError(Exception):
    """Standard output cannot be written. What else may be cut or full has errors of its own."""


class ReaderGoneError(OutputError):
    """Nobody reads standard output any more, as after ``| head``."""


def visible(text: str) -> str:
    """The text with escapes for what a terminal would obey instead of showing it."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def encodable(text: str, encoding: str | None) -> str:
    """The text as far as an encoding has its characters, escapes for the others."""
    encoding = encoding or "utf-8"  # a string buffer has none
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Let standard output fail only as this module says, and standard error not at all.

    Streams that are closed are opened on nothing, before another file gets their number.
    """
    found = sys.stdout, sys.stderr
    output = sys.stdout or _opened_on_nothing(os.O_RDONLY)  # so that writing fails
    diagnostics = sys.stderr or _opened_on_nothing(os.O_WRONLY)
    sys.stdout, sys.stderr = cast(TextIO, _Output(output)), cast(TextIO, _Diagnostics(diagnostics))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = found


@contextmanager
def complete_output() -> Iterator[None]:
    """At the end, whatever it is, all that was written to standard output is there.

    :raises ReaderGoneError: nobody reads it
    :raises OutputError: it is closed, or there is no room
    """
    try:
        yield
    finally:
        sys.stdout.flush()


def _opened_on_nothing(mode: int) -> TextIO:
    return os.fdopen(os.open(os.devnull, mode), "w")


class _Output:
    """Standard output that takes every character, as an escape if need be."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        with self._failure_told():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._failure_told():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._discard()
            if error.errno == errno.EPIPE:
                raise ReaderGoneError from error
            raise OutputError(os.strerror(error.errno or errno.EIO)) from error

    def _discard(self) -> None:
        """What is left in buffers goes nowhere, or it would fail again with each flush."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class _Diagnostics:
    """Standard error: work goes on if nobody can be told of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class DiagnosticsHandler(logging.Handler):
    """Writes log records to what is standard error at that moment, such as above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


class LineFormatter(logging.Formatter):
    """``WARNING: message``; what is only told as a step of the work has no such word before it."""

    def format(self, record: logging.LogRecord) -> str:
        text = visible(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname}: {text}"


@contextmanager
def steps_told() -> Iterator[None]:
    """Show what the work logs at INFO, such as whom it waits for."""
    logger = logging.getLogger(__package__)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
