"""The layer objects that a repository holds for one layer id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..collection.condemned import Avoided
from ..format.layer import Layer, decode_layer
from ..format.names import LayerId, is_layer_object, layer_directory
from ..format.sealed import damaged

log = logging.getLogger(__name__)


def readable_layers(
    remote: Remote, layer_id: LayerId, *, avoid: Collection[str] = frozenset()
) -> Iterator[Layer]:
    """Yield each object of a layer that is not damaged; mostly there is one.

    :param avoid: names of layer objects that are passed over
    """
    for _, layer in _readable(remote, layer_id, avoid):
        yield layer


def find_layers(
    remote: Remote,
    layer_id: LayerId,
    has_packs: Callable[[Layer], bool],
    avoid: Avoided = Avoided(),  # noqa: B008 -- a frozen value
) -> list[Layer]:
    """Return all objects of a layer that are not damaged, the one to be preferred first.

    That is one whose packs are all there, and of those one that is not about to be removed.

    :raises FormatError: the layer is damaged or missing
    """
    paths = _paths(remote, layer_id)
    if len(paths) == 1:
        return [_read(remote, layer_id, paths[0])]
    found = dict(_readable(remote, layer_id))
    if not found:
        raise damaged(f"Layer {layer_id}", "it is missing, or each of its objects is damaged")

    def rank(name: str) -> tuple[bool, bool]:
        packs = found[name].packs
        going = name in avoid.layers or not avoid.packs.isdisjoint(packs)
        return not has_packs(found[name]), going

    return [found[name] for name in sorted(found, key=rank)]


def _readable(
    remote: Remote, layer_id: LayerId, avoid: Collection[str] = frozenset()
) -> Iterator[tuple[str, Layer]]:
    """Yield name and content of each object of a layer that is not damaged."""
    for path in _paths(remote, layer_id):
        name = path.rpartition("/")[2]
        try:
            if name not in avoid:
                yield name, _read(remote, layer_id, path)
        except FormatError as error:
            log.warning("%s", error.message)


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
