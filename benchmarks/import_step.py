"""One ``import-env`` that tells how long each part of it took, as a process of its own.

``python benchmarks/import_step.py FILE BEGAN ARGUMENT...``: runs ``dos.py import-env ARGUMENT...``
and writes JSON into the file: ``seconds`` by part, and ``peak``, the MiB of memory that it had at
most. ``BEGAN`` is when it was called (``time.monotonic()``, which is the same for all processes).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import django

PLAN, DOWNLOAD, DEFINE, RESTORE = PARTS = ("plan", "download", "define", "restore")


class Clock:
    """Each part lasts until the next one begins; the first began when the command was called."""

    def __init__(self, began: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._part, self._since = PLAN, began

    def begins(self, part: str) -> None:
        now = time.monotonic()
        self.seconds[self._part] += now - self._since
        self._part, self._since = part, now

    def around(self, module: Any, name: str, *, part: str, after: str) -> None:
        """Let a function of a module be a part, after which another one begins."""
        function: Callable[..., Any] = getattr(module, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            self.begins(part)
            try:
                return function(*arguments, **named)
            finally:
                self.begins(after)

        setattr(module, name, timed)


def main(report: str, began: str, *arguments: str) -> int:
    clock = Clock(float(began))
    os.environ["DJANGO_SETTINGS_MODULE"] = "devops_snapshot.settings"
    django.setup()
    run = import_module("devops_snapshot.importer.run")  # needs the models
    clock.around(run, "fetch_files", part=DOWNLOAD, after=DEFINE)
    clock.around(run, "awaken", part=RESTORE, after=RESTORE)
    sys.argv = ["dos.py", "import-env", *arguments]
    code: int = import_module("devops_snapshot.shell").main()
    clock.begins(RESTORE)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(report).write_text(json.dumps({"seconds": clock.seconds, "peak": peak}))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
