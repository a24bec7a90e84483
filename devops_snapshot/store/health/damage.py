"""What verification found damaged: nobody relies on it again, so a later export heals it.

``damaged/<lease>.json`` is a sealed object that names packs and layer objects, each with what is
wrong with it. An export sends the chunks of such a pack again and writes a new object for such a
layer; then nothing needs the old ones, and collection removes them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..format.names import is_pack_name, layer_of_object
from ..format.sealed import seal, unseal, well_formed
from ..lease import Lease

log = logging.getLogger(__name__)

DAMAGED = "damaged"

_NAME = re.compile(r"[0-9a-f]{32}(-\d+)?\.json")


@dataclass(frozen=True)
class Damage:
    """Damaged objects, and what is wrong with each.

    :param packs: by pack name
    :param layers: by the name of the layer object, ``<layer>.<lease>``
    """

    packs: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.packs or self.layers)

    def __or__(self, other: Damage) -> Damage:
        return Damage({**self.packs, **other.packs}, {**self.layers, **other.layers})


def load_damage(remote: Remote) -> Damage:
    """Return all that is known to be damaged."""
    found = Damage()
    for _, damage in _records(remote):
        found |= damage
    return found


def replace_damage(remote: Remote, lease: Lease, old: Damage, new: Damage) -> None:
    """Make ``new`` known, where ``old`` is what :func:`load_damage` gave before.

    Only records that say nothing beyond ``old`` go: what another client found meanwhile stays.
    """
    if new == old:
        return
    outdated = [path for path, damage in _records(remote) if damage | old == old]
    if new:
        fields = {"packs": new.packs, "layers": new.layers}
        lease.write(f"{DAMAGED}/{lease.id}.json", [seal("damage", fields)])
    for path in outdated:
        with suppress(NotFoundError):  # another client was faster
            remote.remove(path)


def _records(remote: Remote) -> Iterator[tuple[str, Damage]]:
    """Yield what can be read; an unreadable record is named in a warning."""
    for entry in remote.list(DAMAGED):
        path = f"{DAMAGED}/{entry.name}"
        if not _NAME.fullmatch(entry.name):
            continue
        try:
            head, _ = unseal("damage", remote.read(path), path)
            with well_formed(path):
                found = _damage(dict(head["packs"]), dict(head["layers"]))
        except FormatError as error:
            log.warning("%s", error.message)
        except NotFoundError:  # replaced since it was listed
            continue
        else:
            yield path, found


def _damage(packs: dict[str, str], layers: dict[str, str]) -> Damage:
    if not all(map(is_pack_name, packs)) or not all(map(layer_of_object, layers)):
        raise ValueError("it names something that is no pack or layer object")
    return Damage(
        {name: str(what) for name, what in packs.items()},
        {name: str(what) for name, what in layers.items()},
    )
