"""How fast bytes travel over SFTP on loopback: ours, and scp, in turn, one and more at a time."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from devops_snapshot.remote import Remote, connect
from tests.remote.sshd import Sshd, running_sshd

MIB = 1 << 20
SCP = "scp"
SCP_GCM = "scp, AES-GCM"
OURS = "ours"
RANGE = 8 * MIB  # bytes asked for at a time
HEADERS = ("streams", "way", "up", "of scp", "down", "of scp", "CPU up", "CPU down")
LEGEND = """\
Medians. up, down: 10^6 bytes a second, of all streams together; what is sent is durable in the end
(fsync), which scp leaves out. CPU: seconds of the client's processes for 10^9 bytes. scp takes
ChaCha20 by default, ours AES-GCM."""


@dataclass(frozen=True)
class Measurement:
    """One transfer.

    :param streams: at the same time, each with its part of the bytes
    :param rate: bytes a second
    :param cpu: seconds of the client's processes per byte
    """

    way: str
    streams: int
    direction: str
    rate: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    """Where it is measured.

    :param source: a directory with a file for each stream; another for what comes back
    :param size: bytes of all streams together
    """

    sshd: Sshd
    remote: Remote
    source: Path
    target: Path
    size: int


Transfer = Callable[[Bench, str], None]


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="sftp-", dir=options.directory) as name,
        running_sshd(Path(name)) as sshd,
    ):
        os.environ["HOME"] = str(sshd.home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        with connect(sshd.url()) as remote:
            source, target = Path(name) / "source", Path(name) / "received"
            source.mkdir()
            target.mkdir()
            bench = Bench(sshd, remote, source, target, options.size * MIB)
            measurements = list(_measure(bench, options.streams, options.repeat))
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sftp", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of all streams together")
    parser.add_argument("--streams", type=_numbers, default=[1, 2, 4], help="comma")
    parser.add_argument("--repeat", type=int, default=3, help="the table has the medians")
    memory = Path("/dev/shm")
    parser.add_argument(
        "--directory",
        type=Path,
        default=memory if memory.is_dir() else None,
        help="for all files; by default in memory, so that no disk is measured",
    )
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _make_source(bench: Bench, streams: int) -> None:
    for number in range(streams):
        with (bench.source / f"part-{number}").open("wb") as file:
            for _ in range(0, bench.size // streams, MIB):
                file.write(os.urandom(MIB))


def _measure(bench: Bench, streams: Sequence[int], repeat: int) -> Iterator[Measurement]:
    for number in streams:
        _make_source(bench, number)
        for _ in range(repeat):
            for way in (SCP, SCP_GCM, OURS):
                up, down = (_ours_up, _ours_down) if way == OURS else _scp(way)
                yield _timed(bench, way, number, "up", up)
                yield _timed(bench, way, number, "down", down)
                _clean(bench.sshd.root, bench.target)
        _clean(bench.source)


def _timed(bench: Bench, way: str, streams: int, direction: str, work: Transfer) -> Measurement:
    cpu, began = _cpu(), time.monotonic()
    with ThreadPoolExecutor(streams) as threads:
        list(threads.map(lambda number: work(bench, f"part-{number}"), range(streams)))
    seconds = time.monotonic() - began
    rate, cpu = bench.size / seconds, (_cpu() - cpu) / bench.size
    found = Measurement(way, streams, direction, rate, cpu)
    print(found, file=sys.stderr, flush=True)
    return found


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _ours_up(bench: Bench, name: str) -> None:
    with (bench.source / name).open("rb") as file:
        blocks = iter(lambda: file.read(MIB), b"")
        bench.remote.write(name, blocks, staging=f"unfinished-{name}")


def _ours_down(bench: Bench, name: str) -> None:
    size = bench.remote.stat(name).size
    with (bench.target / name).open("wb") as file:
        for offset in range(0, size, RANGE):
            file.write(bench.remote.read(name, offset, RANGE))


def _scp(way: str) -> tuple[Transfer, Transfer]:
    cipher = ["-c", "aes128-gcm@openssh.com"] if way == SCP_GCM else []

    def copy(bench: Bench, source: str, target: str) -> None:
        key = str(bench.sshd.home / ".ssh" / "id_ed25519")
        options = ["-q", *cipher, "-P", str(bench.sshd.port), "-i", key]
        hosts = f"UserKnownHostsFile={bench.sshd.known_hosts}"
        subprocess.run(["scp", *options, "-o", hosts, source, target], check=True)

    def there(bench: Bench, name: str) -> str:
        return f"{bench.sshd.user}@127.0.0.1:{bench.sshd.root / name}"

    def up(bench: Bench, name: str) -> None:
        copy(bench, str(bench.source / name), there(bench, name))

    def down(bench: Bench, name: str) -> None:
        copy(bench, there(bench, name), str(bench.target / name))

    return up, down


def _clean(*directories: Path) -> None:
    for directory in directories:
        for path in directory.iterdir():
            path.unlink()


def _table(measurements: Iterable[Measurement]) -> str:
    by_case: dict[tuple[int, str], dict[str, list[Measurement]]] = {}
    for one in measurements:
        by_case.setdefault((one.streams, one.way), {}).setdefault(one.direction, []).append(one)
    rows = []
    for (streams, way), found in by_case.items():
        row = [str(streams), way]
        for direction in ("up", "down"):
            rate = _median(found[direction], "rate")
            of_scp = rate / _median(by_case[streams, SCP][direction], "rate")
            row += [f"{rate / 1e6:.0f}", f"{of_scp:.2f}"]
        row += [f"{_median(found[direction], 'cpu') * 1e9:.1f}" for direction in ("up", "down")]
        rows.append(row)
    return tabulate(rows, headers=HEADERS, tablefmt="rst", disable_numparse=True)


def _median(found: Iterable[Measurement], attribute: str) -> float:
    return float(statistics.median(getattr(one, attribute) for one in found))


if __name__ == "__main__":
    main()
