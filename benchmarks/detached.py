"""From the end of a failed test to a host that is ready for the next: detached, and not."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from tests.bed import Bed

from .guests import Running, running

HEADERS = (
    "nodes",
    "memory",
    "export",
    "detached",
    "ready",
    "ready, detached",
    "x",
    "frozen",
    "frozen, detached",
    "sent later in",
)
LEGEND = """\
Seconds; memory of each guest in MiB. export, detached: the command, which takes a snapshot first;
ready: until the environment is erased as well; x: ready by ready, detached. frozen: how long the
guests stood still."""


@dataclass(frozen=True)
class Measurement:
    """One environment that left its host; times in seconds.

    :param memory: of each guest, MiB
    :param command: of ``export-env``
    :param ready: of that and ``erase``
    :param sending: of the worker, afterwards
    """

    is_detached: bool
    nodes: int
    memory: int
    command: float
    ready: float
    frozen: float
    sending: float


def main() -> None:
    options = _options()
    measurements = []
    with Bed() as bed:
        host, storage = bed.host("alpha"), bed.storage().url
        for nodes in options.nodes:
            for is_detached in (False, True):
                _say(f"nodes of {options.memory} MiB, booting: {nodes}")
                with running(host, bed.guest_iso, nodes=nodes, memory=options.memory) as guests:
                    url = f"{storage}/{nodes}-{is_detached}"
                    found = _measure(guests, url, options.memory, is_detached=is_detached)
                _say(str(found))
                measurements.append(found)
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detached", description=__doc__)
    parser.add_argument("--memory", type=int, default=256, help="MiB of each guest")
    parser.add_argument("--nodes", type=_numbers, default=[1, 4, 8])
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _measure(guests: Running, storage: str, memory: int, *, is_detached: bool) -> Measurement:
    name = guests.environment.name
    how = ["--detach"] if is_detached else []
    began = time.monotonic()
    record = json.loads(_dos(guests, "export-env", name, "--storage", storage, "--json", *how))
    exported = time.monotonic()
    _dos(guests, "erase", name)
    erased = time.monotonic()
    if is_detached:
        _dos(guests, "export-worker", "--once", "--eager")
    return Measurement(
        is_detached=is_detached,
        nodes=len(guests.guests),
        memory=memory,
        command=exported - began,
        ready=erased - began,
        frozen=record["freeze_seconds"],
        sending=time.monotonic() - erased,
    )


def _dos(guests: Running, *arguments: str) -> str:
    variables = {
        "DEVOPS_DB_ENGINE": "sqlite3",
        "DEVOPS_DB_NAME": str(guests.host.directory / "benchmark.sqlite3"),
    }
    return guests.host.dos(*arguments, env=variables, timeout=3600).stdout


def _table(measurements: Iterable[Measurement]) -> str:
    by_case: dict[tuple[int, int], dict[bool, Measurement]] = {}
    for one in measurements:
        by_case.setdefault((one.nodes, one.memory), {})[one.is_detached] = one
    rows = [[*case, *_row(ways[False], ways[True])] for case, ways in by_case.items()]
    return tabulate(rows, headers=HEADERS, floatfmt=".2f")


def _row(whole: Measurement, detached: Measurement) -> list[float]:
    return [
        whole.command,
        detached.command,
        whole.ready,
        detached.ready,
        whole.ready / detached.ready,
        whole.frozen,
        detached.frozen,
        detached.sending,
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
