"""Two libvirt hosts, a storage node and a small Linux guest on one machine, for tests and demo."""

from .bed import Bed
from .compartment import Process, namespaces_available
from .guest import Guest, GuestError, domain_xml
from .host import CommandError, Host
from .postgres import Postgres
from .storage import Storage
from .template import template_env, two_nodes

__all__ = [
    "Bed",
    "CommandError",
    "Guest",
    "GuestError",
    "Host",
    "Postgres",
    "Process",
    "Storage",
    "domain_xml",
    "namespaces_available",
    "template_env",
    "two_nodes",
]
