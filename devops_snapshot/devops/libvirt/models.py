"""The driver's models, registered under fuel-devops's class names."""

from .driver import LibvirtDriver
from .network import LibvirtInterface, LibvirtL2NetworkDevice
from .node import LibvirtNode
from .volume import LibvirtDiskDevice, LibvirtVolume

__all__ = [
    "LibvirtDiskDevice",
    "LibvirtDriver",
    "LibvirtInterface",
    "LibvirtL2NetworkDevice",
    "LibvirtNode",
    "LibvirtVolume",
]
