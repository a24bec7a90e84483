"""The clock of a guest, read and set through QEMU's guest agent, without any network."""

from __future__ import annotations

import json
import time
from typing import Any

import libvirt
import libvirt_qemu

from ...errors import HypervisorError

_SECONDS = 5  # that an agent has for an answer; libvirt's own getTime waits for ever
_CLOSE = 2.0  # seconds between two clocks that count as one
_NANO = 10**9
_LATEST = 1 << 37  # seconds since 1970, in a far future that clocks can still tell


def read_clock(domain: Any) -> float | None:
    """Seconds since 1970 by the guest's clock; None where no agent answers within seconds.

    :raises HypervisorError: what answers tells no time
    """
    try:
        told = _ask(domain, "guest-get-time")
    except libvirt.libvirtError:
        return None
    if not isinstance(told, int) or not 0 <= told < _LATEST * _NANO:
        raise HypervisorError(f"the guest agent of {domain.name()} tells no time")
    return told / _NANO


def set_clock(domain: Any) -> float:
    """Set the guest's clock to this host's, and return what it is then.

    :raises HypervisorError: the agent does not, or tells no time
    """
    now = time.time()
    try:
        _ask(domain, "guest-set-time", time=int(now * _NANO))
    except libvirt.libvirtError as error:
        # the agent sets the clock first, and then fails in a guest whose hwclock does
        after = read_clock(domain)
        if after is None or abs(after - time.time()) > _CLOSE:
            raise HypervisorError(
                f"the guest agent of {domain.name()} does not set the clock: "
                f"{error.get_error_message()}"
            ) from error
        return after
    return read_clock(domain) or now


def _ask(domain: Any, command: str, **arguments: int) -> Any:
    question = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
    answer = json.loads(libvirt_qemu.qemuAgentCommand(domain, question, _SECONDS, 0))
    return answer.get("return") if isinstance(answer, dict) else None
