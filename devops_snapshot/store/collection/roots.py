"""Which layers the exports of a repository need: from here on everything that lives is found."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..bounded import map_bounded
from ..cache import Cache
from ..format.envelope import LONGEST_HEAD, decode_layers
from ..format.names import DELETED, EXPORTS, LayerId, deleted_path, export_id_of, export_path

log = logging.getLogger(__name__)

_LINES = "export"  # the notes in which the catalogue keeps first lines of exports
_HEAD_GUESS = 8 * 1024  # bytes; the first line of most exports is shorter


@dataclass(frozen=True)
class Roots:
    """The exports that exist, and those that are deleted but can still be undone.

    :param exports: ids of exports, with the layers that each needs
    :param deleted: likewise; of these, some may not be readable and are then left out
    """

    exports: Mapping[str, Collection[LayerId]]
    deleted: Mapping[str, Collection[LayerId]]

    def layers(self) -> dict[LayerId, bool]:
        """Return all layers, and of each whether an export that is not deleted needs it."""
        needed = {layer: False for layers in self.deleted.values() for layer in layers}
        needed |= {layer: True for layers in self.exports.values() for layer in layers}
        return needed

    def naming(self, layer: LayerId) -> list[str]:
        """Return the ids of the exports that need a layer."""
        return sorted(id for id, layers in self.exports.items() if layer in layers)


class RootReader:
    """Reads the heads of exports, each only once."""

    def __init__(self, remote: Remote, cache: Cache, threads: Executor) -> None:
        self._remote = remote
        self._threads = threads
        self._lines = cache.notes.all(_LINES)
        self._known: dict[str, Collection[LayerId]] = {}
        self._layers: dict[LayerId, LayerId] = {}  # each id is kept once, however many name it

    def read(self, *, without: Collection[str] = ()) -> Roots:
        """Find all roots.

        An export that is deleted or undeleted meanwhile is seen in one of three listings.

        :param without: ids of deleted exports that do not count
        :raises FormatError: naming the exports that are damaged or need a newer release
        """
        exports = set(self._list(EXPORTS))
        deleted = set(self._list(DELETED)).difference(without)
        exports |= set(self._list(EXPORTS))
        self._learn((exports | deleted) - self._known.keys())
        unreadable = sorted(exports - self._known.keys())
        gone = [export for export in unreadable if not self._exists(export)]
        if len(gone) < len(unreadable):
            raise self._refusal(sorted(set(unreadable).difference(gone)))
        known = self._known
        return Roots(
            {export: known[export] for export in exports if export in known},
            {export: known[export] for export in deleted - exports if export in known},
        )

    def layers(self, export_id: str) -> Collection[LayerId]:
        """Return the layers that an export needs.

        :raises FormatError: it is damaged or needs a newer release
        :raises NotFoundError: it is gone
        """
        if export_id not in self._known:
            self._known[export_id] = self._read(export_id)
        return self._known[export_id]

    def _list(self, directory: str) -> Iterable[str]:
        return filter(None, (export_id_of(entry.name) for entry in self._remote.list(directory)))

    def _learn(self, export_ids: Collection[str]) -> None:
        found = map_bounded(self._try_to_read, sorted(export_ids), self._threads)
        self._known |= {export_id: layers for export_id, layers in found if layers is not None}

    def _try_to_read(self, export_id: str) -> tuple[str, Collection[LayerId] | None]:
        try:
            return export_id, self._read(export_id)
        except FormatError as error:
            log.warning("%s", error)
        except NotFoundError:
            pass
        return export_id, None

    def _read(self, export_id: str) -> Collection[LayerId]:
        where = f"Export {export_path(export_id)}"
        if export_id in self._lines:
            with suppress(FormatError):
                return self._decode(export_id, self._lines[export_id], where)
        return self._decode(export_id, self._first_line(export_id), where)

    def _decode(self, export_id: str, line: bytes, where: str) -> Collection[LayerId]:
        layers = decode_layers(export_id, line, where)
        return tuple(self._layers.setdefault(layer, layer) for layer in layers)

    def _first_line(self, export_id: str) -> bytes:
        """Return the head of an export wherever it lies; it may be moved meanwhile."""
        paths = (export_path(export_id), deleted_path(export_id))
        for path in (*paths, *paths[:1]):
            with suppress(NotFoundError):
                data = self._remote.read(path, 0, _HEAD_GUESS)
                if b"\n" not in data:
                    data = self._remote.read(path, 0, LONGEST_HEAD)
                line, newline, _ = data.partition(b"\n")
                return line + newline
        raise NotFoundError(f"Export {export_id} is gone")

    def _exists(self, export_id: str) -> bool:
        try:
            self._first_line(export_id)
        except NotFoundError:
            return False
        return True

    def _refusal(self, exports: Collection[str]) -> FormatError:
        return FormatError(
            f"What exports of {self._remote.url} need cannot be known: they are damaged, or need "
            f"a newer release: {', '.join(exports)}",
            hint="Nothing was removed. Update this release, or delete these exports",
        )
