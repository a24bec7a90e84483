"""KVM where it works, else emulation and one warning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from devops_snapshot.devops.libvirt.hypervisor import choose, domain_types, kvm_works
from devops_snapshot.errors import HypervisorError
from tests.bed import Host

from .builder import Builder

EMULATOR = "/usr/bin/qemu-system-x86_64"
KVM = Path("/dev/kvm")


def capabilities(domains: str) -> str:
    """A host that also has another kind of virtualization."""
    return f"""
        <capabilities>
          <guest><os_type>xen</os_type>
            <arch name='x86_64'><emulator>/usr/bin/xen</emulator><domain type='xen'/></arch></guest>
          <guest><os_type>hvm</os_type><arch name='x86_64'>{domains}</arch></guest>
        </capabilities>"""


def test_the_emulator_is_in_arch_today() -> None:
    today = f"<emulator>{EMULATOR}</emulator><domain type='qemu'/><domain type='kvm'/>"
    found = domain_types(capabilities(today), "x86_64")
    assert found == {"qemu": EMULATOR, "kvm": EMULATOR}


def test_the_emulator_was_in_domain_once() -> None:
    once = f"""<domain type='qemu'><emulator>{EMULATOR}</emulator></domain>
        <domain type='kvm'><emulator>/usr/bin/kvm</emulator></domain>"""
    found = domain_types(capabilities(once), "x86_64")
    assert found == {"qemu": EMULATOR, "kvm": "/usr/bin/kvm"}


def test_other_architectures_do_not_count() -> None:
    assert domain_types(capabilities("<domain type='qemu'/>"), "i686") == {}


@pytest.fixture
def nothing_known() -> Iterator[None]:
    """What the process has found out about KVM is forgotten before and after."""
    kvm_works.cache_clear()
    yield
    kvm_works.cache_clear()


@pytest.fixture
def without_kvm(alpha: Host, nothing_known: None) -> Iterator[Host]:
    """A host on which KVM does not work, whether the machine has it or not."""
    if not KVM.exists():
        yield alpha
        return
    alpha.run(["mount", "--bind", "/dev/null", str(KVM)])
    yield alpha
    alpha.run(["umount", str(KVM)])


@pytest.mark.usefixtures("database")
def test_emulation_is_warned_of_once_and_the_row_says_what_the_template_said(
    without_kvm: Host, caplog: pytest.LogCaptureFixture
) -> None:
    builder = Builder(without_kvm, use_host_cpu=True)
    for name in ("admin", "slave-01"):
        node = builder.node(name, hypervisor="kvm")
        node.define()
        assert "<domain type='qemu'>" in node.domain.XMLDesc()
        assert "<cpu mode='maximum'" in node.domain.XMLDesc()
        node.refresh_from_db()
        assert node.hypervisor == "kvm"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"KVM is unusable on {without_kvm.uri}: nodes are emulated" in caplog.text
    domains = [domain.name() for domain in without_kvm.connection.listAllDomains()]
    assert sorted(domains) == ["env_admin", "env_slave-01"]


@pytest.mark.usefixtures("database", "nothing_known")
def test_a_node_with_kvm_and_the_hosts_cpu_starts_wherever_it_is(alpha: Host) -> None:
    node = Builder(alpha, use_host_cpu=True).node("admin", hypervisor="kvm")
    node.define()
    node.start()
    assert node.state() == "running"
    description = node.domain.XMLDesc()
    if kvm_works(alpha.uri, "x86_64"):
        assert "<domain type='kvm'" in description
        assert "<cpu mode='host-passthrough'" in description
    else:
        assert "<domain type='qemu'" in description


def test_qemu_is_taken_at_its_word(
    alpha: Host, nothing_known: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose(alpha.uri, requested="qemu", architecture="x86_64").type == "qemu"
    assert not caplog.records


def test_what_the_host_cannot_run_is_refused() -> None:
    message = "test:///default cannot run x86_64 guests with hypervisor 'kvm'; it has: none"
    with pytest.raises(HypervisorError, match=message):
        choose("test:///default", requested="kvm", architecture="x86_64")
    with pytest.raises(HypervisorError, match="hypervisor 'kvm'; it has: test"):
        choose("test:///default", requested="kvm", architecture="i686")
