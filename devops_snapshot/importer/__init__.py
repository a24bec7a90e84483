"""The way back: an export comes to life on this host.

``choose`` finds the export, ``plan`` all that is in its way, ``files``, ``networks`` and ``domain``
bring its parts, ``run`` is the whole journey.
"""

from .run import import_environment
from .target import Target

__all__ = ["Target", "import_environment"]
