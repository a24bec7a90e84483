"""Where KVM does not work, definitions ask for nothing that only KVM has."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from devops_snapshot.devops.libvirt.hypervisor import Hypervisor
from devops_snapshot.importer.domain import adapt
from devops_snapshot.manifest.check import definition_of
from devops_snapshot.manifest.definition import check_definition

from .looking import real

OF_KVM = """<features><acpi/><kvm><hidden state='on'/></kvm><hyperv><relaxed state='on'/></hyperv>
</features>"""
CLOCK = """<clock offset='utc'><timer name='kvmclock' present='yes'/><timer name='pit'/></clock>"""
CPUS = {
    "<cpu mode='host-passthrough' check='none' migratable='on'/>": ("maximum", None),
    "<cpu mode='host-model'><topology sockets='1' cores='2' threads='1'/></cpu>": (
        "host-model",
        None,
    ),
    "<cpu mode='custom' match='exact'><model>Haswell</model><vendor>Intel</vendor></cpu>": (
        "host-model",
        None,
    ),
    "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>": ("custom", "qemu64"),
}


def adapted(cpu: str, here: Hypervisor) -> etree._Element:
    """The definition of a node that ran in KVM, as it is on this host."""
    root = definition_of(next(real().environment.nodes)).root
    root.set("type", "kvm")
    for part in (OF_KVM, CLOCK, cpu):
        new = etree.fromstring(part)
        for old in root.findall(new.tag):
            root.remove(old)
        root.append(new)
    every_path: Any = {e.get("file"): "/pool/file" for e in root.iterfind(".//source[@file]")}
    adapt(root, paths=every_path, hypervisor_for=lambda architecture, wanted: here)
    check_definition("it", root)
    return root


@pytest.mark.parametrize(("cpu", "becomes"), CPUS.items())
def test_what_only_kvm_has_goes(cpu: str, becomes: tuple[str, str | None]) -> None:
    root = adapted(cpu, Hypervisor("qemu", "/usr/bin/qemu"))
    assert root.get("type") == "qemu"
    assert [feature.tag for feature in root.find("features")] == ["acpi"]
    assert [timer.get("name") for timer in root.iterfind("clock/timer")] == ["pit"]
    there = root.find("cpu")
    assert (there.get("mode"), there.findtext("model")) == becomes
    assert ("topology" in cpu) is (there.find("topology") is not None)


@pytest.mark.parametrize("cpu", CPUS)
def test_where_kvm_works_all_stays(cpu: str) -> None:
    root = adapted(cpu, Hypervisor("kvm", "/usr/bin/qemu"))
    assert root.get("type") == "kvm"
    assert root.find("features/kvm/hidden") is not None
    assert etree.tostring(root.find("cpu")) == etree.tostring(etree.fromstring(cpu))
