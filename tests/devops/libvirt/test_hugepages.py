"""Guests whose memory lies in huge pages of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from devops_snapshot.devops.libvirt.connection import shared_connection
from tests.bed import Host

from .builder import Builder
from .test_node import define

pytestmark = pytest.mark.usefixtures("database")

POOL = Path("/proc/sys/vm/nr_hugepages")
PAGES = 40  # of 2 MiB each; the guest takes 32


def free_pages() -> int:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["HugePages_Free"])


def restart_libvirtd(host: Host) -> None:
    """And let the connection that this process shares notice that its other end is gone."""
    host.restart_libvirtd()
    with suppress(libvirt.libvirtError):
        shared_connection(host.uri).getLibVersion()


@pytest.fixture
def hugepages(alpha: Host) -> Iterator[None]:
    """The machine lends some, and libvirt of the host is told where they are."""
    before = POOL.read_text()
    mount, settings = alpha.directory / "hugepages", alpha.directory / "etc/qemu.conf"
    told = settings.read_text()
    try:
        try:
            POOL.write_text(str(int(before) + PAGES))
        except OSError:
            pytest.skip("no rights to take huge pages")
        if free_pages() < PAGES:
            pytest.skip("the machine has no huge pages to lend")
        mount.mkdir()
        alpha.run(["mount", "-t", "hugetlbfs", "none", str(mount)])
        settings.write_text(f'{told}hugetlbfs_mount = "{mount}"\n')
        restart_libvirtd(alpha)
        yield
        alpha.clean()
        alpha.run(["umount", str(mount)])
        mount.rmdir()
        settings.write_text(told)
        restart_libvirtd(alpha)
    finally:
        POOL.write_text(before)


@pytest.mark.usefixtures("hugepages")
def test_the_memory_lies_in_them_cell_by_cell(alpha: Host) -> None:
    numa = [{"cpus": "0", "memory": 32}, {"cpus": "1", "memory": 32}]
    node = define(Builder(alpha, use_hugepages=True).node("n", memory=64, vcpu=2, numa=numa))
    before = free_pages()
    node.start()
    assert before - free_pages() == 32
    node.remove()
    assert free_pages() == before
