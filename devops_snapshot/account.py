"""Who runs this process."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """The user's name, or the number of one who has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # Python before 3.13, and since
        return str(os.geteuid())
