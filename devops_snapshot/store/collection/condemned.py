"""Epochs: what a collection has found dead, and who may still rely on it.

``condemned/<epoch>/objects.json`` names packs and layer objects that nobody relies on from now on;
``leases.json``, written after it, names the leases that lived then and may have begun to. When all
of those have ended and the objects are still dead, they are removed, and at last the epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..format.names import (
    CONDEMNED,
    epoch_directory,
    is_epoch,
    is_lease_id,
    is_pack_name,
    layer_of_object,
)
from ..format.sealed import seal, unseal, well_formed
from ..health.damage import load_damage
from ..lease import Lease

log = logging.getLogger(__name__)

_MOST_NAMES = 100_000  # in an epoch: 10 MB
COLLECT_HINT = "Run storage-collect, which puts that right"


@dataclass(frozen=True)
class Objects:
    """Objects of a repository.

    :param packs: names of packs
    :param layers: names of layer objects, ``<layer>.<lease>``
    """

    packs: frozenset[str] = frozenset()
    layers: frozenset[str] = frozenset()

    def __or__(self, other: Objects) -> Objects:
        return Objects(self.packs | other.packs, self.layers | other.layers)

    def __and__(self, other: Objects) -> Objects:
        return Objects(self.packs & other.packs, self.layers & other.layers)

    def __bool__(self) -> bool:
        return bool(self.packs or self.layers)

    def parts(self) -> Iterator[Objects]:
        """Yield the same objects, so many together as an epoch may name; mostly that is all."""
        if len(self.packs) + len(self.layers) <= _MOST_NAMES:
            yield self
            return
        for layers in _batches(self.layers):
            yield Objects(layers=layers)
        for packs in _batches(self.packs):
            yield Objects(packs=packs)


def _batches(names: frozenset[str]) -> Iterator[frozenset[str]]:
    ordered = sorted(names)
    for start in range(0, len(ordered), _MOST_NAMES):
        yield frozenset(ordered[start : start + _MOST_NAMES])


class Avoided(Objects):
    """What nobody may begin to rely on: condemned or damaged. Some of it may be gone already."""


def load_avoided(remote: Remote) -> Avoided:
    """Return what must not be relied upon; a lease must be held from before.

    :raises FormatError: it cannot be known, because an epoch is damaged
    """
    damage = load_damage(remote)
    found = load_condemned(remote) | Objects(frozenset(damage.packs), frozenset(damage.layers))
    return Avoided(found.packs, found.layers)


def load_condemned(remote: Remote) -> Objects:
    """Return what any epoch condemns; a lease must be held from before.

    :raises FormatError: it cannot be known, because an epoch is damaged
    """
    found = Objects()
    for epoch in list_epochs(remote):
        with suppress(NotFoundError):  # done with since it was listed, or not condemned yet
            found |= load_objects(remote, epoch)
    return found


def list_epochs(remote: Remote) -> list[str]:
    return sorted(entry.name for entry in remote.list(CONDEMNED) if is_epoch(entry.name))


def load_objects(remote: Remote, epoch: str) -> Objects:
    """Return what an epoch condemns.

    :raises NotFoundError: nothing; it was not begun, or has been done with
    :raises FormatError: it is damaged
    """
    path = _objects_path(epoch)
    data = remote.read(path)
    try:
        head, _ = unseal("condemned", data, path)
        with well_formed(path):
            return _objects(head["packs"], head["layers"])
    except FormatError as error:
        raise FormatError(error.message, hint=COLLECT_HINT) from error


def _objects(packs: Iterable[str], layers: Iterable[str]) -> Objects:
    found = Objects(frozenset(packs), frozenset(layers))
    if not all(map(is_pack_name, found.packs)) or not all(map(layer_of_object, found.layers)):
        raise ValueError("it names something that is no pack or layer object")
    return found


def condemn(lease: Lease, epoch: str, objects: Objects) -> None:
    """Let everybody know what nobody may rely on any more."""
    fields = {"packs": sorted(objects.packs), "layers": sorted(objects.layers)}
    lease.write(_objects_path(epoch), [seal("condemned", fields)])


def load_witnesses(remote: Remote, epoch: str) -> frozenset[str] | None:
    """Return the leases that may rely on what an epoch condemns, or None if they are not known."""
    path = _leases_path(epoch)
    try:
        head, _ = unseal("leases", remote.read(path), path)
        with well_formed(path):
            leases = frozenset(head["leases"])
            if not all(map(is_lease_id, leases)):
                raise ValueError("it names something that is no lease")
            return leases
    except NotFoundError:
        return None
    except FormatError as error:
        log.warning("%s; the leases are listed anew", error.message)
        remote.remove(path)
        return None


def write_witnesses(lease: Lease, epoch: str, leases: Sequence[str]) -> None:
    lease.write(_leases_path(epoch), [seal("leases", {"leases": leases})])


def drop_epoch(remote: Remote, epoch: str) -> None:
    """Forget an epoch: its objects are gone, or turned out not to be dead.

    The leases go first: objects without leases are looked at anew, never the other way round.
    """
    for path in (_leases_path(epoch), _objects_path(epoch), epoch_directory(epoch)):
        with suppress(NotFoundError):
            remote.remove(path)


def _objects_path(epoch: str) -> str:
    return f"{epoch_directory(epoch)}/objects.json"


def _leases_path(epoch: str) -> str:
    return f"{epoch_directory(epoch)}/leases.json"
