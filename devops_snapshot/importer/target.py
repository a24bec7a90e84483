"""The host that an environment comes to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lxml import etree

from ..connection import connect, is_local
from ..errors import HypervisorError
from ..hypervisor import asking
from ..snapshot.domain_xml import parse
from ..snapshot.pool import pool_directory
from ..volumes import are_ours


@dataclass(frozen=True)
class Target:
    """A libvirt connection and a storage pool, as every driver row of the import will name them."""

    connection_string: str
    storage_pool_name: str

    @classmethod
    def of_this_host(cls, *, connection: str | None = None, pool: str | None = None) -> Target:
        """Given ones, else those of fuel-devops's environment variables, else its defaults."""
        return cls(
            connection or os.environ.get("CONNECTION_STRING") or "qemu:///system",
            pool or os.environ.get("STORAGE_POOL_NAME") or "default",
        )

    @cached_property
    def conn(self) -> Any:
        return connect(self.connection_string)

    @property
    def is_local(self) -> bool:
        """Whether libvirt is on this host, so that its files and routes are those seen here."""
        return is_local(self.connection_string)

    @cached_property
    def directory(self) -> Path:
        """Where the pool's files are."""
        return pool_directory(self)

    @cached_property
    def files_are_ours(self) -> bool:
        """Whether we make files in the pool ourselves; else libvirt does."""
        return are_ours(self, self.directory)

    @cached_property
    def _capabilities(self) -> etree._Element:
        with asking("reading the capabilities of the host"):
            return parse(self.conn.getCapabilities())

    def emulator(self, architecture: str, domain_type: str) -> str:
        """The QEMU that runs such guests here.

        :raises HypervisorError: the host has none
        """
        for arch in self._capabilities.findall("guest[os_type='hvm']/arch"):
            types = {str(domain.get("type")): domain for domain in arch.findall("domain")}
            domain = types.get(domain_type)
            if arch.get("name") == architecture and domain is not None:
                emulator = domain.findtext("emulator") or arch.findtext("emulator")
                if emulator:
                    return str(emulator)
        raise HypervisorError(
            f"{self.connection_string} cannot run guests of type {domain_type} on {architecture}"
        )
