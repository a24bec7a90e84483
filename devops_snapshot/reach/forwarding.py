"""What passes through the namespace from one network to another, and out.

The same as through the host with libvirt's networks: out of ``nat`` networks under the address of
the way they take, between ``route`` networks and into them, and nothing else but answers. The rules
are the namespace's own and go with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import DevopsError
from .attachment import UPLINK, Attachment
from .host import is_there
from .namespace import Namespace

LOG = logging.getLogger(__name__)

_TABLE = "devops_snapshot"


@dataclass(frozen=True)
class Rules:
    """:param passages: from which device to which new connections may go
    :param hidden: device of a network, and its subnet, which is not shown elsewhere
    """

    passages: tuple[tuple[str, str], ...]
    hidden: tuple[tuple[str, str], ...]


def forward(namespace: Namespace, attachments: Sequence[Attachment], *, uplink: bool) -> None:
    """Forward between isolated networks as the host did before; others have the host.

    Where that cannot be had, it is told: guests can be reached all the same.
    """
    rules = rules_for([each for each in attachments if each.isolated], uplink=uplink)
    if rules.passages and not _load(namespace, rules):
        LOG.warning("env-shell leads guests neither out nor to other networks")
        rules = Rules((), ())
    namespace.set("ipv4.ip_forward", "1" if rules.passages else "0")


def rules_for(isolated: Sequence[Attachment], *, uplink: bool) -> Rules:
    """:param uplink: whether there is a way out"""
    nat = [each for each in isolated if each.nat and _is_ipv4(each)]
    routed = [each for each in isolated if each.routed and _is_ipv4(each)]
    targets = [each.device for each in routed]
    passages = [(each.device, UPLINK) for each in nat if uplink]
    passages += [
        (each.device, target)
        for each in (*nat, *routed)
        for target in targets
        if target != each.device
    ]
    hidden = [(each.device, str(each.subnet)) for each in nat]
    return Rules(tuple(passages), tuple(hidden))


def _is_ipv4(attachment: Attachment) -> bool:
    return attachment.subnet is not None and attachment.subnet.version == 4


def _load(namespace: Namespace, rules: Rules) -> bool:
    """With whichever tool works on this host; whether one did."""
    tools: dict[str, tuple[list[str], Callable[[Rules], str]]] = {
        "nft": (["-f", "-"], for_nft),
        "iptables-restore": ([], for_iptables),
    }
    reasons = []
    for tool, (arguments, written) in tools.items():
        if not is_there(tool):
            reasons.append(f"{tool} is not there")
            continue
        try:
            namespace.run(tool, *arguments, given=written(rules))
        except DevopsError as error:
            reasons.append(error.message)
        else:
            return True
    LOG.warning("no rules can be set: %s", "; ".join(reasons))
    return False


def for_nft(rules: Rules) -> str:
    """As a script for ``nft -f``; replaces rules that are there."""
    passages = [
        f'iifname "{source}" oifname "{target}" accept' for source, target in rules.passages
    ]
    hidden = [
        f'ip saddr {subnet} oifname != "{device}" masquerade' for device, subnet in rules.hidden
    ]
    lines = [
        f"table ip {_TABLE}",
        f"delete table ip {_TABLE}",
        f"table ip {_TABLE} {{",
        "chain forward {",
        "type filter hook forward priority 0; policy drop;",
        "ct state established,related accept",
        *passages,
        "reject",
        "}",
        "chain postrouting {",
        "type nat hook postrouting priority 100;",
        *hidden,
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def for_iptables(rules: Rules) -> str:
    """As input of ``iptables-restore``, which replaces the tables as a whole."""
    passages = [
        f"-A FORWARD -i {source} -o {target} -j ACCEPT" for source, target in rules.passages
    ]
    hidden = [
        f"-A POSTROUTING -s {subnet} ! -o {device} -j MASQUERADE" for device, subnet in rules.hidden
    ]
    lines = [
        "*filter",
        ":FORWARD DROP",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        *passages,
        "-A FORWARD -j REJECT",
        "COMMIT",
        "*nat",
        *hidden,
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"
