"""Where the database and libvirt differ, and bringing them into step again.

Each room finds differences of one kind: ``domains``, ``disks``, ``snapshots``, ``files`` and
``leftovers``. Each finding says what could be done, and can do it; ``run`` puts them in order.
Nothing that the database does not know is ever deleted.
"""

from .finding import Finding
from .run import Outcome, compare, repair

__all__ = ["Finding", "Outcome", "compare", "repair"]
