"""The layer objects that a repository holds for one layer id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .condemned import Avoided
from .layer import Layer, decode_layer
from .names import LayerId, is_layer_object, layer_directory
from .sealed import damaged

log = logging.getLogger(__name__)


def readable_layers(
    remote: Remote, layer_id: LayerId, *, avoid: Collection[str] = frozenset()
) -> Iterator[Layer]:
    """Yield each object of a layer that is not damaged; mostly there is one.

    :param avoid: names of layer objects that are passed over
    """
    for path in _paths(remote, layer_id):
        if path.rpartition("/")[2] in avoid:
            continue
        try:
            yield _read(remote, layer_id, path)
        except FormatError as error:
            log.warning("%s", error.message)


def find_layer(
    remote: Remote,
    layer_id: LayerId,
    has_packs: Callable[[Layer], bool],
    avoid: Avoided = Avoided(),  # noqa: B008 -- a frozen value
) -> Layer:
    """Return an object of a layer that is not damaged.

    Of several, one whose packs are all there, and before those that are about to be removed.

    :raises FormatError: the layer is damaged or missing
    """
    paths = _paths(remote, layer_id)
    if len(paths) == 1:
        return _read(remote, layer_id, paths[0])
    layers = list(readable_layers(remote, layer_id, avoid=avoid.layers))
    layers.sort(key=lambda layer: not avoid.packs.isdisjoint(layer.packs))
    layers += readable_layers(remote, layer_id)
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
