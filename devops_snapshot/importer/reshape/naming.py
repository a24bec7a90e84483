"""How an environment's parts are called in libvirt, and how if it had another name.

The rules are fuel-devops's (release 3.0.5) and, for overlays and memory files, this project's,
which follows it. They are written down here once more, since another app may stand in for
:mod:`devops_snapshot.devops`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import UsageError
from ...manifest.document import Environment, Group, Node
from ...snapshot.pool import fitting

_MAX_LENGTH = 80
_MAX_ENVIRONMENT = 255  # characters that a row takes
_DIGITS = 32
_DIGEST = re.compile(r"[0-9a-f]{32}")
_MEMORY = "snapshot-memory-"


def joined(*parts: str) -> str:
    """The name of a domain, network or volume, within 80 characters.

    A longer one becomes the MD5 of the whole (32 hex digits) and as much of it as fits.
    """
    return _cut("_".join(filter(None, parts)))


def _cut(name: str) -> str:
    return name if len(name) <= _MAX_LENGTH else (_md5(name) + name)[:_MAX_LENGTH]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def check_name(name: str) -> None:
    """Refuse what can be no name of an environment, since files and domains are called after it.

    :raises UsageError: says why
    """
    if not name.strip() or name.startswith(".") or "/" in name or not name.isprintable():
        raise UsageError(
            f"{name!r} cannot be the name of an environment",
            hint="It must not be empty, begin with a dot or contain slashes or control characters",
        )
    if len(name) > _MAX_ENVIRONMENT:
        raise too_long(name)


def too_long(name: str) -> UsageError:
    """The refusal of a name from which names of files would follow that no file can have."""
    return UsageError(f"{name[:20] + '...'!r} is too long for the name of an environment")


@dataclass(frozen=True)
class FileNames:
    """Names of files in a storage pool, as they are if the environment has another name.

    :param owners: nodes and groups, after which volumes are called
    :param nodes: after which memory files are called
    :param exact: names that follow from a row, longer ones cut: old to new
    :param shared: names that belong to nobody, whatever they look like
    """

    old: str
    new: str
    owners: frozenset[str]
    nodes: frozenset[str]
    exact: dict[str, str]
    shared: frozenset[str]

    @classmethod
    def of(cls, environment: Environment, new: str) -> FileNames:
        old = environment.name
        nodes = list(environment.nodes)
        owners: list[Group | Node] = [*environment.groups, *nodes]
        volumes = [(owner.name, volume) for owner in owners for volume in owner.volumes]
        exact = {
            joined(old, owner, volume.name): joined(new, owner, volume.name)
            for owner, volume in volumes
        }
        memories = [(node.name, snapshot.name) for node in nodes for snapshot in node.snapshots]
        exact |= {_memory(old, *names): _memory(new, *names) for names in memories}
        return cls(
            old=old,
            new=new,
            owners=frozenset(owner.name for owner in owners),
            nodes=frozenset(node.name for node in nodes),
            exact=exact,
            shared=frozenset(_shared(volume.params for _, volume in volumes)),
        )

    def renamed(self, name: str) -> str:
        """The new name of a file; the same if it does not follow the environment's."""
        if name in self.shared:
            return name
        if name in self.exact:
            return self.exact[name]
        if any(name.startswith(f"{_MEMORY}{self.old}_{node}.") for node in self.nodes):
            return fitting(_MEMORY + self.new + name[len(_MEMORY) + len(self.old) :])
        if name.startswith(self._starts):
            return _cut(self.new + name[len(self.old) :])
        return self._cut_anew(name)

    @property
    def _starts(self) -> tuple[str, ...]:
        return tuple(f"{self.old}_{owner}_" for owner in self.owners)

    def _cut_anew(self, name: str) -> str:
        """A name that was cut, and of which no row tells how it went on."""
        digest, visible = name[:_DIGITS], name[_DIGITS:]
        starts = tuple(start[: len(visible)] for start in self._starts)
        if (
            len(name) < _MAX_LENGTH
            or not _DIGEST.fullmatch(digest)
            or not visible.startswith(starts)
        ):
            return name
        return (_md5(f"{self.new}/{name}") + self.new + visible[len(self.old) :])[:_MAX_LENGTH]


def _memory(environment: str, node: str, snapshot: str) -> str:
    return fitting(f"{_MEMORY}{environment}_{node}.{snapshot}")


def _shared(params: Iterable[dict[str, object]]) -> Iterable[str]:
    """fuel-devops lets an overlay stand on a volume of the pool that no row tells of."""
    names = (row.get("shared_backing_store_name") for row in params)
    return (name for name in names if isinstance(name, str))
