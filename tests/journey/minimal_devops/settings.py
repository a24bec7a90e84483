"""Those of ``dos.py``, with this app in the place of the ordinary one."""

from __future__ import annotations

from devops_snapshot.settings import *  # noqa: F403 # all of them

INSTALLED_APPS = ["tests.journey.minimal_devops.apps.MinimalConfig", "devops_snapshot"]
