"""Changing what lies deep inside a manifest, which is immutable."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from ...manifest.document import Group, Manifest, Node, Snapshot
from ...snapshot.domain_xml import parse, serialise
from ...snapshot.metadata import parse_snapshot

Change = Callable[[etree._Element], None]
"""Of an XML element, in place."""

DEFINITIONS = ("domain", "inactiveDomain")
"""In a ``<domainsnapshot>``: the domain as it ran, and its persistent definition of that time."""

_OF_THE_HOST = (
    "metadata",
    "seclabel",
    *(f"devices/{device}/source" for device in ("serial", "console", "channel")),
)
"""In a ``<domain>``: what is true of the one that ran, and is named after it."""


def with_groups(manifest: Manifest, change: Callable[[Group], Group]) -> Manifest:
    """The manifest with its groups changed."""
    groups = tuple(change(group) for group in manifest.environment.groups)
    environment = manifest.environment.model_copy(update={"groups": groups})
    return manifest.model_copy(update={"environment": environment})


def with_nodes(manifest: Manifest, change: Callable[[Node], Node]) -> Manifest:
    """The manifest with its nodes changed."""

    def of_group(group: Group) -> Group:
        return group.model_copy(update={"nodes": tuple(change(node) for node in group.nodes)})

    return with_groups(manifest, of_group)


def nothing(_element: etree._Element) -> None:
    """The change that changes nothing."""


def with_definitions(node: Node, *, definition: Change, snapshot: Change = nothing) -> Node:
    """The node with every ``<domain>`` of it changed, and each ``<domainsnapshot>`` as a whole."""
    domain = parse(node.domain_xml)
    definition(domain)

    def of_snapshot(exported: Snapshot) -> Snapshot:
        root = parse(exported.xml)
        snapshot(root)
        for tag in DEFINITIONS:
            for element in root.findall(tag):
                definition(element)
        return with_xml(exported, root)

    snapshots = tuple(of_snapshot(exported) for exported in node.snapshots)
    return node.model_copy(update={"domain_xml": serialise(domain), "snapshots": snapshots})


def with_xml(snapshot: Snapshot, root: etree._Element) -> Snapshot:
    """The snapshot with other metadata, of which its other fields tell."""
    xml = serialise(root)
    found = parse_snapshot(xml)
    return snapshot.model_copy(
        update={
            "parent": found.parent,
            "memory": found.memory_path,
            "state": found.state.value,
            "xml": xml,
        }
    )


def forget_the_host(definition: etree._Element) -> None:
    """Remove notes, labels and sockets: libvirt makes them anew, under the domain's new name."""
    for place in _OF_THE_HOST:
        for element in definition.findall(place):
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
