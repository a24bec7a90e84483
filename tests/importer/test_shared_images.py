"""Base images that the pool has already are recognised, by whoever may read them or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from devops_snapshot.importer.files import shared_files
from devops_snapshot.manifest.document import File, FileRole, Manifest
from tests.bed import Host
from tests.exporter.images import qcow2
from tests.store.place import export, opened
from tests.volumes.conftest import FarPool

from .looking import real

SIZE = 18 << 20  # bytes; more than is compared at a time


@pytest.fixture(params=["far", "here"])
def pool(alpha: Host, request: pytest.FixtureRequest) -> FarPool:
    far = FarPool(alpha.connection, alpha.pool_dir)
    return far if request.param == "far" else FarPool(far.conn, far.directory, alpha.uri)


def with_image(image: Path, layer: str) -> Manifest:
    file = File(
        path=f"/images/{image.name}",
        role=FileRole.BASE,
        format="qcow2",
        size=image.stat().st_size,
        layer=layer,
    )
    return real().model_copy(update={"files": (file,)})


def test_the_same_content_under_its_name(pool: FarPool, tmp_path: Path) -> None:
    image = qcow2(tmp_path / "shared.qcow2")
    with image.open("r+b") as file:
        file.seek(1 << 20)
        file.write(random.Random(5).randbytes(SIZE))
    content = image.read_bytes()
    with opened(tmp_path / "repository") as repository:
        export_id, [layer], _ = export(repository, image)
        manifest = with_image(image, layer)
        there = pool.directory / image.name
        with repository.reading(export_id) as session:

            def is_shared(data: bytes) -> bool:
                there.write_bytes(data)
                pool.conn.storagePoolLookupByName("default").refresh()
                return bool(shared_files(manifest, session, pool))

            assert not shared_files(manifest, session, pool)
            assert is_shared(content)
            assert not is_shared(content[:-1])
            assert not is_shared(content[:-1] + bytes([content[-1] ^ 1]))
            assert not is_shared(b"")
            assert is_shared(content)
            there.unlink()  # libvirt remembers it
            assert not shared_files(manifest, session, pool)
