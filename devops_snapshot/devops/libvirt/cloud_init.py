"""Cloud-init's data for a node: an ISO with the label ``cidata`` that its cdrom holds.

cloud-init's NoCloud source reads ``meta-data`` and ``user-data`` from it. Both come from the
volume's row; in them ``{hostname}``, ``{interface_name}``, ``{address}``, ``{network}``,
``{netmask}`` and ``{gateway}`` stand for the node's own, as in fuel-devops.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from devops_snapshot.errors import HypervisorError, NotFoundError

from ..models.base import get_one

if TYPE_CHECKING:
    from .node import LibvirtNode
    from .volume import LibvirtVolume

PROGRAMS = ("genisoimage", "mkisofs", "xorrisofs")
"""Any of them, called in the same way, writes the ISO."""

TIMEOUT = 60  # seconds

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
"""Braces that are doubled stand for themselves, as in ``str.format``."""

META_DATA = """\
instance-id: {hostname}
local-hostname: {hostname}
network-interfaces: |
  auto {interface_name}
  iface {interface_name} inet static
    address {address}
    netmask {netmask}
    gateway {gateway}
    dns-nameservers 8.8.8.8
"""
USER_DATA = """\
#cloud-config
disable_root: false
ssh_pwauth: true
chpasswd:
  expire: false
  list: |
    root:r00tme
runcmd:
  - ifup {interface_name}
  - sed -i 's/^#*PermitRootLogin.*/PermitRootLogin yes/' /etc/ssh/sshd_config
  - service ssh restart
"""
"""What a node gets whose volume has no data: its address, and fuel-devops's password for root."""


@dataclass(frozen=True)
class Values:
    """What the placeholders stand for; ``network`` in CIDR notation."""

    hostname: str
    interface_name: str
    address: str
    network: str
    netmask: str
    gateway: str


@dataclass(frozen=True)
class CloudInit:
    """The two files, their placeholders filled in."""

    meta_data: str
    user_data: str

    @classmethod
    def of(cls, meta_data: str | None, user_data: str | None, values: Values) -> CloudInit:
        """The templates, by default :data:`META_DATA` and :data:`USER_DATA`, with these values."""
        names = asdict(values)
        return cls(
            filled_in(META_DATA if meta_data is None else meta_data, names),
            filled_in(USER_DATA if user_data is None else user_data, names),
        )

    @contextmanager
    def iso(self) -> Iterator[Path]:
        """The ISO, for as long as the block lasts.

        :raises NotFoundError: no program that could write it is installed
        :raises HypervisorError: the program failed
        """
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            files = directory / "meta-data", directory / "user-data"
            for file, text in zip(files, (self.meta_data, self.user_data), strict=True):
                file.write_text(text)
            iso = directory / "cidata.iso"
            _write_iso(iso, files)
            yield iso


def cloud_init_of(node: LibvirtNode) -> CloudInit | None:
    """What cloud-init is to find in the volume ``cloud_init_volume_name``, if that is named.

    The addresses are those of the interface ``cloud_init_iface_up``.

    :raises NotFoundError: volume, interface or address are not there
    """
    if node.cloud_init_volume_name is None:
        return None
    where = f"node '{node}'"
    volume = cast("LibvirtVolume", node.get_volume(name=node.cloud_init_volume_name))
    interface = get_one(node.interfaces, within=where, label=node.cloud_init_iface_up)
    network = interface.l2_network_device
    if network is None or network.address_pool is None:
        raise NotFoundError(f"interface '{interface}' of {where} has no address for cloud-init")
    pool = network.address_pool
    values = Values(
        hostname=node.name,
        interface_name=str(interface.label),
        address=node.get_ip_address_by_network_name(network.name, interface),
        network=str(pool.ip_network),
        netmask=str(pool.ip_network.netmask),
        gateway=pool.gateway,
    )
    return CloudInit.of(volume.cloudinit_meta_data, volume.cloudinit_user_data, values)


def filled_in(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced; those of other names stay as they are."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return found[0][0] if name is None else values.get(name, found[0])

    return PLACEHOLDER.sub(value, template)


def iso_program() -> str:
    """The program that writes ISOs here; raises NotFoundError."""
    for program in PROGRAMS:
        if shutil.which(program):
            return program
    raise NotFoundError(
        f"cloud-init's data need one of {', '.join(PROGRAMS)}, and none is installed",
        hint="Install genisoimage or xorriso",
    )


def _write_iso(iso: Path, files: tuple[Path, ...]) -> None:
    options = ["-quiet", "-volid", "cidata", "-joliet", "-rock", "-output", str(iso)]
    command = [iso_program(), *options, *map(str, files)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join(str(getattr(error, "stderr", None) or error).split())
        raise HypervisorError(f"cannot write the ISO of cloud-init's data: {reason}") from error
