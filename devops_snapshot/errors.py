"""The errors that a user can meet, each one line with what to do about it.

Every command turns a :class:`DevopsError` into ``Error: <message>`` on standard error and exits
with its :attr:`~DevopsError.exit_code`; anything else is a defect and keeps its traceback.
"""

from __future__ import annotations


class DevopsError(Exception):
    """What went wrong, with which value, and (``hint``) what to do.

    :param message: one sentence without a trailing full stop
    :param hint: what the user can do about it, one sentence
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UsageError(DevopsError):
    """What was typed is no command, no storage URL ..., whatever there is."""

    exit_code = 2


class NotFoundError(DevopsError):
    """An environment, node, snapshot, export, pool ... of that name does not exist."""

    exit_code = 3


class ConflictError(DevopsError):
    """Something of that name, address or identity is there already."""

    exit_code = 4


class UnsupportedError(DevopsError):
    """This version cannot do that, and says so instead of ignoring it."""

    exit_code = 5


class TemplateError(DevopsError):
    """An environment template cannot be read or does not make sense."""


class HypervisorError(DevopsError):
    """libvirt or QEMU refused."""


class StorageError(DevopsError):
    """The storage node cannot be reached, read or written."""

    exit_code = 6


class FormatError(StorageError):
    """An object is damaged, or of a format version that this release does not know."""

    exit_code = 7


class CannotError(DevopsError):
    """This host cannot take an environment, whatever option is given."""

    exit_code = 8
