"""Marking: what exports need, and what nobody does.

The order of the listings matters, see :meth:`Marker.mark`. What is listed first may be found dead;
whatever is written after that is not known here and so never dead.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

from devops_snapshot.errors import FormatError, NotFoundError

from ..bounded import map_bounded
from ..format.layer import Layer, decode_layer
from ..format.names import LayerId, layer_object_path, lease_of_object, lease_of_pack, pack_path
from ..format.sealed import UPDATE_HINT
from ..health.damage import load_damage
from ..leases import list_leases
from ..repository import Repository
from .condemned import Objects, load_condemned
from .inventory import Found, LayerObjects, list_layer_objects, list_pack_sizes
from .roots import RootReader, Roots

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """What was found.

    :param packs: all that were listed, with their sizes in bytes
    :param objects: all layer objects that were listed
    :param chosen: for each layer that is needed, the name of its best object, from which it is
        repacked
    :param kept: names of the objects that stay: those chosen, and where the chosen one is not
        whole, all of that layer which can be read, because together they may be
    :param needed: packs in which something kept lies; also such as are missing
    :param immovable: packs of layers of which no object is whole, not to be repacked
    :param leases: that were held
    """

    packs: Mapping[str, int]
    objects: LayerObjects
    chosen: Mapping[LayerId, str]
    kept: Set[str]
    needed: Set[str]
    immovable: Set[str]
    leases: Set[str]

    @property
    def dead(self) -> Objects:
        """What nobody needs, and no living client has written for a purpose still to be seen."""
        return Objects(
            frozenset(
                pack
                for pack in self.packs
                if pack not in self.needed and lease_of_pack(pack) not in self.leases
            ),
            frozenset(
                found.name
                for found in self.objects
                if found.name not in self.kept and lease_of_object(found.name) not in self.leases
            ),
        )

    def size_of(self, objects: Objects) -> int:
        """Return bytes."""
        layers = sum(found.size for found in self.objects if found.name in objects.layers)
        return layers + sum(self.packs.get(pack, 0) for pack in objects.packs)


@dataclass(frozen=True)
class _Facts:
    """What the packs of a repository look like while objects are chosen."""

    packs: Mapping[str, int]
    condemned: Objects
    damaged: Objects


class _Rank(NamedTuple):
    """Of the objects of a layer the one with the highest rank is chosen.

    That it is not condemned comes before its age, so that all collections decide alike.
    """

    has_packs: bool
    is_undamaged: bool
    is_uncondemned: bool
    is_preferred: bool
    modified: float
    name: str

    @property
    def is_whole(self) -> bool:
        return self.has_packs and self.is_undamaged


@dataclass(frozen=True)
class _Choice:
    """The objects of a layer that stay, by name; one of them is the best."""

    best: str
    kept: Sequence[str]
    is_whole: bool


class Marker:
    """Marks as often as needed; what was read once is not read again."""

    def __init__(self, repository: Repository, threads: Executor) -> None:
        self._repository = repository
        self._remote = repository.remote
        self._threads = threads
        self._roots = RootReader(repository.remote, repository.cache, threads)
        self._names: list[str] = []  # of packs
        self._numbers: dict[str, int] = {}
        self._packs_of: dict[str, array[int]] = {}  # by layer object; numbers of packs

    def mark(self, *, without: Collection[str] = (), prefer: str = "") -> Mark:
        """Find what lives and what is dead.

        Packs and layer objects first: what a client writes after that cannot be found dead. Then
        leases: of a client whose lease has ended by then, everything was published before. Then
        exports, and at last once more the layer objects: those of every export that was seen are
        among them. Both listings are chosen from, so that one which misses an entry, as those of
        some network file systems may, harms nobody.

        :param without: ids of deleted exports that do not count
        :param prefer: the lease whose layer objects are chosen before others
        :raises FormatError: naming the exports of which it cannot be known what they need
        """
        packs = list_pack_sizes(self._remote, self._threads)
        objects = list_layer_objects(self._remote, self._threads)
        leases = frozenset(list_leases(self._remote))
        roots = self._roots.read(without=without)
        damage = load_damage(self._remote)
        facts = _Facts(
            packs,
            load_condemned(self._remote),
            Objects(frozenset(damage.packs), frozenset(damage.layers)),
        )
        objects_by_now = objects | list_layer_objects(self._remote, self._threads)
        choices = self._choose_all(roots, objects_by_now, facts, prefer)
        return Mark(
            packs=packs,
            objects=objects,
            chosen={layer: choice.best for layer, choice in choices.items()},
            kept={name for choice in choices.values() for name in choice.kept},
            needed=self._packs_of_all(choices.values()),
            immovable=self._packs_of_all(
                choice for choice in choices.values() if not choice.is_whole
            ),
            leases=leases,
        )

    def packs_of(self, name: str) -> Iterator[str]:
        """Yield the packs that a layer object names, which was marked before."""
        return (self._names[number] for number in self._packs_of[name])

    def _packs_of_all(self, choices: Iterable[_Choice]) -> Set[str]:
        return {pack for choice in choices for name in choice.kept for pack in self.packs_of(name)}

    def _choose_all(
        self, roots: Roots, objects: LayerObjects, facts: _Facts, prefer: str
    ) -> dict[LayerId, _Choice]:
        layers = roots.layers()
        self._learn([found.name for layer in layers for found in objects.of(layer)], roots)
        chosen = {}
        for layer, is_needed in layers.items():
            candidates = [item for item in objects.of(layer) if item.name in self._packs_of]
            if candidates:
                chosen[layer] = self._choose(candidates, facts, prefer)
            elif is_needed and objects.of(layer):
                raise self._refusal(layer, roots)
            else:
                log.warning("Layer %s is missing at %s", layer, self._remote.url)
        return chosen

    def _choose(self, candidates: Sequence[Found], facts: _Facts, prefer: str) -> _Choice:
        best = max(self._rank(item, facts, prefer) for item in candidates)
        kept = [best.name] if best.is_whole else [item.name for item in candidates]
        return _Choice(best.name, kept, best.is_whole)

    def _rank(self, found: Found, facts: _Facts, prefer: str) -> _Rank:
        packs = set(self.packs_of(found.name))
        damaged, condemned = facts.damaged, facts.condemned
        return _Rank(
            all(pack in facts.packs or self._is_there(pack) for pack in packs),
            found.name not in damaged.layers and damaged.packs.isdisjoint(packs),
            found.name not in condemned.layers and condemned.packs.isdisjoint(packs),
            lease_of_object(found.name) == prefer,
            found.modified,
            found.name,
        )

    def _is_there(self, pack: str) -> bool:
        try:
            self._remote.stat(pack_path(pack))
        except NotFoundError:
            return False
        return True

    def _learn(self, names: Sequence[str], roots: Roots) -> None:
        """Learn which packs layer objects name; damaged ones are left out."""
        unknown = [name for name in names if name not in self._packs_of]
        for name, layer in map_bounded(self._read, unknown, self._threads, under_way=4):
            if isinstance(layer, Layer):
                self._packs_of[name] = array("I", map(self._number, layer.packs))
            elif layer is not None:
                log.warning("%s", layer)
                layer_id = LayerId(name.partition(".")[0])
                if layer.hint == UPDATE_HINT and roots.naming(layer_id):
                    raise self._refusal(layer_id, roots) from layer

    def _read(self, name: str) -> tuple[str, Layer | FormatError | None]:
        try:
            return name, read_object(self._repository, name)
        except FormatError as error:
            return name, error
        except NotFoundError:  # removed by a collection that was given up, or has given up this one
            return name, None

    def _number(self, pack: str) -> int:
        if pack not in self._numbers:
            self._numbers[pack] = len(self._names)
            self._names.append(pack)
        return self._numbers[pack]

    def _refusal(self, layer: LayerId, roots: Roots) -> FormatError:
        return FormatError(
            f"Layer {layer} at {self._remote.url} is damaged or needs a newer release; "
            f"it belongs to exports {', '.join(roots.naming(layer))}",
            hint="Nothing was removed. Update this release, or delete these exports",
        )


def read_object(repository: Repository, name: str) -> Layer:
    """Read a layer object by its name.

    :raises NotFoundError: it is gone
    :raises FormatError: it is damaged or needs a newer release
    """
    path = layer_object_path(name)
    layer_id = LayerId(name.partition(".")[0])
    return decode_layer(layer_id, repository.remote.read(path), f"Layer {path}")
