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
    assert list(head)[-1] == "checksum"
    assert not any(features_of(head))
    if "body_size" in head:
        assert (len(body), blake3(body).hexdigest()) == (head["body_size"], head["body_blake3"])
    else:
        assert body == b""
    return head, body


def features_of(head: dict[str, Any]) -> list[str]:
    """Return the names of all features; a repository has several lists of them."""
    features = head.get("features", [])
    lists = features.values() if isinstance(features, dict) else [features]
    return [name for names in lists for name in names]


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
    """Return the file that a layer is, from an object of it whose packs are all there."""
    for path in (root / "layers" / layer_id[:2]).glob(f"{layer_id}.*"):
        head, sections = read_sections(path)
        packs = [root / "packs" / name[:2] / name for name in sections[1].decode().splitlines()]
        if all(pack.exists() for pack in packs):
            return read_content(layer_id, head, sections, [read_pack(pack) for pack in packs])
    raise AssertionError(f"no object of layer {layer_id} can be read")


def read_sections(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the head of a layer object and the sections of its body."""
    head, body = read_sealed(path, "devops-snapshot layer")
    assert f"{head['id']}." == path.name[:65]
    plain = zstandard.ZstdDecompressor().decompress(body)
    assert sum(head["sections"]) == len(plain)
    sections = []
    for size in head["sections"]:
        sections.append(plain[:size])
        plain = plain[size:]
    return head, sections


def read_content(
    layer_id: str,
    head: dict[str, Any],
    sections: list[bytes],
    packs: list[list[tuple[bytes, bytes]]],
) -> bytes:
    """Return the file that a layer is.

    :param packs: the chunks of each pack of its table
    """
    segments, _, segment_runs, chunk_runs = sections
    assert head["chunk_size"] == CHUNK
    encoding = head["encoding"]
    assert encoding in ("plain", "ram")
    if encoding == "ram":
        encoding += f"\norigin {head['origin']['size']} {head['origin']['digest']}"
    identity = (
        f"devops-snapshot layer 1\nsize {head['size']}\nchunk_size {CHUNK}\nencoding {encoding}\n"
        f"root {blake3(segments).hexdigest()}\n"
    )
    assert blake3(identity.encode()).hexdigest() == layer_id
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
    assert 0 < count <= 4194304
    end = len(content) - 8 - 21 * count
    assert end >= 0
    recipe = content[end:-8]
    headers = struct.unpack(f"<{count}Q", recipe[: 8 * count])
    sources = struct.unpack(f"<{count}Q", recipe[8 * count : 16 * count])
    units = struct.unpack(f"<{count}I", recipe[16 * count : 20 * count])
    parts: list[bytes] = []
    for header, source, number, kind in zip(
        headers, sources, units, recipe[20 * count :], strict=True
    ):
        assert kind in (0, 1, 2)
        assert number
        assert source + number * (1, 4096, 0)[kind] <= end
        if kind == 0:
            parts.append(content[source : source + number])
            continue
        for page in range(number):
            parts.append(struct.pack(">Q", header + page * 4096))
            start = source + page * 4096
            parts.append(content[start : start + 4096] if kind == 1 else b"\0")
    file = b"".join(parts)
    assert (len(file), blake3(file).hexdigest()) == (origin["size"], origin["digest"])
    return file


def read_runs(data: bytes) -> list[tuple[int, int, int]]:
    """Return (number in the layer, pack, number in the pack), ascending."""
    count = len(data) // 20
    firsts = struct.unpack(f"<{count}Q", data[: 8 * count])
    rest = struct.unpack(f"<{3 * count}I", data[8 * count :])
    lengths, packs, chunks = rest[:count], rest[count : 2 * count], rest[2 * count :]
    assert all(lengths)
    found = [
        (first + step, pack, chunk + step)
        for first, length, pack, chunk in zip(firsts, lengths, packs, chunks, strict=True)
        for step in range(length)
    ]
    numbers = [number for number, _, _ in found]
    assert numbers == sorted(set(numbers))
    return found


def read_samples(path: Path) -> tuple[set[tuple[int, str]], set[str]]:
    """Return (key, pack) of each sample, and the packs that the batch tells of."""
    head, body = read_sealed(path, "devops-snapshot samples")
    samples, packs = head["samples"], head["packs"]
    assert len(body) == 12 * samples + 20 * packs
    keys = struct.unpack(f"<{samples}Q", body[: 8 * samples])
    assert list(keys) == sorted(keys)
    numbers = struct.unpack(f"<{samples}I", body[8 * samples : 12 * samples])
    table = [
        f"{lease.hex()}-{number}"
        for lease, number in struct.iter_unpack("<16sI", body[12 * samples :])
    ]
    return {(key, table[n]) for key, n in zip(keys, numbers, strict=True)}, set(table)


def samples_of(path: Path) -> set[tuple[int, str]]:
    """Return the samples of a pack, from what it holds."""
    digests = [digest for digest, _ in read_pack(path) if digest[31] < 2]
    return {(int.from_bytes(digest[:8], "little"), path.name) for digest in digests}


def read_summary(path: Path) -> list[bytes]:
    """Return first lines of exports."""
    head, body = read_sealed(path, "devops-snapshot summary")
    plain = zstandard.ZstdDecompressor().decompress(body)
    assert head["size"] == len(plain)
    return plain.splitlines(keepends=True)
