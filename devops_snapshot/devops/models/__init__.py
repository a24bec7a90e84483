"""The models of fuel-devops 3.0.5, written afresh."""

from .address_pool import Address, AddressPool, NetworkPool
from .driver import Driver
from .environment import Environment
from .group import Group
from .network import Interface, L2NetworkDevice, NetworkConfig
from .node import Node
from .volume import DiskDevice, Volume

from ..libvirt import models as libvirt_models  # isort: skip  # its proxies need the models above

__all__ = [
    "Address",
    "AddressPool",
    "DiskDevice",
    "Driver",
    "Environment",
    "Group",
    "Interface",
    "L2NetworkDevice",
    "NetworkConfig",
    "NetworkPool",
    "Node",
    "Volume",
    "libvirt_models",
]
