"""What can be wrong with one object of a repository."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from devops_snapshot.errors import FormatError, NotFoundError, StorageError
from devops_snapshot.remote import AccessError, Remote

from ..format.names import REPOSITORY
from ..format.sealed import UPDATE_HINT

PACK, LAYER, EXPORT = "pack", "layer", "export"


class State(enum.Enum):
    DAMAGED = enum.auto()
    MISSING = enum.auto()
    REFUSED = enum.auto()  # no permission; what it holds is not known


@dataclass(frozen=True)
class Fault:
    """An object that is not what it should be.

    :param kind: what it is: ``pack``, ``layer``, ``export``, ``settings`` ...
    :param object: its path in the repository
    :param what: what is wrong with it
    :param newer: it is whole, but of a release that this one does not know
    """

    kind: str
    object: str
    what: str
    state: State = State.DAMAGED
    newer: bool = False

    @property
    def missing(self) -> bool:
        return self.state is State.MISSING

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.object.rpartition("/")[2]


def missing(kind: str, path: str) -> Fault:
    return Fault(kind, path, "it is missing", State.MISSING)


def fault_of(kind: str, path: str, error: StorageError | NotFoundError, remote: Remote) -> Fault:
    """Return what an error says about the object that was read.

    :raises StorageError: it says nothing about the object: the storage node does not answer at all
    """
    if not _is_there(remote, path):
        return missing(kind, path)
    if not isinstance(error, FormatError):
        remote.read(REPOSITORY)
    what = _without(f"{kind.capitalize()} {path}", error.message)
    return Fault(kind, path, what, _state(error), newer=error.hint == UPDATE_HINT)


def _state(error: Exception) -> State:
    if isinstance(error, NotFoundError):  # and now it is there again
        return State.MISSING
    return State.REFUSED if isinstance(error, AccessError) else State.DAMAGED


def _is_there(remote: Remote, path: str) -> bool:
    try:
        remote.stat(path)
    except NotFoundError:
        return False
    except StorageError:
        pass
    return True


def _without(where: str, message: str) -> str:
    """Return a message without the name of the object, which is told beside it."""
    return message.removeprefix(where).removeprefix(" is damaged: ").lstrip(" ,")
