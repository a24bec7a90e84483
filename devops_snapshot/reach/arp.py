"""Asking a network whether anybody has an address, without having one oneself (RFC 5227)."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from ipaddress import IPv4Address
from select import select

from .attachment import IPAddress
from .namespace import Namespace

_ETHERTYPE = 0x0806
_FOR_IPV4 = b"\x00\x01\x08\x00\x06\x04"  # hardware and protocol type, lengths of their addresses
_REQUEST = b"\x00\x01"
_SENDER = slice(28, 32)  # of the frame: the sender's IP address
_PROBES = 2
_WAIT = 0.3  # seconds for answers to a probe; guests on the same host answer in a few milliseconds


def who_answers(
    namespace: Namespace, device: str, addresses: Collection[IPAddress]
) -> set[IPAddress]:
    """Those of the addresses that somebody has; of IPv6, the kernel looks itself."""
    asked = {address.packed: address for address in addresses if isinstance(address, IPv4Address)}
    answering: set[IPAddress] = set()
    if not asked:
        return answering
    with namespace.within(lambda: _listen(device)) as link:
        own = link.getsockname()[4]
        for _ in range(_PROBES):
            for packed in asked:
                link.send(_probe(own, packed))
            answering |= {asked[sender] for sender in _senders(link) if sender in asked}
    return answering


def _listen(device: str) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE))
    link.bind((device, _ETHERTYPE))
    return link


def _probe(own: bytes, address: bytes) -> bytes:
    nobody = bytes(4)
    header = b"\xff" * 6 + own + _ETHERTYPE.to_bytes(2, "big")
    return header + _FOR_IPV4 + _REQUEST + own + nobody + bytes(6) + address


def _senders(link: socket.socket) -> set[bytes]:
    """The IP addresses of those whose ARP packets come in time."""
    senders = set()
    deadline = time.monotonic() + _WAIT
    while (left := deadline - time.monotonic()) > 0:
        if select([link], [], [], left)[0]:
            senders.add(link.recv(128)[_SENDER])
    return senders
