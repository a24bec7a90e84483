"""One look at the layers of a node: which are needed, by whom, and what stands on them.

Needed are: what a disk of the domain stands on now or after its next start; what an external
snapshot froze, as libvirt or our own rows know it; what an internal snapshot lies in; and what is
below any of those. What anybody else stands on (another environment, an overlay that is in the pool
without a row, another domain) is needed, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import libvirt
from django.apps import apps

from ..contract import Node, Volume
from ..hypervisor import RunState, asking, run_state
from .domain_xml import disks_of, open_chains, parse
from .images import Image, images_of, used_by_other_domains
from .metadata import snapshots_of
from .records import recorded_of


@dataclass(frozen=True)
class Survey:
    """What was seen.

    :param volumes: rows of the node by id
    :param rows: those, and what they stand on
    :param children: id of a row to the rows that stand on it, of any environment
    :param images: the files of the pool by path
    :param named: files that external snapshots froze
    :param inside: files in which internal snapshots lie
    :param active: files that disks stand on, now or after the next start
    :param live: disk target to the chain that QEMU has open, top first; empty when it is off
    :param foreign: files that somebody stands on of whom the database knows nothing
    """

    node: Node
    domain: Any
    state: RunState
    volumes: dict[int, Volume]
    rows: dict[int, Volume]
    children: dict[int, tuple[Volume, ...]]
    images: dict[str, Image]
    named: frozenset[str]
    inside: frozenset[str]
    active: frozenset[str]
    live: dict[str, tuple[str, ...]]
    foreign: frozenset[str]

    def is_layer(self, volume: Volume) -> bool:
        """Whether a snapshot made it: an overlay on a volume of the node, named after it."""
        chain = self.chain_of(volume)
        return (
            len(chain) > 1
            and {chain[0].id, chain[1].id} <= self.volumes.keys()
            and volume.name.startswith(f"{chain[-1].name}.")
        )

    def chain_of(self, volume: Volume) -> list[Volume]:
        """The volume and everything below it, as the database has it."""
        chain = [volume]
        while (below := chain[-1].backing_store_id) is not None:
            chain.append(self.rows[below])
        return chain

    def target_of(self, path: str) -> str | None:
        """The disk in whose open chain a file is."""
        return next((target for target, chain in self.live.items() if path in chain), None)

    def is_kept(self, volume: Volume) -> bool:
        """Whether its content must stay readable at its path."""
        path = volume.uuid
        return path in self.named or path in self.active or path in self.foreign

    def allocated(self, volume: Volume) -> int:
        """Bytes on disk; 0 for a file that is not there."""
        image = self.images.get(volume.uuid)
        return image.allocated if image else 0


def survey_of(node: Node, domain: Any) -> Survey:
    """Look at a node."""
    images = images_of(node.driver)
    volumes = {volume.id: volume for volume in node.get_volumes()}
    snapshots = [*snapshots_of(domain).values(), *recorded_of(node).values()]
    active, live = _stands_on(domain)
    rows = {device.volume.uuid for device in node.disk_devices if device.volume is not None}
    return Survey(
        node=node,
        domain=domain,
        state=run_state(domain),
        volumes=volumes,
        rows=_with_what_is_below(volumes),
        children=_children_of(volumes),
        images=images,
        named=_paths(d for s in snapshots if not s.internal for d in s.held),
        inside=_paths(d for s in snapshots if s.internal for d in s.snapshotted),
        active=active | rows,
        live=live,
        foreign=_foreign(node, domain, images),
    )


def _paths(disks: Iterable[Any]) -> frozenset[str]:
    return frozenset(str(disk.path) for disk in disks)


def _with_what_is_below(volumes: dict[int, Volume]) -> dict[int, Volume]:
    objects: Any = apps.get_model("devops", "Volume").objects
    rows = dict(volumes)
    while missing := {row.backing_store_id for row in rows.values()} - rows.keys() - {None}:
        rows |= objects.in_bulk(missing)
    return rows


def _children_of(volumes: dict[int, Volume]) -> dict[int, tuple[Volume, ...]]:
    rows: Any = apps.get_model("devops", "Volume").objects.filter(backing_store__in=list(volumes))
    children: dict[int, list[Volume]] = {}
    for row in rows:
        children.setdefault(row.backing_store_id, []).append(volumes.get(row.id, row))
    return {below: tuple(above) for below, above in children.items()}


def _stands_on(domain: Any) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """The files that its disks stand on, and the chains that are open."""
    with asking(f"reading the definition of {domain.name()}"):
        now = parse(domain.XMLDesc(0))
        then = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        on = bool(domain.isActive())
    active = {disk.path for root in (now, then) for disk in disks_of(root) if disk.path}
    live = open_chains(now) if on else {}
    return frozenset(active), live


def _foreign(node: Node, domain: Any, images: dict[str, Image]) -> frozenset[str]:
    """What stands on which file without the database knowing that it does."""
    objects: Any = apps.get_model("devops", "Volume").objects
    rows = list(objects.values_list("id", "params", "backing_store_id", "node_id"))
    paths = {row: (params or {}).get("uuid") for row, params, _, _ in rows}
    known = {(paths[row], paths.get(below)) for row, _, below, _ in rows}
    own = {paths[row] for row, _, _, owner in rows if owner == node.id}
    backing = frozenset(
        image.backing
        for image in images.values()
        if image.backing and image.path not in own and (image.path, image.backing) not in known
    )
    return backing | used_by_other_domains(node.driver.conn, domain)
