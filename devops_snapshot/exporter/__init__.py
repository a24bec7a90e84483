"""The way out: an environment becomes an export on a storage node.

``selection`` settles what goes along, ``files`` finds the files behind it, ``ship`` sends them,
``run`` is the whole journey.
"""

from .run import export

__all__ = ["export"]
