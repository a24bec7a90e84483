"""KVM where it works, else emulation and one warning."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from devops_snapshot.devops.libvirt import hypervisor
from devops_snapshot.devops.libvirt.hypervisor import Hypervisor, choose, domain_types
from devops_snapshot.errors import HypervisorError

EMULATOR = "/usr/bin/qemu-system-x86_64"


def capabilities(*types: str, emulator: str = f"<emulator>{EMULATOR}</emulator>") -> str:
    """A host of today that offers these domain types."""
    domains = "".join(f"<domain type='{type_}'/>" for type_ in types)
    return f"""
        <capabilities>
          <guest><os_type>xen</os_type>
            <arch name='x86_64'><emulator>/usr/bin/xen</emulator><domain type='xen'/></arch></guest>
          <guest><os_type>hvm</os_type>
            <arch name='x86_64'>{emulator}{domains}</arch></guest>
        </capabilities>"""


@pytest.fixture
def kvm_device(tmp_path: Path) -> Path:
    """A device that can be opened."""
    device = tmp_path / "kvm"
    device.touch()
    return device


@pytest.fixture(autouse=True)
def _nothing_warned_yet() -> None:
    hypervisor._warn_once.cache_clear()


def test_the_emulator_is_in_arch_today() -> None:
    assert domain_types(capabilities("qemu", "kvm"), "x86_64") == {
        "qemu": EMULATOR,
        "kvm": EMULATOR,
    }


def test_the_emulator_was_in_domain_once() -> None:
    old = capabilities("qemu", emulator="").replace(
        "<domain type='qemu'/>",
        "<domain type='kvm'><emulator>/usr/bin/kvm</emulator></domain>",
    )
    assert domain_types(old, "x86_64") == {"kvm": "/usr/bin/kvm"}


def test_kvm_where_it_works(kvm_device: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose(
        capabilities("qemu", "kvm"),
        uri="qemu:///system",
        requested="kvm",
        architecture="x86_64",
        kvm_device=kvm_device,
    )
    assert chosen == Hypervisor("kvm", EMULATOR)
    assert chosen.host_cpu_mode == "host-passthrough"
    assert not caplog.records


def test_emulation_where_libvirt_offers_no_kvm(
    kvm_device: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        chosen = choose(
            capabilities("qemu"),
            uri="qemu+ssh://host/system",
            requested="kvm",
            architecture="x86_64",
            kvm_device=kvm_device,
        )
        assert chosen == Hypervisor("qemu", EMULATOR)
        assert chosen.host_cpu_mode == "maximum"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "KVM is unusable on qemu+ssh://host/system" in caplog.text


def test_emulation_where_the_device_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = choose(
        capabilities("qemu", "kvm"),
        uri="qemu:///system",
        requested="kvm",
        architecture="x86_64",
        kvm_device=tmp_path / "nothing",
    )
    assert chosen.type == "qemu"
    assert "No such file or directory" in caplog.text


def test_another_machines_device_is_not_looked_for_here(tmp_path: Path) -> None:
    chosen = choose(
        capabilities("qemu", "kvm"),
        uri="qemu+ssh://host/system",
        requested="kvm",
        architecture="x86_64",
        kvm_device=tmp_path / "nothing",
    )
    assert chosen.type == "kvm"


def test_qemu_is_taken_at_its_word(caplog: pytest.LogCaptureFixture) -> None:
    assert (
        choose(
            capabilities("qemu"), uri="qemu:///system", requested="qemu", architecture="x86_64"
        ).type
        == "qemu"
    )
    assert not caplog.records


@pytest.mark.parametrize(
    ("requested", "architecture", "has"), [("xen", "x86_64", "qemu"), ("qemu", "i686", "none")]
)
def test_what_the_host_lacks_is_refused(requested: str, architecture: str, has: str) -> None:
    with pytest.raises(HypervisorError, match=f"'{requested}'; it has: {has}"):
        choose(
            capabilities("qemu"),
            uri="qemu:///system",
            requested=requested,
            architecture=architecture,
        )
