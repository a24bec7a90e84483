"""The layer objects that a repository holds for one layer id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .layer import Layer, decode_layer
from .names import LayerId, is_layer_object, layer_directory
from .sealed import damaged

log = logging.getLogger(__name__)


def readable_layers(remote: Remote, layer_id: LayerId) -> Iterator[Layer]:
    """Yield each object of a layer that is not damaged; mostly there is one."""
    for path in _paths(remote, layer_id):
        try:
            yield _read(remote, layer_id, path)
        except FormatError as error:
            log.warning("%s", error.message)


def find_layer(remote: Remote, layer_id: LayerId, has_packs: Callable[[Layer], bool]) -> Layer:
    """Return an object of a layer that is not damaged; of several, one whose packs are all there.

    :raises FormatError: the layer is damaged or missing
    """
    paths = _paths(remote, layer_id)
    if len(paths) == 1:
        return _read(remote, layer_id, paths[0])
    layers = list(readable_layers(remote, layer_id))
    if not layers:
        raise damaged(f"Layer {layer_id}", "it is missing, or each of its objects is damaged")
    return next(filter(has_packs, layers), layers[0])


def _paths(remote: Remote, layer_id: LayerId) -> list[str]:
    directory = layer_directory(layer_id)
    names = [entry.name for entry in remote.list(directory)]
    return [f"{directory}/{name}" for name in sorted(names) if is_layer_object(name, layer_id)]


def _read(remote: Remote, layer_id: LayerId, path: str) -> Layer:
    where = f"Layer {path}"
    try:
        return decode_layer(layer_id, remote.read(path), where)
    except NotFoundError as error:
        raise damaged(where, "it has vanished") from error
