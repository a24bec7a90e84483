"""How the files of an export begin on this host: looked at before QEMU does, and adapted.

Nothing of a file that came from elsewhere is opened by QEMU, ``qemu-img`` or libvirt before its
header was found to name no file but those of the export. What belongs to the host (the path of the
backing file, in a memory state the name of the domain) is in the first bytes only.
"""

from __future__ import annotations

from itertools import chain

from lxml import etree

from ..errors import FormatError
from ..manifest.document import File, FileRole
from ..qcow2 import MAX_HEAD, header_in, standing_on
from ..snapshot.domain_xml import parse
from ..store import LayerSource
from .plan import Plan
from .reshape import memory_header


def head_of(plan: Plan, file: File, content: LayerSource) -> bytes:
    """The bytes that have to take the place of a file's first ones; none if it stays as it is.

    :raises FormatError: it is not what the manifest says, or would lead to other files
    """
    if file.role is FileRole.MEMORY:
        return _memory_head(plan, file, content)
    check_image(file, content)
    if file.backing is None:
        return b""
    return standing_on(
        content.pread(0, min(content.size, MAX_HEAD)),
        backing=plan.paths[file.backing],
        backing_format=format_of(plan, file.backing),
        name=file.name,
    )


def format_of(plan: Plan, exported_path: str) -> str:
    """The format of a file of the export."""
    return plan.formats[exported_path]


def check_image(file: File, content: LayerSource) -> None:
    """Look at the header before QEMU does: it could name any file of this host.

    :raises FormatError: as :func:`head_of`
    """
    if file.format == "raw":
        return  # whatever it looks like, it is used as that: see manifest.check
    head = content.pread(0, min(content.size, MAX_HEAD))
    header = header_in(head, size=content.size, name=file.name)
    if header.format != file.format:
        raise FormatError(f"{file.name} is {header.format}, the manifest says {file.format}")
    if header.data_file or header.encrypted:
        raise FormatError(f"{file.name} is encrypted or keeps its data in another file")
    for fault in header.faults:
        raise FormatError(f"{file.name} has {fault}, which no image of fuel-devops has")
    if file.virtual_size not in (None, header.virtual_size):
        raise FormatError(
            f"{file.name} is a disk of {header.virtual_size} bytes, "
            f"the manifest says {file.virtual_size}"
        )
    if (header.backing_file is None) != (file.backing is None):
        raise FormatError(
            f"{file.name} stands on {header.backing_file!r}, the manifest says {file.backing!r}"
        )


def _memory_head(plan: Plan, file: File, content: LayerSource) -> bytes:
    """libvirt brings a guest back under the name and UUID that its memory file tells."""
    definition = _definition_at(plan, file)
    head = content.pread(0, min(content.size, memory_header.MAX_SIZE))
    header = memory_header.MemoryHeader.unpack(head)  # nothing else is given to libvirt
    if definition is None:
        return b""
    if plan.choices.name is None and not header.is_behind_other_filters(definition):
        return b""
    return header.like(definition, paths=plan.paths).pack()


def _definition_at(plan: Plan, file: File) -> etree._Element | None:
    """Of the domain as it was when its memory was saved into a file."""
    snapshots = chain.from_iterable(node.snapshots for node in plan.manifest.environment.nodes)
    found = (parse(snapshot.xml) for snapshot in snapshots if snapshot.memory == file.path)
    return next((root.find("domain") for root in found), None)
