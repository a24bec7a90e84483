"""From documents to rows of the ``devops`` app, such as fuel-devops could have written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps

from ..errors import FormatError
from . import document


@dataclass
class RowWriter:
    """Writes one environment; keeps which new row each exported one became.

    :param paths: path of a file on the exporting host to its path here
    :param networks: id of an exported L2 network device to the UUID of its network here
    :param driver_params: what differs in every driver of this host: connection and storage pool
    """

    paths: Mapping[str, str]
    networks: Mapping[int, str]
    driver_params: Mapping[str, Any]
    _new: dict[tuple[str, int], Any] = field(default_factory=dict)

    def write(self, environment: document.Environment) -> Any:
        """Create all rows; the caller holds the transaction.

        :raises FormatError: a row refers to one that is not there
        """
        row = self._create("Environment", environment, name=environment.name)
        for pool in environment.address_pools:
            self._create(
                "AddressPool",
                pool,
                environment=row,
                name=pool.name,
                net=pool.net,
                params=pool.params,
            )
        groups = [self._group(group, row) for group in environment.groups]
        for group, group_row in zip(environment.groups, groups, strict=True):
            for node in group.nodes:
                self._node(node, group_row)
        for node in environment.nodes:  # their disks may be volumes of each other
            self._disks(node)
        return row

    def _create(self, table: str, exported: document.Row, /, **columns: Any) -> Any:
        created = getattr(exported, "created", None)
        if created is not None:
            columns["created"] = created
        row = apps.get_model("devops", table).objects.create(**columns)
        self._new[table, exported.id] = row
        return row

    def _of(self, model: str, exported_id: int | None) -> Any:
        if exported_id is None:
            return None
        if (model, exported_id) not in self._new:
            raise FormatError(f"a row refers to the {model} {exported_id}, which is not there")
        return self._new[model, exported_id]

    def _group(self, group: document.Group, environment: Any) -> Any:
        driver = self._create(
            "Driver",
            group.driver,
            name=group.driver.name,
            params={**group.driver.params, **self.driver_params},
        )
        row = self._create("Group", group, name=group.name, environment=environment, driver=driver)
        for l2 in group.l2_network_devices:
            self._create(
                "L2NetworkDevice",
                l2,
                group=row,
                name=l2.name,
                address_pool=self._of("AddressPool", l2.address_pool),
                params={**l2.params, "uuid": self.networks.get(l2.id)},
            )
        for pool in group.network_pools:
            self._create(
                "NetworkPool",
                pool,
                group=row,
                name=pool.name,
                address_pool=self._of("AddressPool", pool.address_pool),
            )
        self._volumes(group.volumes, group=row)
        return row

    def _volumes(self, volumes: Iterable[document.Volume], **owner: Any) -> None:
        for volume in _from_below(volumes):
            self._create(
                "Volume",
                volume,
                name=volume.name,
                backing_store=self._of("Volume", volume.backing_store),
                params={**volume.params, "uuid": self.paths[volume.params["uuid"]]},
                **owner,
            )

    def _node(self, node: document.Node, group: Any) -> None:
        row = self._create(
            "Node", node, group=group, name=node.name, role=node.role, params=node.params
        )
        for interface in node.interfaces:
            interface_row = self._create(
                "Interface",
                interface,
                node=row,
                l2_network_device=self._of("L2NetworkDevice", interface.l2_network_device),
                label=interface.label,
                mac_address=interface.mac_address,
                type=interface.type,
                model=interface.model,
                params=interface.params,
            )
            for address in interface.addresses:
                model = apps.get_model("devops", "Address")
                model.objects.create(interface=interface_row, ip_address=address)
        for config in node.network_configs:
            self._create(
                "NetworkConfig",
                config,
                node=row,
                label=config.label,
                networks=config.networks,
                aggregation=config.aggregation,
                parents=config.parents,
            )
        self._volumes(node.volumes, node=row)

    def _disks(self, node: document.Node) -> None:
        for disk in node.disks:
            self._create(
                "DiskDevice",
                disk,
                node=self._of("Node", node.id),
                volume=self._of("Volume", disk.volume),
                params=disk.params,
            )


def _from_below(volumes: Iterable[document.Volume]) -> Iterator[document.Volume]:
    """Backing volumes before those that stand on them.

    :raises FormatError: they stand on each other
    """
    waiting = {volume.id: volume for volume in volumes}
    while waiting:
        step: document.Volume | None = next(iter(waiting.values()))
        chain: dict[int, document.Volume] = {}
        while step is not None:
            if step.id in chain:
                raise FormatError(f"volumes stand on each other: {step.name!r} and others")
            chain[step.id] = step
            step = None if step.backing_store is None else waiting.get(step.backing_store)
        for volume in reversed(chain.values()):
            yield waiting.pop(volume.id)
