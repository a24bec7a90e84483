"""The way out: an environment becomes an export on a storage node.

``wanted`` is what the user asks for, ``report`` of which test it is, ``chosen`` the moment that it
is, ``selection`` settles what goes along, ``files`` finds the files behind it, ``ship`` sends them,
``telling`` is what the export says of itself, ``record`` its row, ``run`` is the whole journey.
"""

from .report import OUTCOMES, Told, told
from .run import export
from .wanted import Wanted

__all__ = ["OUTCOMES", "Told", "Wanted", "export", "told"]
