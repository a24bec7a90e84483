"""Exporting and importing the disks of an environment: ours, borg, restic; and scp for the way."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from tests.remote.sshd import Sshd, running_sshd

from .storage_data import Disks, disks
from .storage_tools import MIB, TOOLS, Command, Cost, Ours, Tool, ours, run, scp

FIRST, SECOND, IMPORT = "first export", "second export", "import"
SEND, FETCH = "send", "fetch"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "storage"
LEGEND = """\
Medians. s: seconds until the command ends; on disk: until what it wrote is on the disk, too; x: of
another tool: its figure by ours. repository: MiB after that export. peak: MiB of memory."""


@dataclass(frozen=True)
class Measurement:
    """One command.

    :param step: what it did
    :param size: MiB of the repository, or of what travelled, after it
    """

    tool: str
    step: str
    cost: Cost
    size: float


def main() -> None:
    options = _options()
    data = disks(options.cache)
    _say(f"data: {_sizes(data.first)}; later: {_sizes(data.second)}")
    measurements: list[Measurement] = []
    for repetition in range(options.repeat):
        with _room(options.cache) as room:
            measurements += _measure_local(data, room, turned=bool(repetition % 2))
        with _room(options.cache) as room, running_sshd(room) as sshd:
            measurements += _measure_remote(data, room, sshd)
    print(f"\n{_table(measurements, (FIRST, SECOND, IMPORT), TOOLS)}\n")
    print(f"{_table(measurements, (SEND, FETCH, FIRST, SECOND), ('sftp', 'scp'))}\n\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE, help="keeps the images, 4 GiB")
    parser.add_argument("--repeat", type=int, default=3, help="the tables have the medians")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


@contextmanager
def _room(cache: Path) -> Iterator[Path]:
    """A directory on the disk that has the images, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as name:
        yield Path(name)


def _measure_local(data: Disks, room: Path, *, turned: bool) -> Iterator[Measurement]:
    """Both exports, then the import, each by all tools; who goes first changes."""
    tools = {name: _tool(kind, room / name) for name, kind in TOOLS.items()}
    order = list(tools.items())
    for step, images in ((FIRST, data.first), (SECOND, data.second)):
        files = _place(images, room / "pool")
        for name, tool in reversed(order) if turned else order:
            _warm(files)
            cost = run(tool.export(files), tool.environment)
            yield _said(Measurement(name, step, cost, _used(tool.repository)))
    for name, tool in reversed(order) if turned else order:
        target = room / f"{name}-import"
        target.mkdir()
        _warm(path for path in tool.repository.rglob("*") if path.is_file())
        cost = run(tool.restore(files), tool.environment, target)
        _check(files, target)
        yield _said(Measurement(name, IMPORT, cost, _used(target)))
        shutil.rmtree(target)


def _tool(kind: type[Tool], place: Path) -> Tool:
    place.mkdir()
    tool = kind(place)
    tool.prepare()
    return tool


def _measure_remote(data: Disks, room: Path, sshd: Sshd) -> Iterator[Measurement]:
    """Exports over SFTP and what they are compared with: scp of the files compressed with zstd."""
    home = {"HOME": str(sshd.home)}
    store = sshd.new_directory("repository")
    tool = Ours(room, sshd.url(store))
    compressed = room / "compressed"
    for number, (step, images) in enumerate(((FIRST, data.first), (SECOND, data.second))):
        files = _place(images, room / "pool")
        cost = run(tool.export(files), {**tool.environment, **home})
        yield _said(Measurement("sftp", step, cost, _used(store)))
        target = sshd.new_directory(f"copies-{number}")
        cost = run(_compress_and_copy(sshd, files, compressed, target), {})
        yield _said(Measurement("scp", step, cost, _used(target)))
    yield from _measure_way(room, sshd, sorted(store.glob("packs/*/*")), tool.environment)


def _compress_and_copy(sshd: Sshd, files: Sequence[Path], room: Path, target: Path) -> Command:
    """One shell that compresses with all processors, and copies what came out."""
    names = " ".join(map(str, files))
    copy = " ".join(map(str, scp(sshd, [f"{room}/*.zst"], f"sshd:{target}")))
    script = f"mkdir -p {room}; zstd -q -f -1 -T0 --output-dir-flat {room} {names}; {copy}"
    return ["sh", "-ec", script]


def _measure_way(
    room: Path, sshd: Sshd, packs: Sequence[Path], environment: Mapping[str, str]
) -> Iterator[Measurement]:
    """The same packs there and back, without anything else being done to them."""
    environment = {**environment, "HOME": str(sshd.home)}
    size = sum(path.stat().st_size for path in packs) / MIB
    there = {name: sshd.new_directory(f"way-{name}") for name in ("sftp", "scp")}
    back = room / "back"
    back.mkdir()
    url = sshd.url(there["sftp"])
    names = [path.name for path in packs]
    commands = {
        ("sftp", SEND): ours("send", url, *packs),
        ("scp", SEND): scp(sshd, packs, f"sshd:{there['scp']}"),
        ("sftp", FETCH): ours("fetch", url, *names),
        ("scp", FETCH): scp(sshd, [f"sshd:{there['scp'] / name}" for name in names], back),
    }
    for (name, step), command in commands.items():
        yield _said(Measurement(name, step, run(command, environment), size))


def _place(images: Sequence[Path], pool: Path) -> list[Path]:
    """Put images where the exports find them; what is the same as before is not touched."""
    pool.mkdir(exist_ok=True)
    files = [pool / image.name for image in images]
    for image, file in zip(images, files, strict=True):
        source = file.with_suffix(".source")
        if not source.is_symlink() or source.readlink() != image:
            source.unlink(missing_ok=True)
            source.symlink_to(image)
            shutil.copyfile(image, file)
    return files


def _warm(files: Iterable[Path]) -> None:
    """Have files in the page cache: borg drops what it has read or written."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass


def _check(files: Sequence[Path], target: Path) -> None:
    """Every file has come back as it was; restic restores whole paths."""
    for file in files:
        found = next(target.rglob(file.name))
        run(["cmp", file, found], {})


def _used(directory: Path) -> float:
    """MiB of all files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / MIB


def _table(
    measurements: Sequence[Measurement],
    steps: Sequence[str],
    tools: Sequence[str] | Mapping[str, type[Tool]],
) -> str:
    rows = []
    for step in steps:
        own: list[float] = []
        for tool in tools:
            found = [one for one in measurements if (one.tool, one.step) == (tool, step)]
            figures = [
                statistics.median(values)
                for values in (
                    [one.cost.seconds for one in found],
                    [one.cost.on_disk for one in found],
                    [one.size for one in found],
                    [one.cost.peak for one in found],
                )
            ]
            own = own or figures
            rows.append([step, tool, *_cells(figures, own)])
    headers = ["", "", "s", "x", "on disk", "x", "size", "x", "peak"]
    return tabulate(rows, headers=headers, tablefmt="rst", disable_numparse=True)


def _cells(figures: Sequence[float], own: Sequence[float]) -> Iterator[str]:
    """Each figure with its ratio to ours, except the peak."""
    digits = (2, 2, 0, 0)
    for position, (figure, reference) in enumerate(zip(figures, own, strict=True)):
        yield f"{figure:.{digits[position]}f}"
        if position < 3:
            yield "" if figures is own else f"{figure / reference:.2f}"


def _sizes(images: Sequence[Path]) -> str:
    return ", ".join(f"{image.stem} {image.stat().st_size / MIB:.0f} MiB" for image in images)


def _said(measurement: Measurement) -> Measurement:
    _say(str(measurement))
    return measurement


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    main()
