"""What the user may do here, and what only root can."""

from __future__ import annotations

from collections.abc import Iterator

from ...devops.libvirt.host_command import run_on_host
from ...errors import HypervisorError
from ..findings import Finding, Verdict
from .scene import Scene

_SUBJECT = "rights"


def check_rights(scene: Scene) -> Iterator[Finding]:
    """Files are no hindrance: what is not ours, libvirt reads and writes for us."""
    target = scene.target
    if not target.files_are_ours:
        what = f"files in {target.directory} are not ours to make: libvirt writes and reads them"
        yield Finding(_SUBJECT, Verdict.FINE, what)
    joined = [] if scene.choices.isolated else _joined(scene)
    if joined and not _is_root_there(target.connection_string):
        networks = ", ".join(repr(name) for name in joined)
        what = f"networks {networks} are not joined to devices of the host, which takes root there"
        remedy = "Run it as root, or let sudo run commands without a password"
        yield Finding(_SUBJECT, Verdict.NOTE, what, remedy)


def _joined(scene: Scene) -> list[str]:
    """Networks with VLANs, or with a device of the host as a port."""
    return [
        l2.name
        for l2 in scene.manifest.environment.networks
        if l2.params.get("vlan_ifaces") or (l2.params.get("parent_iface") or {}).get("phys_dev")
    ]


def _is_root_there(uri: str) -> bool:
    try:
        run_on_host(uri, ["true"], as_root=True)
    except HypervisorError:
        return False
    return True
