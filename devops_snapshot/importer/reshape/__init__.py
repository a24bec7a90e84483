"""What a user wants otherwise than it was exported: a manifest goes in, another comes out.

``pick`` leaves nodes and snapshots out, ``without_memory`` leaves memory out, ``rename`` gives the
environment another name. Whoever imports works with what comes out only. ``memory_header`` then
lets a memory file tell the same; ``spelling`` lets rows stand beside those of the original, and
``notes`` says what the user has to know of it.
"""

from __future__ import annotations

from ...manifest.document import Manifest
from ..choices import Choices
from .naming import check_name
from .notes import notes
from .pick import only_nodes, only_snapshot
from .rename import renamed
from .spelling import spelled_apart
from .without_memory import ease_cpu, without_memory

__all__ = ["ease_cpu", "notes", "reshape", "spelled_apart"]


def reshape(manifest: Manifest, choices: Choices) -> Manifest:
    """The environment as it is to be here.

    UUIDs and MAC addresses that are new follow from the old ones and the new name: the same choices
    give the same manifest, and reshaping what comes out changes nothing any more.

    :param manifest: one that :func:`~...manifest.check.check_manifest` has let pass
    :raises NotFoundError: the export has no such node or snapshot
    :raises UsageError: no environment can be called that
    :raises FormatError: the manifest contradicts itself
    """
    if choices.name is not None:
        check_name(choices.name)
    if choices.nodes:
        manifest = only_nodes(manifest, choices.nodes)
    if choices.snapshot is not None:
        manifest = only_snapshot(manifest, choices.snapshot)
    if choices.disks_only:
        manifest = without_memory(manifest)
    if choices.name is not None:
        manifest = renamed(manifest, choices.name, new_macs=choices.disks_only)
    return manifest
