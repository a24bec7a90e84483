"""What happens to environments, told to those who want to know."""

from __future__ import annotations

from django.dispatch import Signal

powered = Signal()
"""Guests were switched on or off, or go on (``environment``: its name).

The environment's lock is held. What had to wait for that can be done now.
"""
