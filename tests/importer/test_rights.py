"""What takes root is told before an import, and is no reason not to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devops_snapshot.importer.checks import Room, Scene
from devops_snapshot.importer.checks.rights import check_rights
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.findings import Finding, Verdict
from devops_snapshot.importer.target import Target
from devops_snapshot.snapshot import pool

from .looking import real


def found(params: Mapping[str, Any], *, uri: str, isolated: bool = False) -> list[Finding]:
    """With the first network of a real manifest so."""
    manifest = real()
    next(iter(manifest.environment.networks)).params.update(params)
    target: Any = SimpleNamespace(
        connection_string=uri, directory=Path("/pool"), files_are_ours="+" not in uri
    )
    scene = Scene(
        manifest=manifest,
        choices=Choices(name="copy", isolated=isolated),
        target=target,
        paths={},
        in_place=frozenset(),
        room=Room(0),
    )
    return list(check_rights(scene))


JOINED: list[dict[str, Any]] = [
    {"vlan_ifaces": [7]},
    {"parent_iface": {"phys_dev": "eth0", "tag": 5}},
]
NOBODY_IS_ROOT_THERE = "qemu+tcp://elsewhere/system"


@pytest.mark.parametrize("params", JOINED)
def test_devices_of_the_host_take_root(params: dict[str, Any]) -> None:
    files, note = found(params, uri=NOBODY_IS_ROOT_THERE)
    assert files.verdict is Verdict.FINE
    assert "/pool are not ours to make" in files.what
    assert note.verdict is Verdict.NOTE
    assert "takes root there" in note.what
    assert len(found(params, uri=NOBODY_IS_ROOT_THERE, isolated=True)) == 1


def test_nothing_to_tell() -> None:
    assert found({}, uri="qemu:///system") == []


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("qemu:///system", True),
        ("qemu+ssh://localhost/system", True),
        ("qemu+ssh://root@127.0.0.1:22/system", True),
        (NOBODY_IS_ROOT_THERE, False),
    ],
)
def test_where_libvirt_is_has_one_answer(uri: str, here: bool) -> None:
    target = Target(uri, "default")
    assert target.is_local is here
    assert pool.is_local(target) is here
