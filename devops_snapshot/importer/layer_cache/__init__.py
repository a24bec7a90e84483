"""Layers that have come to this host, kept for the imports that come next.

``place`` says where, ``entry`` is what there is of one layer, ``part`` is one on its way, ``fetch``
lets several come at the same time, ``pool_files`` finds what the storage pool has of them,
``copies`` are second names and clones, and ``cache`` is all of it together.
"""

from .cache import DONE, LayerCache, data_size, give_up, trim
from .entry import Entry

__all__ = ["DONE", "Entry", "LayerCache", "data_size", "give_up", "trim"]
