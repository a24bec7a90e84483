"""The way back: an export comes to life on this host.

``choose`` finds the export, ``choices`` is what the user wants of it, ``plan`` with its ``checks``
finds all that is in its way, ``files``, ``networks``, ``rows`` and ``machines`` bring its parts,
``run`` is the whole journey.
"""

from .choices import Choices, Ending
from .findings import Finding, Verdict
from .plan import Plan
from .recover import recover
from .run import import_environment, plan_import
from .target import Target

__all__ = [
    "Choices",
    "Ending",
    "Finding",
    "Plan",
    "Target",
    "Verdict",
    "import_environment",
    "plan_import",
    "recover",
]
