"""``dos.py version``"""

from __future__ import annotations

from typing import Any

from .... import __version__
from ....console import DevopsCommand


class Command(DevopsCommand):
    help = "Show the version"
    needs_database = False

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(__version__)
