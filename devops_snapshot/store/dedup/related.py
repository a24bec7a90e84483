"""The packs of exports that resemble the one to come."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..format.envelope import decode_envelope
from ..format.layer import Layer
from ..format.names import LayerId, export_path
from ..reading.layer_objects import readable_layers

log = logging.getLogger(__name__)


def related_packs(remote: Remote, exports: Sequence[str]) -> Iterator[str]:
    """Yield the packs of some exports, those of the first first, the most used of each first."""
    known: set[str] = set()
    asked: set[LayerId] = set()
    for export_id in exports:
        layers = [layer for layer in _layers(remote, export_id) if layer not in asked]
        asked.update(layers)
        uses: Counter[str] = Counter()
        for layer_id in layers:
            layer = next(readable_layers(remote, layer_id), None)
            if layer:
                uses.update(_uses(layer))
        yield from (pack for pack, _ in uses.most_common() if pack not in known)
        known.update(uses)


def _layers(remote: Remote, export_id: str) -> Sequence[LayerId]:
    path = export_path(export_id)
    try:
        return decode_envelope(export_id, remote.read(path), f"Export {path}").layers
    except (NotFoundError, FormatError) as error:
        log.info("%s; it is not taken as a model", error.message)
        return ()


def _uses(layer: Layer) -> Counter[str]:
    """Return how many chunks of a layer lie in each pack."""
    uses: Counter[int] = Counter()
    for run in layer.chunk_runs:
        uses[run.pack] += run.length
    return Counter({layer.packs[number]: chunks for number, chunks in uses.items()})
