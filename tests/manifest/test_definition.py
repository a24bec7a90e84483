"""What a domain definition may not say, each as an attacker would say it."""

from __future__ import annotations

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.manifest.definition import check_definition
from devops_snapshot.snapshot.domain_xml import parse

from .real import document

NODE = document()["environment"]["groups"][0]["nodes"][0]
QEMU = "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'"

IN_DEVICES = {
    "host device": "<hostdev mode='subsystem' type='usb'><source/></hostdev>",
    "directory of the host": "<filesystem><source dir='/etc'/><target dir='x'/></filesystem>",
    "block device": "<disk type='block'><source dev='/dev/sda'/><target dev='sdz'/></disk>",
    "network disk": "<disk type='network'><source protocol='nbd'/><target dev='z'/></disk>",
    "lun": "<disk type='file' device='lun'><source file='/x'/><target dev='sdz'/></disk>",
    "data file beside the image": "<disk type='file'><source file='/x'><dataStore type='file'>"
    "<source file='/etc/shadow'/></dataStore></source><target dev='sdz'/></disk>",
    "two sources": "<disk type='file'><source file='a'/><source file='b'/><target dev='z'/></disk>",
    "reservations": "<disk type='file'><source file='/x'><reservations managed='no'>"
    "<source type='unix' path='/run/x' mode='client'/></reservations></source>"
    "<target dev='sdz'/></disk>",
    "tap device of the host": "<interface type='ethernet'><target dev='eth0'/></interface>",
    "host's bridge": "<interface type='bridge'><source bridge='br0'/></interface>",
    "host's card": "<interface type='direct'><source dev='eth0'/></interface>",
    "script": "<interface type='network'><source network='x'/><script path='/tmp/x'/></interface>",
    "option ROM": "<interface type='network'><source network='x'/><rom file='/etc/shadow'/>"
    "</interface>",
    "tap backend": "<interface type='network'><source network='x'/><backend tap='/dev/x'/>"
    "</interface>",
    "serial port into a file": "<serial type='file'><source path='/etc/cron.d/x'/></serial>",
    "serial port to a host's line": "<serial type='dev'><source path='/dev/ttyS0'/></serial>",
    "serial port to the network": "<serial type='tcp'><source mode='connect' host='x'/></serial>",
    "serial port at a socket": "<serial type='unix'><source path='/run/x'/></serial>",
    "log of a serial port": "<serial type='pty'><log file='/etc/cron.d/x'/></serial>",
    "channel to a daemon": "<channel type='unix'><source mode='connect' path='/run/docker.sock'/>"
    "</channel>",
    "channel beside libvirt's": "<channel type='unix'><source mode='bind' "
    "path='/var/lib/libvirt/qemu/channel/../../../x'/></channel>",
    "graphics at a socket": "<graphics type='vnc'><listen type='socket'/></graphics>",
    "graphics at a named socket": "<graphics type='vnc' socket='/run/x'/>",
    "graphics on the host's screen": "<graphics type='sdl' xauth='/root/.Xauthority'/>",
    "rendering on the host": "<video><model type='virtio'><acceleration rendernode='/dev/dri/x'/>"
    "</model></video>",
    "sound into a file": "<audio id='1' type='file' path='/tmp/x'/>",
    "entropy from a disk": "<rng model='virtio'><backend model='random'>/dev/sda</backend></rng>",
    "entropy from a socket": "<rng model='virtio'><backend model='egd' type='tcp'/></rng>",
    "keyboard of the host": "<input type='evdev'><source dev='/dev/input/event0'/></input>",
    "graphics at a relative socket": "<graphics type='vnc' socket='x'/>",
    "dump by a watchdog": "<watchdog model='i6300esb' action='dump'/>",
    "shared memory": "<shmem name='x'/>",
    "TPM": "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
    "smart card": "<smartcard mode='host'/>",
    "redirected device": "<redirdev bus='usb' type='tcp'/>",
    "nvram": "<nvram><address type='spapr-vio'/></nvram>",
}
IN_DOMAIN = {
    "QEMU's arguments": f"<q:commandline {QEMU}><q:arg value='-S'/></q:commandline>",
    "QEMU's capabilities": f"<q:capabilities {QEMU}/>",
    "files through firmware": "<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/>"
    "</sysinfo>",
    "no confinement": "<seclabel type='none' model='apparmor'/>",
    "a label of its own": "<seclabel type='static' model='dac'><label>root:root</label></seclabel>",
    "a base label": "<seclabel type='dynamic' model='selinux'><baselabel>x</baselabel></seclabel>",
    "another bootloader": "<bootloader>/usr/bin/pygrub</bootloader>",
    "memory in a named place": "<memoryBacking><source type='/dev/x'/></memoryBacking>",
    "memory that others may write": "<memoryBacking><access mode='shared'/></memoryBacking>",
    "a second place to boot from": "<os><type>hvm</type><kernel>vmlinuz</kernel></os>",
    "a second name": "<name>other</name>",
    "a dump of a crash": "<on_crash>coredump-restart</on_crash>",
    "secrets of the host": "<launchSecurity type='sev'/>",
    "I/O of a host's device": "<blkiotune><device><path>/dev/sda</path></device></blkiotune>",
}
IN_OS = {
    "kernel": "<kernel>/boot/vmlinuz</kernel>",
    "initrd": "<initrd>/boot/initrd</initrd>",
    "firmware": "<loader>/usr/share/OVMF/OVMF_CODE.fd</loader>",
    "variables of firmware": "<nvram template='/etc/shadow'/>",
    "ACPI table": "<acpi><table type='slic'>/etc/shadow</table></acpi>",
    "device tree": "<dtb>/etc/shadow</dtb>",
    "the host's SMBIOS": "<smbios mode='host'/>",
}


