"""The storage pool of a host, as a driver of the ``devops`` app would name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot import storage_pool
from tests.bed import Host


@dataclass(frozen=True)
class FarPool:
    """:param conn: to a libvirt that reads and writes files for us

    :param connection_string: says that it is on another host, so that nobody looks here
    """

    conn: libvirt.virConnect
    directory: Path
    connection_string: str = "qemu+ssh://root@elsewhere/system"
    storage_pool_name: str = "default"

    def volume(self, path: Path) -> Any:
        """The volume of a file that libvirt may not have seen yet."""
        pool = self.conn.storagePoolLookupByName(self.storage_pool_name)
        found = storage_pool.find_by_path(pool, str(path))
        assert found is not None, path
        return found


@pytest.fixture
def pool(alpha: Host) -> FarPool:
    return FarPool(alpha.connection, alpha.pool_dir)
