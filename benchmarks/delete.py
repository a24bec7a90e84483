"""Deleting a snapshot: ours, and the same merge by hand with virsh or qemu-img."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tabulate import tabulate

from devops_snapshot import snapshot as snapshots
from devops_snapshot.snapshot import qemu_img
from tests.bed import Bed, Host

from .chain import DOMAIN, MIB, Case, Chain, images_of, new_chain, random_data, run

OURS = "snapshot-delete"
HEADERS = (
    "guest",
    "deleted",
    "lower",
    "upper",
    "way",
    "command",
    "x",
    "on disk",
    "x",
    "written",
    "came back",
)
LEGEND = """\
Medians. lower: data in the layer that no name needs any more; upper: in the only one that stands
on it; half of the smaller one lies over the other (MiB). command: seconds until it ends; on disk:
until its data is on the disk, too; x: that time by ours. written: by QEMU, qemu-img and us; came
back: what the layers take less than before (MiB)."""


@dataclass(frozen=True)
class Measurement:
    """:param command: seconds until it had ended
    :param on_disk: seconds until its data was on the disk, too
    :param written: MiB that QEMU, qemu-img and this process wrote
    :param came_back: MiB
    """

    on: bool
    deleted: str
    lower: int
    upper: int
    way: str
    command: float
    on_disk: float
    written: float
    came_back: float

    @property
    def case(self) -> Case:
        return Case(self.on, self.deleted, self.lower, self.upper)


# The ways


def _snapshot_delete(chain: Chain) -> None:
    assert snapshots.delete(chain.environment, chain.case.name).waiting == ()


def _qemu_img_commit(chain: Chain) -> None:
    run("qemu-img", "commit", "-q", "-d", chain.upper)
    for path in chain.above[:1]:
        run("qemu-img", "rebase", "-q", "-u", "-b", chain.lower, "-F", "qcow2", path)
    Path(chain.upper).unlink()


def _qemu_img_rebase(chain: Chain) -> None:
    run("qemu-img", "rebase", "-q", "-b", chain.below, "-F", "qcow2", chain.upper)
    Path(chain.lower).unlink()


def _virsh_blockcommit(chain: Chain) -> None:
    which = ["--top", chain.upper] if chain.above else ["--active", "--pivot"]
    chain.virsh("blockcommit", DOMAIN, "sda", "--base", chain.lower, *which, "--wait")
    Path(chain.upper).unlink()


def _virsh_blockpull(chain: Chain) -> None:
    chain.virsh("blockpull", DOMAIN, "sda", "--base", chain.below, "--wait")
    Path(chain.lower).unlink()


Way = Callable[[Chain], None]
OFF: dict[str, Way] = {
    OURS: _snapshot_delete,
    "qemu-img commit": _qemu_img_commit,
    "qemu-img rebase": _qemu_img_rebase,
}
ON_MIDDLE: dict[str, Way] = {OURS: _snapshot_delete, "virsh blockcommit": _virsh_blockcommit}
ON_CURRENT: dict[str, Way] = {**ON_MIDDLE, "virsh blockpull": _virsh_blockpull}
"""QEMU pulls into the layer that the guest writes to, and into no other."""


def ways_of(case: Case) -> dict[str, Way]:
    if not case.on:
        return OFF
    return ON_MIDDLE if case.deleted == "middle" else ON_CURRENT


# Measuring


def main() -> None:
    options = _options()
    large, small = options.large, options.small
    sizes = [(large, large), (large, small), (small, large)]
    cases = [Case(False, "middle", *pair) for pair in sizes]
    cases += [Case(True, "middle", *pair) for pair in sizes]
    cases += [Case(True, "current", *pair) for pair in sizes[1:]]
    measurements: list[Measurement] = []
    with Bed() as bed, TemporaryDirectory() as directory:
        data = random_data(Path(directory))
        for case in cases:
            measurements += _measure(bed.host("alpha"), data, case, options.repeat)
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"This process, which deleted the snapshots, had {peak:.0f} MiB of memory at most.")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delete", description=__doc__)
    parser.add_argument("--large", type=int, default=512, help="MiB in a large layer")
    parser.add_argument("--small", type=int, default=64, help="MiB in a small one")
    parser.add_argument("--repeat", type=int, default=3, help="the table has the medians")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


def _measure(host: Host, data: Sequence[Path], case: Case, repeat: int) -> list[Measurement]:
    """All ways as often as asked, in turn from the first and from the last."""
    found = []
    for repetition in range(repeat):
        ways = list(ways_of(case).items())
        for name, way in reversed(ways) if repetition % 2 else ways:
            with new_chain(host, data, case) as chain:
                found.append(_measured(chain, name, way))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def _measured(chain: Chain, name: str, way: Way) -> Measurement:
    size, written, began = chain.size(), _written(chain.host), time.monotonic()
    way(chain)
    command = time.monotonic() - began
    left = [path for path in chain.layers if Path(path).exists()]
    for path in left:
        qemu_img.sync(path)
    on_disk = time.monotonic() - began
    assert len(images_of(left[-1])) == len(left) == len(chain.layers) - 1, f"{name} has left {left}"
    return Measurement(
        **asdict(chain.case),
        way=name,
        command=command,
        on_disk=on_disk,
        written=(_written(chain.host) - written) / MIB,
        came_back=(size - chain.size()) / MIB,
    )


def _written(host: Host) -> int:
    """Bytes so far, by this process, by those it has waited for, and by the host's QEMUs."""
    own = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    blocks = sum(resource.getrusage(who).ru_oublock for who in own)
    return blocks * 512 + sum(map(_written_by, _qemu_processes(host)))


def _qemu_processes(host: Host) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if b"guest=" in command and str(host.pool_dir).encode() in command:
            yield process


def _written_by(process: Path) -> int:
    lines = process.joinpath("io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


# What is told


def _table(measurements: Iterable[Measurement]) -> str:
    by_case: dict[Case, dict[str, list[Measurement]]] = {}
    for one in measurements:
        by_case.setdefault(one.case, {}).setdefault(one.way, []).append(one)
    rows = [row for case, ways in by_case.items() for row in _rows(case, ways)]
    return tabulate(rows, headers=HEADERS, tablefmt="rst", disable_numparse=True)


def _rows(case: Case, ways: dict[str, list[Measurement]]) -> Iterator[list[str]]:
    ours = ways[OURS]
    for name in ways_of(case):
        of_way = ways[name]
        row = ["on" if case.on else "off", case.deleted, str(case.lower), str(case.upper), name]
        for attribute in ("command", "on_disk"):
            own, seconds = _median(ours, attribute), _median(of_way, attribute)
            row += [f"{seconds:.2f}", "" if name == OURS else f"{seconds / own:.1f}"]
        yield [*row, f"{_median(of_way, 'written'):.0f}", f"{_median(of_way, 'came_back'):.0f}"]


def _median(measurements: Sequence[Measurement], attribute: str) -> float:
    return statistics.median(float(getattr(one, attribute)) for one in measurements)


if __name__ == "__main__":
    main()