def definition_with(*, devices: str = "", domain: str = "", system: str = "") -> str:
    """The real definition with something more in it."""
    xml: str = NODE["domain_xml"]
    xml = xml.replace("</devices>", f"{devices}</devices>")
    return xml.replace("</os>", f"{system}</os>").replace("</domain>", f"{domain}</domain>")


def check(xml: str) -> None:
    check_definition("node 'x'", parse(xml))


def refused(xml: str) -> None:
    with pytest.raises(FormatError) as caught:
        check(xml)
    assert str(caught.value).startswith("the definition of node 'x' has ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", IN_DEVICES.values(), ids=IN_DEVICES)
def test_devices_that_reach_into_the_host_are_refused(device: str) -> None:
    refused(definition_with(devices=device))


@pytest.mark.parametrize("element", IN_DOMAIN.values(), ids=IN_DOMAIN)
def test_settings_that_reach_into_the_host_are_refused(element: str) -> None:
    refused(definition_with(domain=element))


@pytest.mark.parametrize("element", IN_OS.values(), ids=IN_OS)
def test_files_to_boot_from_are_refused(element: str) -> None:
    refused(definition_with(system=element))


def test_comments_do_not_hide_what_libvirt_reads() -> None:
    name = parse("<domain><name>a<!-- x -->b<?x y?>c</name></domain>").findtext("name")
    assert name == "abc"


def test_documents_with_a_doctype_are_refused() -> None:
    with pytest.raises(FormatError, match="DOCTYPE"):
        parse("<!DOCTYPE domain [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>")


def test_firmware_of_the_hosts_choice_is_refused() -> None:
    refused(NODE["domain_xml"].replace("<os>", "<os firmware='efi'>"))


def test_what_libvirt_writes_is_accepted() -> None:
    """The persistent definition, and both inside the snapshot, of which one is a live one."""
    check(NODE["domain_xml"])
    root = parse(NODE["snapshots"][0]["xml"])
    for tag in ("domain", "inactiveDomain"):
        [definition] = root.findall(tag)
        assert check_definition("x", definition).networks == {"trip_admin", "trip_private"}


@pytest.mark.parametrize(
    "harmless",
    [
        "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/"
        "domain-1-x/org.qemu.guest_agent.0'/><target type='virtio' name='a'/></channel>",
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
        "<graphics type='vnc' passwd='a/b+c='><listen type='address'/></graphics>",
        "<!-- a comment --><watchdog model='i6300esb' action='reset'/>",
    ],
)
def test_what_users_add_is_accepted(harmless: str) -> None:
    check(definition_with(devices=harmless))


@pytest.mark.parametrize("xml", ["<network/>", "<domain type='kvm'/>", "<domain type='xen'/>"])
def test_what_is_no_definition_is_refused(xml: str) -> None:
    with pytest.raises(FormatError, match="no usable domain definition"):
        check(xml)
