"""Layer objects: the content of one file as digests, and where its chunks lie.

The id of a layer is the digest of its identity (size, chunk size, encoding, origin, root) and says
nothing of packs, so that moving chunks changes no id. The object's name ends in the lease that
wrote it: whoever moves chunks writes another object for the same id beside the old one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from devops_snapshot.errors import FormatError, UnsupportedError

from .features import require_known
from .frame import compress, decompress
from .hashing import CHUNK_SIZE, DIGEST_SIZE, SEGMENT_CHUNKS, digest
from .names import LayerId, is_layer_id, is_pack_name
from .pack import MOST_CHUNKS
from .runs import RUN_SIZE, Runs
from .sealed import UPDATE_HINT, damaged, seal, unseal, well_formed

_DIGEST = re.compile(r"[0-9a-f]{64}")

LARGEST = 64 << 20
"""Bytes of the sections of a layer object: 1 TiB in pieces of 320 KiB takes as many."""

_MOST_BYTES = 1 << 63  # of a file, such as a file system can have

PLAIN = "plain"  # the encoding in which chunk n is bytes n * 65536 and following of the file
RAM = "ram"  # the encoding of a saved memory with its pages at their guest address: see .ram


@dataclass(frozen=True)
class Origin:
    """The file that a layer becomes again when it is decoded.

    :param size: bytes
    :param digest: of the whole file, hexadecimal
    """

    size: int
    digest: str


@dataclass(frozen=True)
class Layer:
    """A file in the repository.

    :param size: bytes of all chunks together
    :param segments: 32 bytes for every 256 chunks: the digest of their digests, or zeros for a hole
    :param packs: pack names, referred to by number in the runs
    :param chunk_runs: where the chunks lie
    :param segment_runs: where the segments lie
    :param origin: the file, where the chunks are not those of the file itself (encoding ``ram``)
    """

    size: int
    segments: bytes
    packs: Sequence[str]
    chunk_runs: Runs
    segment_runs: Runs
    parent: LayerId | None = None
    origin: Origin | None = None

    @property
    def id(self) -> LayerId:
        return layer_id(self.size, self.segments, self.origin)

    @property
    def encoding(self) -> str:
        return PLAIN if self.origin is None else RAM

    @property
    def chunks(self) -> int:
        return -(-self.size // CHUNK_SIZE)

    def segment(self, number: int) -> bytes:
        return self.segments[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]


def layer_id(size: int, segments: bytes, origin: Origin | None = None) -> LayerId:
    """Return the id that follows from a file's content."""
    encoding = f"{RAM}\norigin {origin.size} {origin.digest}" if origin else PLAIN
    identity = (
        "devops-snapshot layer 1\n"
        f"size {size}\n"
        f"chunk_size {CHUNK_SIZE}\n"
        f"encoding {encoding}\n"
        f"root {digest(segments).hex()}\n"
    )
    return LayerId(digest(identity.encode()).hex())


def with_own_packs(layer: Layer) -> Layer:
    """Return the layer with a table of only those packs in which its chunks lie."""
    used = sorted(layer.chunk_runs.packs() | layer.segment_runs.packs())
    numbers = {old: new for new, old in enumerate(used)}
    return replace(
        layer,
        packs=[layer.packs[number] for number in used],
        chunk_runs=layer.chunk_runs.renumbered(numbers),
        segment_runs=layer.segment_runs.renumbered(numbers),
    )


def encode_layer(layer: Layer) -> bytes:
    """Return the layer as a sealed object.

    :raises UnsupportedError: nobody would read it, so long is it
    """
    packs = "".join(f"{pack}\n" for pack in layer.packs).encode()
    sections = [layer.segments, packs, layer.segment_runs.encode(), layer.chunk_runs.encode()]
    plain = b"".join(sections)
    if len(plain) > LARGEST:
        raise UnsupportedError(
            f"a file of {layer.size} bytes lies in too many pieces in the repository",
            hint="Export it to another repository, or collect this one first",
        )
    return seal(
        "layer",
        {
            "features": [],
            "id": layer.id,
            "size": layer.size,
            "chunk_size": CHUNK_SIZE,
            "encoding": layer.encoding,
            **({"origin": asdict(layer.origin)} if layer.origin else {}),
            "parent": layer.parent,
            "sections": [len(section) for section in sections],
        },
        compress(plain),
    )


def decode_layer(expected: LayerId, data: bytes, where: str) -> Layer:
    """Read what :func:`encode_layer` wrote.

    :raises FormatError: the object is damaged, is another layer, or needs a newer release
    """
    head, body = unseal("layer", data, where)
    with well_formed(where):
        layer = _decode(head, body, where)
        _check(layer, where)
    if layer.id != expected:
        raise damaged(where, f"it is layer {layer.id}")
    return layer


def _decode(head: Mapping[str, Any], body: bytes, where: str) -> Layer:
    require_known(head["features"], where, "read")
    if head["chunk_size"] != CHUNK_SIZE or head["encoding"] not in (PLAIN, RAM):
        raise FormatError(
            f"{where} has encoding {head['encoding']!r} and chunk size {head['chunk_size']}",
            hint=UPDATE_HINT,
        )
    segments, packs, segment_runs, chunk_runs = _sections(head["sections"], body, where)
    return Layer(
        size=_size(head["size"]),
        segments=segments,
        packs=packs.decode().split("\n")[:-1],
        segment_runs=Runs.decode(segment_runs),
        chunk_runs=Runs.decode(chunk_runs),
        parent=None if head["parent"] is None else _id(head["parent"]),
        origin=_decode_origin(head["origin"]) if head["encoding"] == RAM else None,
    )


def _decode_origin(fields: Mapping[str, Any]) -> Origin:
    return Origin(_size(fields["size"]), str(fields["digest"]))


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST_BYTES:
        raise ValueError("no file has so many bytes")
    return value


def _id(value: str) -> LayerId:
    if not is_layer_id(value):
        raise ValueError("its parent is no layer")
    return LayerId(value)


def _sections(sizes: Sequence[int], body: bytes, where: str) -> list[bytes]:
    if len(sizes) != 4 or min(sizes) < 0 or sizes[2] % RUN_SIZE or sizes[3] % RUN_SIZE:
        raise damaged(where, "its sections have the wrong size")
    if sum(sizes) > LARGEST:
        raise damaged(where, "its sections are larger than any can be")
    plain = decompress(body, sum(sizes), where)
    sections, start = [], 0
    for size in sizes:
        sections.append(plain[start : start + size])
        start += size
    return sections


def _check(layer: Layer, where: str) -> None:
    """Refuse a layer that would make a reader leave its bounds."""
    segments = -(-layer.chunks // SEGMENT_CHUNKS)
    if layer.origin and not _DIGEST.fullmatch(layer.origin.digest):
        raise damaged(where, "the digest of the file makes no sense")
    if len(layer.segments) != segments * DIGEST_SIZE:
        raise damaged(where, "its number of segments does not fit its size")
    if not all(is_pack_name(pack) for pack in layer.packs):
        raise damaged(where, "it names something that is not a pack")
    for runs, limit in ((layer.chunk_runs, layer.chunks), (layer.segment_runs, segments)):
        end = 0
        for run in runs:
            if run.first < end or not run.length or run.pack >= len(layer.packs):
                raise damaged(where, "its places make no sense")
            if run.chunk + run.length > MOST_CHUNKS:
                raise damaged(where, "its places are in no pack")
            end = run.first + run.length
        if end > limit:
            raise damaged(where, "its places lie beyond its end")
