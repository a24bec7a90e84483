"""What a repository of 10 million chunks and 10,000 exports costs: time, memory, bytes."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from devops_snapshot.remote import connect
from devops_snapshot.store import Repository
from tests.remote.sshd import Sshd, running_sshd

from .scale_repository import make_chunks, make_exports

Told = dict[str, Any]  # what a step has printed
Note = Callable[[Told], str]

MIB = 1 << 20
CHUNK = 64 * 1024
CHANGED = 0.05  # of the chunks of the file that is exported again
HEADERS = ("step", "over", "seconds", "cpu", "peak", "fetched", "note")
LEGEND = """\
cpu: seconds of processors, without those of sshd; what else the machine does shows in seconds only;
peak: the most memory of the process, MiB; fetched: MiB, with 100 bytes for each name in a listing.
A step called "first" has nothing in its cache."""


@dataclass(frozen=True)
class Measurement:
    """One step in a process of its own, from its start to its end.

    :param cpu: seconds of processors
    :param peak: bytes of memory
    :param fetched: bytes from the storage node; None where that was not counted
    """

    step: str
    over: str
    seconds: float
    cpu: float
    peak: int
    fetched: int | None
    note: str


def main() -> None:
    options = _options()
    measurements: list[Measurement] = []
    with _places(options.directory) as (sshd, work):
        directory = sshd.new_directory("repository")
        file, changed = _make_files(work, options.size)
        exported = _make_repository(directory, file, options, work)
        _own(sshd, directory)
        for over, url in (("sftp", sshd.url(directory)), ("file", f"file://{directory}")):
            bench = Bench(over, url, sshd.home, work, measurements)
            bench.list("list, first", cache="lists")
            bench.list("list, second", cache="lists")
            bench.write_and_read(changed, exported)
            _own(sshd, directory)
            if options.collect:
                bench.step("collect", "collect", cache="collects")
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


class Bench:
    """Steps over one way to the repository."""

    def __init__(
        self, over: str, url: str, home: Path, work: Path, measurements: list[Measurement]
    ) -> None:
        self._over, self._url, self._home, self._work = over, url, home, work
        self._measurements = measurements

    def list(self, name: str, *, cache: str) -> None:
        self.step(name, "list", cache=cache)

    def write_and_read(self, changed: Path, exported: str) -> None:
        """Export a changed file twice and import it."""
        told = self.step("export 1 GiB, first", "export", str(changed), cache="exports", note=_sent)
        self.step("export 1 GiB, second", "export", str(changed), cache="exports", note=_sent)
        self.step(
            "export 1 GiB, first, related",
            "export",
            str(changed),
            exported,
            cache="related",
            note=_sent,
        )
        target = self._work / "imported"
        arguments = (str(told["export"]), str(told["layer"]), str(target))
        self.step("import 1 GiB, first", "import", *arguments, cache="imports")
        if target.read_bytes() != changed.read_bytes():
            raise RuntimeError("what was imported is not what was exported")
        target.unlink()

    def step(self, name: str, *command: str, cache: str, note: Note = lambda told: "") -> Told:
        environment = os.environ | {
            "HOME": str(self._home),
            "XDG_CACHE_HOME": str(self._work / f"cache-{self._over}-{cache}"),
        }
        step, *arguments = command
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale_step", step, self._url, *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stderr}")
        told: Told = json.loads(done.stderr.splitlines()[-1])
        measurement = Measurement(
            name, self._over, seconds, told["cpu"], told["peak"], told.get("fetched"), note(told)
        )
        _say(str(measurement))
        self._measurements.append(measurement)
        return told


def _sent(told: Told) -> str:
    return (
        f"opened after {told['opening']:.1f} s and {told['fetched_at_opening'] / MIB:.1f} MiB; "
        f"sent {told['chunks_sent']} chunks, {told['sent'] / MIB:.1f} MiB"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000_000)
    parser.add_argument("--exports", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024, help="of the file that travels, MiB")
    parser.add_argument("--collect", action="store_true", help="collect, too")
    parser.add_argument("--directory", type=Path, help="where there is room for 6 GiB")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


@contextmanager
def _places(parent: Path | None) -> Iterator[tuple[Sshd, Path]]:
    """An sshd whose user owns a directory, and a directory for files."""
    with (
        tempfile.TemporaryDirectory(prefix="scale-", dir=parent) as directory,
        running_sshd(Path(directory)) as sshd,
    ):
        work = Path(directory) / "work"
        work.mkdir()
        yield sshd, work


def _make_files(work: Path, size: int) -> tuple[Path, Path]:
    """Return a file that compresses to half, and one that differs in 5 % of its chunks."""
    choose = random.Random(1)
    file, changed = work / "file", work / "changed"
    chunks = size * MIB // CHUNK
    with file.open("wb") as output:
        for _ in range(chunks):
            output.write(choose.randbytes(CHUNK // 2) + b"compress" * (CHUNK // 16))
    shutil.copy(file, changed)
    with changed.open("r+b") as output:
        for chunk in choose.sample(range(chunks), int(chunks * CHANGED)):
            output.seek(chunk * CHUNK)
            output.write(choose.randbytes(CHUNK // 2))
    return file, changed


def _make_repository(directory: Path, file: Path, options: argparse.Namespace, work: Path) -> str:
    """Export a file into a new repository, let it grow, and return the id of that export."""
    os.environ["XDG_CACHE_HOME"] = str(work / "cache-maker")
    with connect(f"file://{directory}") as remote:
        Repository.initialise(remote)
    told = Bench("file", f"file://{directory}", work, work, []).step(
        "prepare", "export", str(file), cache="maker"
    )
    began = time.monotonic()
    made = make_chunks(directory, options.chunks)
    make_exports(directory, options.exports, made.layers)
    seconds = time.monotonic() - began
    _say(f"made {made.packs} packs with {made.chunks} chunks, {seconds:.0f} s")
    return str(told["export"])


def _own(sshd: Sshd, directory: Path) -> None:
    """Let the storage user have all there is."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", sshd.user, str(directory)], check=True)


def _table(measurements: Sequence[Measurement]) -> str:
    rows = [
        (
            one.step,
            one.over,
            f"{one.seconds:.1f}",
            f"{one.cpu:.1f}",
            f"{one.peak / MIB:.0f}",
            "" if one.fetched is None else f"{one.fetched / MIB:.1f}",
            one.note,
        )
        for one in measurements
    ]
    return tabulate(rows, headers=HEADERS, tablefmt="rst", disable_numparse=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
