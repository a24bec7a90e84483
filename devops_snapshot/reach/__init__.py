"""Reaching the guests of an environment: a network namespace attached to its networks.

``attachment`` sees what networks there are, ``shelter`` sets the namespace up and removes it:
``cables`` into the bridges, ``addresses`` (``arp`` asks who has one), the ``way_out`` with
``uplink``, ``forwarding`` and ``dnsmasq``, and ``files`` of ``/etc``. ``place`` has the names of
all that, ``occupancy`` tells who is inside, ``command`` runs something there.
"""

from .command import run_inside
from .shelter import Inside, close, entered, sweep, way_to

__all__ = ["Inside", "close", "entered", "run_inside", "sweep", "way_to"]
