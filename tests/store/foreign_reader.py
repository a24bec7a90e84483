"""A reader written from docs/repository-format.rst alone: it imports nothing of this project."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3

CHUNK = 65536
ZERO = bytes(32)


def read_sealed(path: Path, magic: str) -> tuple[dict[str, Any], bytes]:
    """Return head and body, both checked."""
    line, _, body = path.read_bytes().partition(b"\n")
    text, mark, checksum = line.rpartition(b',"checksum":"')
    assert mark
    assert checksum == blake3(text).hexdigest().encode() + b'"}'
    head = json.loads(line)
    assert (head["magic"], head["version"]) == (magic, 1)
    assert list(head)[:2] == ["magic", "version"]
    if "body_size" in head:
        assert (len(body), blake3(body).hexdigest()) == (head["body_size"], head["body_blake3"])
    else:
        assert body == b""
    return head, body


def read_pack(path: Path) -> list[tuple[bytes, bytes]]:
    """Return (digest, plain bytes) of every chunk of a pack."""
    data = path.read_bytes()
    magic, version, kind = struct.unpack("<8sII", data[:16])
    assert (magic, version) == (b"DSPACK\r\n", 1)
    footer = data[-64:]
    magic, version, size, offset, footer_kind, zero = struct.unpack("<8sIIQII", footer[:32])
    assert (magic, version, footer_kind, zero) == (b"DSINDEX\n", 1, kind, 0)
    index = data[offset : offset + size]
    assert offset + size + 64 == len(data)
    assert blake3(index + footer[:32]).digest() == footer[32:]
    frame_count, chunk_count = struct.unpack("<II", index[:8])
    frames = list(struct.iter_unpack("<III", index[8 : 8 + 12 * frame_count]))
    rest = index[8 + 12 * frame_count :]
    digests = [rest[n * 32 : n * 32 + 32] for n in range(chunk_count)]
    sizes = struct.unpack(f"<{chunk_count}I", rest[32 * chunk_count :])
    chunks: list[tuple[bytes, bytes]] = []
    at = 16
    for stored, plain_size, count in frames:
        plain = read_frame(data[at : at + stored], plain_size, count)
        at += stored
        start = 0
        for number in range(len(chunks), len(chunks) + count):
            chunk = plain[start : start + sizes[number]]
            start += sizes[number]
            assert blake3(chunk).digest() == digests[number]
            chunks.append((digests[number], chunk))
        assert start == plain_size
    assert (at, len(chunks)) == (offset, chunk_count)
    return chunks


def read_frame(data: bytes, plain_size: int, count: int) -> bytes:
    magic, codec, stored, plain, chunks = struct.unpack("<3sBIII", data[:16])
    payload = data[32:]
    assert (magic, stored, plain, chunks) == (b"DSF", len(payload), plain_size, count)
    assert data[16:32] == blake3(data[:16] + payload).digest()[:16]
    assert codec in (0, 1)
    return payload if codec == 0 else zstandard.ZstdDecompressor().decompress(payload)


def read_layer(root: Path, layer_id: str) -> bytes:
    """Return the file that a layer is."""
    path = next((root / "layers" / layer_id[:2]).glob(f"{layer_id}.*"))
    head, body = read_sealed(path, "devops-snapshot layer")
    assert (head["id"], head["chunk_size"]) == (layer_id, CHUNK)
    encoding = head["encoding"]
    if encoding == "ram":
        encoding += f"\norigin {head['origin']['size']} {head['origin']['digest']}"
    body = zstandard.ZstdDecompressor().decompress(body)
    sections = []
    for size in head["sections"]:
        sections.append(body[:size])
        body = body[size:]
    segments, names, segment_runs, chunk_runs = sections
    identity = (
        f"devops-snapshot layer 1\nsize {head['size']}\nchunk_size {CHUNK}\nencoding {encoding}\n"
        f"root {blake3(segments).hexdigest()}\n"
    )
    assert blake3(identity.encode()).hexdigest() == layer_id
    packs = [read_pack(root / "packs" / name[:2] / name) for name in names.decode().splitlines()]
    places = {n: packs[p][c] for n, p, c in read_runs(segment_runs)}
    digests: list[bytes] = []
    chunk_count = -(-head["size"] // CHUNK)
    for number in range(len(segments) // 32):
        expected = segments[number * 32 : number * 32 + 32]
        count = min(256, chunk_count - number * 256)
        digest, segment = places.get(number, (ZERO, bytes(32 * count)))
        assert digest == expected
        digests += [segment[n * 32 : n * 32 + 32] for n in range(count)]
    places = {n: packs[p][c] for n, p, c in read_runs(chunk_runs)}
    content = []
    for number, expected in enumerate(digests):
        size = min(CHUNK, head["size"] - number * CHUNK)
        digest, chunk = places.get(number, (ZERO, bytes(size)))
        assert (digest, len(chunk)) == (expected, size)
        content.append(chunk)
    return unfold(b"".join(content), head["origin"]) if "origin" in head else b"".join(content)


def unfold(content: bytes, origin: dict[str, Any]) -> bytes:
    """Return the saved memory that the content of a layer with encoding ``ram`` stands for."""
    (count,) = struct.unpack("<Q", content[-8:])
    recipe = content[len(content) - 8 - 21 * count : -8]
    headers = struct.unpack(f"<{count}Q", recipe[: 8 * count])
    sources = struct.unpack(f"<{count}Q", recipe[8 * count : 16 * count])
    units = struct.unpack(f"<{count}I", recipe[16 * count : 20 * count])
    parts: list[bytes] = []
    for header, source, number, kind in zip(
        headers, sources, units, recipe[20 * count :], strict=True
    ):
        if kind == 0:
            parts.append(content[source : source + number])
            continue
        assert kind in (1, 2)
        for page in range(number):
            parts.append(struct.pack(">Q", header + page * 4096))
            start = source + page * 4096
            parts.append(content[start : start + 4096] if kind == 1 else b"\0")
    file = b"".join(parts)
    assert (len(file), blake3(file).hexdigest()) == (origin["size"], origin["digest"])
    return file


def read_runs(data: bytes) -> list[tuple[int, int, int]]:
    """Return (number in the layer, pack, number in the pack)."""
    count = len(data) // 20
    firsts = struct.unpack(f"<{count}Q", data[: 8 * count])
    rest = struct.unpack(f"<{3 * count}I", data[8 * count :])
    lengths, packs, chunks = rest[:count], rest[count : 2 * count], rest[2 * count :]
    return [
        (first + step, pack, chunk + step)
        for first, length, pack, chunk in zip(firsts, lengths, packs, chunks, strict=True)
        for step in range(length)
    ]
