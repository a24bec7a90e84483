"""Setting an environment's namespace up, entering, leaving and removing it.

Setting up makes it so, whatever is there: who comes second finds all in place, or mends what was
lost meanwhile, such as a network that was started anew. Who leaves last removes it. What a killed
command left is removed by whoever comes next.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import DevopsError
from ..interrupts import Heed, heed_nothing
from ..models import IsolatedNetwork
from . import cables, dnsmasq, uplink
from .addresses import settle_addresses
from .attachment import IPInterface, attachments
from .files import write_files
from .host import may_make_namespaces
from .namespace import Namespace
from .occupancy import alone, enter, is_occupied
from .place import Place, places
from .way_out import lead_out

LOG = logging.getLogger(__name__)

Connect = Callable[[tuple[str, int], float], socket.socket]
"""As ``socket.create_connection``: address and port, seconds to wait."""

VARIABLE = "DEVOPS_ENV_SHELL"
"""Set inside, to the environment's name."""

_PATIENCE_OF_OTHERS = 10.0
"""Seconds that commands which only clean up wait for an env-shell that is being set up."""


@dataclass(frozen=True)
class Inside:
    """What a command finds in an environment's namespace.

    :param files: what is to be seen at a path of the host
    :param networks: device of each, with the namespace's address
    :param way_out: device that leads out; empty: none does
    """

    namespace: Namespace
    files: Mapping[Path, Path]
    networks: tuple[tuple[str, IPInterface | None], ...]
    way_out: str


@contextmanager
def entered(environment: Any, *, heed: Heed = heed_nothing) -> Iterator[Inside]:
    """The environment's namespace, for as long as somebody is inside.

    :param environment: its row
    :param heed: called again and again while there is something to wait for
    :raises DevopsError: it cannot be set up; nothing is left of it
    """
    require_rights(environment.name)
    place = Place.of(environment.name)
    with alone(place, heed=heed):
        if not is_occupied(place):
            remove(place)
        stay = enter(place)
        try:
            inside = _set_up(environment, place, heed)
        except BaseException:
            _leave(place, stay)
            raise
    try:
        yield inside
    finally:
        with alone(place):
            _leave(place, stay)


def way_to(environment: Any) -> AbstractContextManager[Connect] | None:
    """How to connect to the environment's guests; None where the host's network leads there.

    :param environment: its row
    """
    rows = environment.get_env_l2_network_devices()
    if not any(IsolatedNetwork.of(row) for row in rows):
        return None
    return _connecting(environment)


@contextmanager
def _connecting(environment: Any) -> Iterator[Connect]:
    with entered(environment) as inside:
        yield inside.namespace.connect


def require_rights(environment: str) -> None:
    """:raises DevopsError: this process may not make namespaces, or does not see the host"""
    within = os.environ.get(VARIABLE)
    if within is not None:
        raise DevopsError(f"this is the env-shell of {within!r}", hint="Leave it first")
    if not may_make_namespaces():
        raise DevopsError(
            f"the way to the guests of {environment!r} takes network devices, which only root may "
            "make (CAP_NET_ADMIN, CAP_SYS_ADMIN)",
            hint='Use sudo: sudo -E env "PATH=$PATH" dos.py ...',
        )


def close(environment: str) -> None:
    """Remove what env-shells have made for an environment that is gone, also from under them."""
    place = Place.of(environment)
    if place.directory.exists():
        _clean_up(place, remove)


def sweep() -> None:
    """Remove what killed env-shells have left, of all environments."""
    for place in places():
        _clean_up(place, _remove_if_empty)


def _clean_up(place: Place, action: Callable[[Place], None]) -> None:
    """Others' work does not fail because of it."""
    if not may_make_namespaces():
        LOG.warning("only root can remove what an env-shell left: %s", place.namespace)
        return
    with _warning(place), alone(place, patience=_PATIENCE_OF_OTHERS):
        action(place)


@contextmanager
def _warning(place: Place) -> Iterator[None]:
    try:
        yield
    except DevopsError as error:
        LOG.warning("what env-shell has made stays (%s): %s", place.namespace, error)


def remove(place: Place) -> None:
    """Remove all that was made for it; the caller is :func:`~.occupancy.alone`.

    :raises DevopsError: something of it stays
    """
    if not place.directory.exists():
        return
    namespace = Namespace(place.namespace)
    dnsmasq.stop(namespace)
    cables.remove(cables.ports_of(place))
    namespace.remove()
    uplink.take_down(place)
    shutil.rmtree(place.directory)


def _leave(place: Place, stay: IO[str]) -> None:
    """A command that has ended has not failed because of what comes after it."""
    stay.close()
    with _warning(place):
        _remove_if_empty(place)


def _remove_if_empty(place: Place) -> None:
    if not is_occupied(place):
        remove(place)


def _set_up(environment: Any, place: Place, heed: Heed) -> Inside:
    place.directory.mkdir(parents=True, exist_ok=True)
    found = attachments(environment)
    namespace = Namespace(place.namespace)
    if not namespace.exists():
        namespace.create()
    for each in found:
        if each.isolated:
            cables.silence(each.bridge)
        cables.lay(
            namespace,
            place.port(each.number),
            each.bridge,
            each.device,
            mac=each.mac,
            alias=f"env-shell of {environment.name}: {each.network}",
        )
    heed()
    cables.wait_for_bridges([place.port(each.number) for each in found], heed)
    addresses = settle_addresses(namespace, found)
    heed()
    way_out = lead_out(namespace, place, found)
    return Inside(
        namespace,
        write_files(place, environment, found, resolvers=way_out.resolvers),
        tuple((each.device, address) for each, address in zip(found, addresses, strict=True)),
        way_out.device,
    )
