"""What happens to environments, told to those who want to know."""

from __future__ import annotations

from django.dispatch import Signal

powered = Signal()
"""Guests were switched on or off, or go on (``environment``: its name).

The environment's lock is held. What had to wait for that can be done now.
"""

about_to_change = Signal()
"""A command is about to change an environment (``environment``: its name).

The environment's lock is held. What an earlier command owes the guests is to be done now: later, it
could undo what this one does.
"""

about_to_merge = Signal()
"""Layers of a disk are about to be merged, in files that have other names, too (``paths``).

Whoever has given up such a name returns True; merging is easier then.
"""

about_to_connect = Signal()
"""Guests of an environment are about to be connected to (``environment``: its row).

Whoever knows another way there than this host's network returns a context manager that gives a
function like ``socket.create_connection``, to be used inside.
"""
