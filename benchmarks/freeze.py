"""How long guests stand still for a snapshot of an environment: ours, and virsh node after node."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from tests.bed import Bed

from .guests import Running, running
from .observer import Observer
from .ways import OURS, VIRSH, WAYS

MIB = 1 << 20
HEADERS = (
    "memory",
    "nodes",
    "saved",
    "guest",
    "guest, virsh",
    "x",
    "all",
    "all, virsh",
    "x",
    "command",
    "command, virsh",
)
LEGEND = """\
Medians in seconds; memory of each guest and all memory files together in MiB. guest: how long the
guest stood still that stood still longest; all: from the first guest stopped to the last one going
on (with virsh each guest is saved at a moment of its own); command: all in all. x: virsh's time by
ours."""


@dataclass(frozen=True)
class Measurement:
    """One snapshot of all guests; times in seconds, as QEMU tells them unless said otherwise.

    :param memory: of each guest, MiB
    :param saved: size of all memory files, MiB
    :param longest: standstill of the guest that stood still longest
    :param window: first guest stopped to last guest going on
    :param told: the longest standstill that the snapshot itself has reported
    :param whole: from beginning to end, with all that happens while guests run
    """

    way: str
    memory: int
    nodes: int
    saved: float
    longest: float
    window: float
    told: float | None
    whole: float


def main() -> None:
    options = _options()
    measurements: list[Measurement] = []
    with Bed() as bed:
        host = bed.host("alpha")
        for memory in options.memory:
            for nodes in options.nodes:
                _say(f"nodes of {memory} MiB, booting: {nodes}")
                with (
                    Observer(host) as observer,
                    running(host, bed.guest_iso, nodes=nodes, memory=memory) as guests,
                ):
                    measurements += _measure(guests, observer, memory, options.repeat)
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"This process, which took the snapshots, had {peak:.0f} MiB of memory at most.")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freeze", description=__doc__)
    parser.add_argument("--memory", type=_numbers, default=[128, 256, 512], help="MiB, comma")
    parser.add_argument("--nodes", type=_numbers, default=[1, 4, 8])
    parser.add_argument("--repeat", type=int, default=4, help="the table has the medians")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _measure(
    guests: Running, observer: Observer, memory: int, repeat: int
) -> Sequence[Measurement]:
    """Both ways as often as asked; who goes second gains a little, so that changes."""
    found = []
    for repetition in range(repeat):
        ways = list(WAYS.items())
        for name, way in reversed(ways) if repetition % 2 else ways:
            os.sync()  # what was written before shall not be in the way
            position, began = observer.position(), time.monotonic()
            told = way.take(guests)
            whole = time.monotonic() - began
            stood = observer.standstills(position, guests=len(guests.guests)).values()
            resumed, stopped = max(s.resumed for s in stood), min(s.stopped for s in stood)
            measurement = Measurement(
                way=name,
                memory=memory,
                nodes=len(guests.guests),
                saved=_memory_files(guests.host.pool_dir) / MIB,
                longest=max(one.seconds for one in stood),
                window=resumed - stopped,
                told=told,
                whole=whole,
            )
            _say(str(measurement))
            found.append(measurement)
            way.undo(guests)
    return found


def _memory_files(pool: Path) -> int:
    """Bytes."""
    return sum(path.stat().st_size for path in pool.glob("*memory*"))


def _table(measurements: Iterable[Measurement]) -> str:
    by_case: dict[tuple[int, int], dict[str, list[Measurement]]] = {}
    for one in measurements:
        case = by_case.setdefault((one.memory, one.nodes), {OURS: [], VIRSH: []})
        case[one.way].append(one)
    rows = [[*case, *_row(ways[OURS], ways[VIRSH])] for case, ways in by_case.items()]
    return tabulate(rows, headers=HEADERS, tablefmt="rst", floatfmt=".2f", disable_numparse=True)


def _row(ours: Sequence[Measurement], virsh: Sequence[Measurement]) -> list[str]:
    def medians(attribute: str) -> tuple[float, float]:
        of_ours, of_virsh = (
            statistics.median(getattr(one, attribute) for one in way) for way in (ours, virsh)
        )
        return of_ours, of_virsh

    row = [f"{medians('saved')[0]:.0f}"]
    for attribute in ("longest", "window"):
        own, other = medians(attribute)
        row += [f"{own:.2f}", f"{other:.2f}", f"{other / own:.1f}"]
    own, other = medians("whole")
    return [*row, f"{own:.2f}", f"{other:.2f}"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
