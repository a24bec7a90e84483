"""The host that an environment comes to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..connection import connect, is_local
from ..devops.libvirt.hypervisor import Hypervisor, domain_types, fitting, kvm_failure
from ..errors import HypervisorError
from ..hypervisor import asking
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

    def hypervisor(self, architecture: str, wanted: str) -> Hypervisor:
        """What runs such guests here; QEMU's emulation stands in for KVM that does not work.

        :param wanted: type of domain: ``kvm`` or ``qemu``
        :raises HypervisorError: the host has none
        """
        emulators = domain_types(self._capabilities, architecture)
        found = fitting(emulators, wanted, has_kvm=lambda: not self.kvm_failure(architecture))
        if found is None:
            raise HypervisorError(
                f"{self.connection_string} cannot run guests of type {wanted} on {architecture}"
            )
        return found

    def kvm_failure(self, architecture: str) -> str:
        """Why no guest runs in KVM here; empty where guests do."""
        if architecture not in self._kvm_failures:
            with asking("looking whether KVM works"):
                self._kvm_failures[architecture] = kvm_failure(self.conn, architecture)
        return self._kvm_failures[architecture]

    @cached_property
    def _kvm_failures(self) -> dict[str, str]:
        """Found out already, by architecture."""
        return {}

    @cached_property
    def _capabilities(self) -> str:
        with asking("reading the capabilities of the host"):
            return str(self.conn.getCapabilities())
