"""All packs and layer objects that a repository holds, needed or not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from devops_snapshot.remote import Entry, Remote

from ..bounded import map_bounded
from ..format.names import LAYERS, PACKS, LayerId, is_pack_name, layer_of_object


@dataclass(frozen=True)
class Found:
    """A layer object.

    :param name: ``<layer>.<lease>``
    :param modified: by the storage node's clock
    """

    name: str
    size: int
    modified: float


class LayerObjects:
    """Layer objects by the layer that they are objects of."""

    def __init__(self, found: Iterable[Found]) -> None:
        self._found = sorted(found, key=lambda layer: layer.name)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found)

    def __or__(self, other: LayerObjects) -> LayerObjects:
        return LayerObjects({found.name: found for found in (*self, *other)}.values())

    def of(self, layer_id: LayerId) -> Sequence[Found]:
        first = bisect_left(self._found, str(layer_id), key=lambda layer: layer.name)
        last = bisect_left(self._found, f"{layer_id}/", key=lambda layer: layer.name)
        return self._found[first:last]  # "/" comes right after "."


def list_packs(remote: Remote, threads: Executor) -> list[Entry]:
    """Return all packs of a repository."""
    return [entry for entry in _list(remote, PACKS, threads) if is_pack_name(entry.name)]


def list_pack_sizes(remote: Remote, threads: Executor) -> Mapping[str, int]:
    """Return the size of every pack in bytes, by name."""
    return {entry.name: entry.size for entry in list_packs(remote, threads)}


def list_layer_objects(remote: Remote, threads: Executor) -> LayerObjects:
    return LayerObjects(
        [
            Found(entry.name, entry.size, entry.modified)
            for entry in _list(remote, LAYERS, threads)
            if layer_of_object(entry.name)
        ]
    )


def _list(remote: Remote, root: str, threads: Executor) -> Iterator[Entry]:
    directories = [f"{root}/{entry.name}" for entry in remote.list(root) if entry.is_directory]
    for entries in map_bounded(remote.list, directories, threads):
        yield from entries
