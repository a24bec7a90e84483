"""Exports as an attacker with access to the storage node would make them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devops_snapshot.remote import connect
from devops_snapshot.store import FileSink, FileSource, LayerId, LayerKind, Repository

Change = Callable[[dict[str, Any]], None]


def forge(
    storage: str,
    directory: Path,
    *,
    manifest: Change | None = None,
    files: Mapping[str, Callable[[Path], None]] | None = None,
) -> str:
    """Publish the first export once more, with another manifest or other files; returns its id.

    :param files: end of a file's path to what is done to the file
    """
    with connect(storage) as remote:
        repository = Repository.open(remote)
        document = json.loads(repository.manifest(repository.exports()[0].id))
        for ending, change in (files or {}).items():
            [file] = [file for file in document["files"] if file["path"].endswith(ending)]
            with _fetched(repository, file["layer"], directory) as path:
                change(path)
                file["layer"], file["size"] = _stored_later(path), path.stat().st_size
        if manifest is not None:
            manifest(document)
        return _publish(repository, document, directory)


@contextmanager
def _fetched(repository: Repository, layer: str, directory: Path) -> Iterator[Path]:
    path = directory / layer[:16]
    entry = repository.exports()[0]
    with repository.reading(entry.id) as session, FileSink.create(path) as sink:
        session.restore(LayerId(layer), sink)
    yield path


def _stored_later(path: Path) -> str:
    return f"file:{path}"


def _publish(repository: Repository, document: dict[str, Any], directory: Path) -> str:
    entry = repository.exports()[0]
    with repository.reading(entry.id) as old, repository.writing() as session:
        for file in document["files"]:
            kind = LayerKind.MEMORY if file["role"] == "memory" else LayerKind.OVERLAY
            if file["layer"].startswith("file:"):
                with FileSource.open(file["layer"].removeprefix("file:")) as source:
                    file["layer"] = session.add_layer(source, kind=kind)
            else:
                session.add_layer(old.layer(LayerId(file["layer"])), kind=kind)
        session.publish(json.dumps(document).encode(), dict(entry.summary))
        return session.export_id


def with_backing_file(path: Path) -> None:
    """A header that makes a file of the host the content of the guest's disk."""
    command = ["qemu-img", "rebase", "-u", "-b", "/etc/shadow", "-F", "raw", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def with_data_file(path: Path) -> None:
    """A header that makes the guest write into a file of the host."""
    target = path.with_suffix(".data")
    path.unlink()
    options = f"data_file={target},data_file_raw=on"
    command = ["qemu-img", "create", "-f", "qcow2", "-o", options, str(path), "64M"]
    subprocess.run(command, check=True, capture_output=True)


def as_raw(path: Path) -> None:
    path.write_bytes(b"\0" * 65536)


def with_other_stream(path: Path) -> None:
    """libvirt's header stays, QEMU's stream behind it becomes nonsense."""
    content = bytearray(path.read_bytes())
    start = content.index(b"QEVM")
    content[start : start + 65536] = b"\xff" * 65536
    path.write_bytes(content)


def with_another_machine(path: Path) -> None:
    """The definition inside the memory state plugs the guest into a network of the host."""
    content = path.read_bytes()
    assert content.count(b"<source network='trip_admin'") == 1
    path.write_bytes(
        content.replace(b"<source network='trip_admin'", b"<source network='default'   ", 1)
    )
