"""Memory and time that large layers take: full ones, which are generated, and a sparse file."""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from .storage_tools import Command, ours, run

GIB = 1 << 30
DATA_EVERY = 16 * GIB  # bytes of the sparse file


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.storage_bounds", description=__doc__
    )
    parser.add_argument("--full", type=_numbers, default=[4, 8], help="GiB, comma")
    parser.add_argument("--sparse", type=_numbers, default=[1024], help="GiB, comma")
    parser.add_argument("--directory", type=Path, help="default: that for temporary files")
    options = parser.parse_args()
    for size in options.full:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            room = Path(name)
            url = f"file://{room}/repository"
            _measure(
                f"full, {size} GiB", "export", room, ours("export-generated", url, str(size * GIB))
            )
            _measure(f"full, {size} GiB", "import", room, ours("import-generated", url))
    for size in options.sparse:
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            room = Path(name)
            url = f"file://{room}/repository"
            file = _make_sparse(room / "file", size * GIB)
            (room / "copies").mkdir()
            _measure(f"sparse, {size} GiB", "export", room, ours("export", url, file))
            _measure(f"sparse, {size} GiB", "import", room, ours("import", url, room / "copies"))


def _make_sparse(path: Path, size: int) -> Path:
    """1 MiB of data at every 16 GiB."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, DATA_EVERY):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(1 << 20))
    return path


def _measure(layer: str, step: str, room: Path, command: Command) -> None:
    cost = run(command, {"XDG_CACHE_HOME": f"{room}/cache"})
    print(f"{layer:18} {step}: {cost.seconds:7.1f} s, {cost.peak:4.0f} MiB at most", flush=True)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


if __name__ == "__main__":
    main()
