"""What tests of the import ask of manifests."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import settings
from lxml import etree

from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.check import definition_of, definitions_in
from tests.manifest.real import document, manifest_of

few = settings(max_examples=30, deadline=None)


def real() -> d.Manifest:
    return manifest_of(document())


def uuids(manifest: d.Manifest) -> set[str]:
    environment = manifest.environment
    networks = {l2.network.uuid for l2 in environment.networks if l2.network is not None}
    return networks | {definition_of(node).uuid for node in environment.nodes}


def macs(manifest: d.Manifest) -> set[str]:
    return {i.mac_address for node in manifest.environment.nodes for i in node.interfaces}


def paths(manifest: d.Manifest) -> list[str]:
    return [file.path for file in manifest.files]


def definitions(manifest: d.Manifest) -> Iterator[tuple[d.Node, etree._Element]]:
    for node in manifest.environment.nodes:
        yield node, definition_of(node).root
        for snapshot in node.snapshots:
            for definition in definitions_in(snapshot, node.name):
                yield node, definition.root
