"""The rows of the environment, and this project's own ones of its snapshots."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import DatabaseError, transaction

from ..errors import FormatError
from ..manifest.writing import RowWriter
from ..models import EnvironmentSnapshot, NodeSnapshot
from ..snapshot.undo import Undo
from .plan import Plan


def write_rows(plan: Plan, networks: dict[int, str], undo: Undo) -> Any:
    """Write everything at once; returns the environment's row.

    :param networks: UUID of each network here, by the exported device's id
    :raises FormatError: the database refuses
    """
    writer = RowWriter(
        paths=plan.paths,
        networks=networks,
        driver_params={
            "connection_string": plan.target.connection_string,
            "storage_pool_name": plan.target.storage_pool_name,
        },
    )
    try:
        with transaction.atomic():
            environment = writer.write(plan.manifest.environment)
            _write_snapshots(plan, environment)
    except (DatabaseError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"the database refuses the rows of the export: {reason}") from error
    undo.later(remove_rows, environment, set(plan.paths.values()))
    return environment


def _write_snapshots(plan: Plan, environment: Any) -> None:
    """This project's own records of the snapshots that came along."""
    rows = {node.name: node for node in environment.get_nodes()}
    for node in plan.manifest.environment.nodes:
        for exported in node.snapshots:
            if exported.internal:
                continue
            snapshot, _ = EnvironmentSnapshot.objects.get_or_create(
                environment_id=environment.id,
                name=exported.name,
                defaults={
                    "description": exported.description,
                    "created": exported.created.replace(tzinfo=None),
                },
            )
            NodeSnapshot.objects.create(
                snapshot=snapshot,
                node_id=rows[node.name].id,
                node_name=node.name,
                state=exported.state,
                memory_path=plan.paths[exported.memory] if exported.memory else "",
            )


def remove_rows(environment: Any, imported: Collection[str]) -> None:
    """The rows, and the overlays and copies that a revert has made: nothing else knows of those.

    :param imported: paths of files that are removed otherwise
    """
    for owner in (*environment.get_nodes(), *environment.get_groups()):
        for volume in owner.get_volumes().order_by("-id"):
            if volume.uuid not in imported:
                volume.remove()
    drivers = [group.driver for group in environment.get_groups()]
    with transaction.atomic():  # nobody would find a driver that is left alone
        environment.delete()
        for driver in drivers:
            driver.delete()
