"""Making a large repository in a short time: all of it that clients read is real, no payload."""

from __future__ import annotations

import os
import secrets
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from devops_snapshot.store.dedup.samples import SAMPLES, Sampler
from devops_snapshot.store.exports.summaries import SUMMARIES, encode_summary
from devops_snapshot.store.format.envelope import encode_envelope
from devops_snapshot.store.format.hashing import CHUNK_SIZE, DIGEST_SIZE, SEGMENT_CHUNKS, digest
from devops_snapshot.store.format.layer import Layer, encode_layer
from devops_snapshot.store.format.names import LayerId, export_path, layer_path, pack_path
from devops_snapshot.store.format.pack import (
    HEADER,
    LayerKind,
    PackedFrame,
    PackIndex,
    encode_trailer,
    pack_header,
    trailer_size,
)
from devops_snapshot.store.format.runs import Run, Runs

PACK_CHUNKS = 8 * SEGMENT_CHUNKS  # and its segments: 62 MiB if half of the data is compressed away
LAYER_PACKS = 10  # 1.25 GiB
LEASE_LAYERS = 10
FRAME_CHUNKS = 16
FRAME_STORED = 32 + FRAME_CHUNKS * CHUNK_SIZE // 2  # bytes
SUMMARY_EXPORTS = 256
MANIFEST_SIZE = 8 * 1024  # bytes


@dataclass(frozen=True)
class Made:
    """What was made.

    :param layers: of each lease
    """

    chunks: int
    packs: int
    layers: list[list[LayerId]]


def make_chunks(directory: Path, chunks: int) -> Made:
    """Add packs with so many chunks, or a few more, to a repository; and the layers they are of."""
    layers, packs = [], 0
    while packs * PACK_CHUNKS < chunks:
        lease = secrets.token_hex(16)
        sampler = Sampler()
        layers.append([_make_layer(directory, lease, n, sampler) for n in range(LEASE_LAYERS)])
        _write(directory / SAMPLES / lease, sampler.encode())
        packs += len(sampler.packs)
    return Made(packs * (PACK_CHUNKS + PACK_CHUNKS // SEGMENT_CHUNKS), packs, layers)


def make_exports(directory: Path, exports: int, layers: list[list[LayerId]]) -> None:
    """Add exports of these layers, and the summaries that their exporters would have written."""
    started = datetime.now(timezone.utc) - timedelta(days=7)
    lines = []
    for number in range(exports):
        published = started + number * timedelta(days=7) / exports
        line = _make_export(directory, number, published, layers[number % len(layers)])
        lines.append(line)
        if len(lines) == SUMMARY_EXPORTS:
            _write(directory / SUMMARIES / secrets.token_hex(16), encode_summary(lines))
            lines.clear()


def _make_layer(directory: Path, lease: str, number: int, sampler: Sampler) -> LayerId:
    segments = bytearray()
    chunk_runs, segment_runs = Runs(), Runs()
    packs = [f"{lease}-{number * LAYER_PACKS + n}" for n in range(LAYER_PACKS)]
    for n, pack in enumerate(packs):
        digests = os.urandom(PACK_CHUNKS * DIGEST_SIZE)
        own = b"".join(_segments(digests))
        add_run(chunk_runs, Run(n * PACK_CHUNKS, PACK_CHUNKS, n, 0))
        add_run(segment_runs, Run(len(segments) // DIGEST_SIZE, len(own) // 32, n, PACK_CHUNKS))
        segments += own
        make_pack(directory, pack, digests + own, segments=len(own) // DIGEST_SIZE)
        sampler.add(pack, digests + own)
    layer = Layer(
        size=LAYER_PACKS * PACK_CHUNKS * CHUNK_SIZE,
        segments=bytes(segments),
        packs=packs,
        chunk_runs=chunk_runs,
        segment_runs=segment_runs,
    )
    _write(directory / layer_path(layer.id, lease), encode_layer(layer))
    return layer.id


def make_pack(directory: Path, pack: str, digests: bytes, *, segments: int = 0) -> None:
    """Write a pack with a real header and a real index, and holes for payload.

    :param segments: how many of the digests, the last ones, are of segments
    """
    chunks = len(digests) // DIGEST_SIZE
    sizes = array("I", [CHUNK_SIZE] * (chunks - segments))
    sizes.extend([SEGMENT_CHUNKS * DIGEST_SIZE] * segments)
    frames = list(_frames(sizes))
    end = frames[-1].offset + frames[-1].stored_size
    size = end + trailer_size(len(frames), chunks)
    index = PackIndex(pack, LayerKind.OVERLAY.value, frames, digests, sizes, size)
    path = directory / pack_path(pack)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(pack_header(index.kind))
        file.seek(end)
        file.write(encode_trailer(index))


def add_run(runs: Runs, run: Run) -> None:
    """Append a run as a whole: one by one, 10 million chunks take long."""
    runs._extend(run)


def _segments(digests: bytes) -> Iterator[bytes]:
    size = SEGMENT_CHUNKS * DIGEST_SIZE
    return (digest(digests[start : start + size]) for start in range(0, len(digests), size))


def _frames(sizes: array[int]) -> Iterator[PackedFrame]:
    offset = HEADER.size
    for first in range(0, len(sizes), FRAME_CHUNKS):
        own = sizes[first : first + FRAME_CHUNKS]
        stored = min(FRAME_STORED, 32 + sum(own))
        yield PackedFrame(offset, stored, sum(own), first, len(own))
        offset += stored


def _make_export(directory: Path, number: int, published: datetime, layers: list[LayerId]) -> bytes:
    """Write an export and return its first line."""
    export_id = f"{published:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    data = encode_envelope(
        export_id=export_id,
        published=published,
        layers=sorted(layers),
        data=len(layers) * LAYER_PACKS * PACK_CHUNKS * CHUNK_SIZE,
        summary={
            "environment": f"env-{number % 50}",
            "snapshots": ["empty", "deployed", f"export-{published:%Y%m%dT%H%M%SZ}"],
            "description": "nightly run",
            "host": f"host-{number % 7}.example.org",
            "created": published.isoformat(),
            "nodes": [f"slave-{node:02}" for node in range(10)],
            "size": len(layers) * LAYER_PACKS * PACK_CHUNKS * CHUNK_SIZE,
            "definitions_only": False,
        },
        manifest=b"m" * MANIFEST_SIZE,
    )
    path = directory / export_path(export_id)
    _write(path, data)
    os.utime(path, (published.timestamp(), published.timestamp()))
    return data.partition(b"\n")[0] + b"\n"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
