"""All that the database says of an environment, free of what belongs to one host.

Run on a host of the bed (``python -m tests.journey.records ENVIRONMENT``), prints JSON. Reads with
plain SQL, so that it sees what fuel-devops would see. Ids become names, paths lose their
directories, and connection and pool are left out.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import PurePosixPath
from typing import Any

import django

QUERIES = {
    "environment": "SELECT name, created FROM devops_environment e WHERE e.name = %s",
    "pools": """
        SELECT p.name, p.net, p.created, p.params FROM devops_address_pool p
        JOIN devops_environment e ON e.id = p.environment_id WHERE e.name = %s ORDER BY p.name""",
    "groups": """
        SELECT g.name, g.created, d.name, d.created, d.params FROM devops_group g
        JOIN devops_driver d ON d.id = g.driver_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s ORDER BY g.name""",
    "l2": """
        SELECT l.name, l.created, p.name, l.params FROM devops_l2_network_device l
        LEFT JOIN devops_address_pool p ON p.id = l.address_pool_id
        JOIN devops_group g ON g.id = l.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s ORDER BY l.name""",
    "network_pools": """
        SELECT n.name, n.created, p.name FROM devops_network_pool n
        LEFT JOIN devops_address_pool p ON p.id = n.address_pool_id
        JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s ORDER BY n.name""",
    "nodes": """
        SELECT n.name, n.role, n.created, n.params FROM devops_node n
        JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s ORDER BY n.name""",
    "interfaces": """
        SELECT n.name, i.label, i.mac_address, i.type, i.model, l.name, i.params, a.ip_address
        FROM devops_interface i JOIN devops_node n ON n.id = i.node_id
        LEFT JOIN devops_l2_network_device l ON l.id = i.l2_network_device_id
        LEFT JOIN devops_address a ON a.interface_id = i.id
        JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s
        ORDER BY n.name, i.id, a.id""",
    "network_configs": """
        SELECT n.name, c.label, c.networks, c.aggregation, c.parents
        FROM devops_network_config c JOIN devops_node n ON n.id = c.node_id
        JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s
        ORDER BY n.name, c.label""",
    "group_volumes": """
        SELECT v.name, v.created, b.name, v.params FROM devops_volume v
        LEFT JOIN devops_volume b ON b.id = v.backing_store_id
        JOIN devops_group g ON g.id = v.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s ORDER BY v.name""",
    "node_volumes": """
        SELECT n.name, v.name, b.name, v.params FROM devops_volume v
        LEFT JOIN devops_volume b ON b.id = v.backing_store_id
        JOIN devops_node n ON n.id = v.node_id JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s
        ORDER BY n.name, v.name""",
    "disks": """
        SELECT n.name, v.name, d.params FROM devops_diskdevice d
        LEFT JOIN devops_volume v ON v.id = d.volume_id
        JOIN devops_node n ON n.id = d.node_id JOIN devops_group g ON g.id = n.group_id
        JOIN devops_environment e ON e.id = g.environment_id WHERE e.name = %s
        ORDER BY n.name, d.id""",
}
HOST_PARAMS = ("connection_string", "storage_pool_name")


def read_records(environment: str) -> dict[str, list[list[Any]]]:
    """Every table's rows, as lists of columns."""
    from django.db import connection

    found = {}
    with connection.cursor() as cursor:
        for table, query in QUERIES.items():
            cursor.execute(query, [environment])
            found[table] = [[_plain(column) for column in row] for row in cursor.fetchall()]
    return found


def _plain(column: Any) -> Any:
    if not isinstance(column, str) or not column.startswith("{"):
        return str(column) if column is not None else None
    params = {key: value for key, value in json.loads(column).items() if key not in HOST_PARAMS}
    if str(params.get("uuid", "")).startswith("/"):
        params["uuid"] = PurePosixPath(params["uuid"]).name
    return params


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "devops_snapshot.settings"
    django.setup()
    json.dump(read_records(sys.argv[1]), sys.stdout)
