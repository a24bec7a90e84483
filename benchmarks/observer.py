"""When guests stand still, as QEMU itself tells: independent of what is measured."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.bed import Host

#: One line of ``virsh qemu-monitor-event``; the time is QEMU's, in seconds since 1970.
EVENT = re.compile(r"^event (?P<event>STOP|RESUME) at (?P<at>[\d.]+) for domain '(?P<name>.+)':")
COMMAND = ("stdbuf", "-oL", "virsh", "qemu-monitor-event", "--loop", "--regex")
PATIENCE = 20.0  # seconds
POLL = 0.05  # seconds


@dataclass(frozen=True)
class Standstill:
    """From its first stop to its last resumption, in seconds since 1970."""

    stopped: float
    resumed: float

    @property
    def seconds(self) -> float:
        return self.resumed - self.stopped


class Observer:
    """Reads a host's events for as long as it is entered."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._log = Path(host.directory, "events")

    def __enter__(self) -> Observer:
        self._output = self._log.open("w")
        self._process = self.host.popen(
            [*COMMAND, "--event", "^(STOP|RESUME)$"], stdout=self._output.fileno()
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self._output.close()

    def position(self) -> int:
        """Where the next event will be: give it to :meth:`standstills`."""
        return self._log.stat().st_size

    def standstills(self, since: int, *, guests: int) -> Mapping[str, Standstill]:
        """By domain, of all guests, once each of them has gone on.

        :raises TimeoutError: fewer have stopped and gone on
        """
        deadline = time.monotonic() + PATIENCE
        while len(found := self._found(since)) < guests:
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {guests} guests only {sorted(found)} stopped and went on")
            time.sleep(POLL)
        return found

    def _found(self, since: int) -> dict[str, Standstill]:
        first: dict[str, float] = {}
        last: dict[str, float] = {}
        for line in self._log.read_text()[since:].splitlines():
            if match := EVENT.match(line):
                if match["event"] == "STOP":
                    first.setdefault(match["name"], float(match["at"]))
                else:
                    last[match["name"]] = float(match["at"])
        return {name: Standstill(first[name], last[name]) for name in first if name in last}
