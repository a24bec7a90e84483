"""One step of the benchmark ``scale``, in a process of its own: prints what it took as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def main() -> None:
    step, url, *arguments = sys.argv[1:]
    told = STEPS[step](url, *arguments)
    told |= {"cpu": time.process_time(), "peak": _peak()}
    print(json.dumps(told), file=sys.stderr)


def run_export(url: str, file: str, related: str = "") -> dict[str, Any]:
    """Export a file as one layer."""
    from devops_snapshot.store import FileSource, LayerKind

    with _opened(url) as (repository, counts):
        began = time.monotonic()
        with repository.writing(related.split()) as session:
            opened, fetched = time.monotonic() - began, counts["fetched"]
            with FileSource.open(Path(file)) as source:
                layer = session.add_layer(source, kind=LayerKind.OVERLAY)
            session.publish(b"{}", {"environment": "measured"})
            stats = session.stats
    return {
        "opening": opened,
        "fetched_at_opening": fetched,
        "fetched": counts["fetched"],
        "sent": stats.bytes_sent,
        "chunks_sent": stats.chunks_sent,
        "layer": layer,
        "export": session.export_id,
    }


def run_import(url: str, export_id: str, layer: str, target: str) -> dict[str, Any]:
    """Restore a layer to a file."""
    from devops_snapshot.store import FileSink, LayerId

    with (
        _opened(url) as (repository, counts),
        repository.reading(export_id) as session,
        FileSink.create(Path(target)) as sink,
    ):
        session.restore(LayerId(layer), sink)
    return {"fetched": counts["fetched"]}


def run_list(url: str) -> dict[str, Any]:
    """What ``dos.py list-exports`` does; the wall time is the caller's to measure."""
    from devops_snapshot.shell import main as dos

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = dos(["list-exports", "--storage", url])
    return {"code": code}


def run_collect(url: str) -> dict[str, Any]:
    """Collect; nothing is dead but what was left by a client that died."""
    from devops_snapshot.store import collect

    with _opened(url) as (repository, counts):
        collect(repository)
    return {"fetched": counts["fetched"]}


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "export": run_export,
    "import": run_import,
    "list": run_list,
    "collect": run_collect,
}


@contextlib.contextmanager
def _opened(url: str) -> Iterator[tuple[Any, dict[str, int]]]:
    from devops_snapshot.remote import connect
    from devops_snapshot.store import Repository

    with connect(url) as remote:
        counts = _count(remote)
        yield Repository.open(remote), counts


def _count(remote: Any) -> dict[str, int]:
    """Count what is fetched: bytes of objects, and 100 for each name in a listing."""
    counts = {"fetched": 0}
    read, listing = remote.read, remote.list

    def counted_read(*args: Any, **kwargs: Any) -> bytes:
        data: bytes = read(*args, **kwargs)
        counts["fetched"] += len(data)
        return data

    def counted_list(path: str) -> Any:
        entries = listing(path)
        counts["fetched"] += 100 * len(entries)
        return entries

    remote.read, remote.list = counted_read, counted_list
    return counts


def _peak() -> int:
    """The most memory that this process has had at any time, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) * 1024


if __name__ == "__main__":
    main()
