"""Looking at all layers of a repository, and again at those of which something is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.progress import Progress
from devops_snapshot.remote import Entry, Remote

from ..bounded import map_bounded
from ..format.layer import Layer, decode_layer
from ..format.names import LAYERS, LayerId, layer_directory, layer_object_path, layer_of_object
from .fault import LAYER, Fault, fault_of, missing
from .layer_check import faults_of_layer, want_chunks
from .pack_check import PackCheck

_LOOKS = 4

_Objects: TypeAlias = Mapping[LayerId, Sequence[Entry]]


@dataclass(frozen=True)
class LayerHealth:
    """What is wrong with a layer.

    :param objects: how many there are of it
    :param faults: of all its objects and their packs
    :param hurt: none of its objects can be read to the end
    """

    layer: LayerId
    objects: int
    faults: Sequence[Fault]
    hurt: bool

    @property
    def lacking(self) -> frozenset[Fault]:
        return frozenset(fault for fault in self.faults if fault.missing)


class LayerSurvey:
    """Checks layers, and the chunks that they use.

    :ivar bytes_read: of frames that :meth:`look` has read
    """

    def __init__(
        self, remote: Remote, packs: PackCheck, *, threads: int, progress: Progress
    ) -> None:
        self._remote = remote
        self._packs = packs
        self._threads = threads
        self._progress = progress
        self.bytes_read = 0

    def look(
        self,
        needed: Collection[LayerId],
        *,
        strays: bool,
        read_data: bool,
        still_needed: Callable[[], Collection[LayerId]],
    ) -> Iterator[LayerHealth]:
        """Yield how each layer is.

        What is missing may have been deleted, or moved by repacking, since the layer was listed: so
        it is looked at again, until what is missing stays the same.

        :param strays: also layers that are not needed
        :param read_data: read all chunks of those that are needed
        :param still_needed: like ``needed``, asked when something is missing
        """
        objects = self._list()
        if strays:
            for layer in objects.keys() - needed:
                yield self._stray(layer, objects[layer])
        before: dict[LayerId, frozenset[Fault]] = {}
        pending = sorted(needed)
        for look in range(_LOOKS):
            again = []
            if read_data:
                self._want_chunks(pending, objects)
            self._read_wanted()
            for health in self._check(pending, objects):
                last = look == _LOOKS - 1 or before.get(health.layer) == health.lacking
                if health.lacking and not last:
                    before[health.layer] = health.lacking
                    again.append(health.layer)
                else:
                    yield health
            if not again:
                return
            self._packs.look_again()
            objects = self._list()
            there = still_needed()
            pending = [layer for layer in again if layer in there]

    def _list(self) -> _Objects:
        """Return the objects of each layer."""
        found = self._remote.list(LAYERS)
        directories = [f"{LAYERS}/{entry.name}" for entry in found if entry.is_directory]
        objects: dict[LayerId, list[Entry]] = defaultdict(list)
        with ThreadPoolExecutor(self._threads) as threads:
            for entries in map_bounded(self._remote.list, directories, threads):
                for entry in entries:
                    layer = layer_of_object(entry.name)
                    if layer:
                        objects[layer].append(entry)
        return objects

    def _check(self, layers: Sequence[LayerId], objects: _Objects) -> Iterator[LayerHealth]:
        def check(layer: LayerId) -> LayerHealth:
            return self._health(layer, objects.get(layer, ()))

        sizes = {layer: sum(entry.size for entry in objects.get(layer, ())) for layer in layers}
        self._progress.begin("Layers", sum(sizes.values()))
        with ThreadPoolExecutor(self._threads, thread_name_prefix="verify") as threads:
            for health in map_bounded(check, layers, threads):
                yield health
                self._progress.advance(sizes[health.layer])

    def _want_chunks(self, layers: Sequence[LayerId], objects: _Objects) -> None:
        names = [entry.name for layer in layers for entry in objects.get(layer, ())]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="verify") as threads:
            for layer in map_bounded(self._decode, names, threads):
                if isinstance(layer, Layer):
                    want_chunks(layer, self._packs)

    def _read_wanted(self) -> None:
        """Read what is wanted of packs and was not read before."""

        def read(pack: str) -> tuple[str, int]:
            return pack, self._packs.read_wanted(pack)

        sizes = self._packs.unread()
        if not sizes:
            return
        self._progress.begin("Data", sum(sizes.values()))
        with ThreadPoolExecutor(self._threads, thread_name_prefix="verify") as threads:
            for pack, size in map_bounded(read, sizes, threads):
                self.bytes_read += size
                self._progress.advance(sizes[pack])

    def _health(self, layer: LayerId, entries: Sequence[Entry]) -> LayerHealth:
        if not entries:
            nothing = missing(LAYER, f"{layer_directory(layer)}/{layer}")
            return LayerHealth(layer, 0, [nothing], hurt=True)
        each = [self._faults(entry.name) for entry in entries]
        faults = [fault for faults in each for fault in faults]
        return LayerHealth(layer, len(entries), faults, hurt=all(each))

    def _stray(self, layer: LayerId, entries: Sequence[Entry]) -> LayerHealth:
        """Its packs may be on their way out."""
        found = [self._decode(entry.name) for entry in entries]
        faults = [item for item in found if isinstance(item, Fault) and not item.missing]
        return LayerHealth(layer, len(entries), faults, hurt=False)

    def _faults(self, name: str) -> Sequence[Fault]:
        layer = self._decode(name)
        if isinstance(layer, Fault):
            return [layer]
        return faults_of_layer(layer, layer_object_path(name), self._packs)

    def _decode(self, name: str) -> Layer | Fault:
        path = layer_object_path(name)
        layer = layer_of_object(name)
        assert layer, "listed as an object of a layer"
        try:
            return decode_layer(layer, self._remote.read(path), f"Layer {path}")
        except (StorageError, NotFoundError) as error:
            return fault_of(LAYER, path, error, self._remote)
