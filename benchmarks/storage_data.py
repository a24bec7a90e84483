"""Disks as of one environment: a Debian base image, and an overlay of each of three nodes on it.

ext4 of this kernel places the files, as it does in a guest: what lies where decides how much can be
deduplicated. So the images are mounted while they are filled, in a mount namespace that ends with
the command: nothing stays mounted, whatever happens.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
DISK_SIZE = "10G"
BASE = (
    "openssh-server python3 systemd-sysv udev iproute2 ifupdown vim-tiny ca-certificates rsyslog "
    "sudo curl linux-image-cloud-amd64"
)
EVERY_NODE = "git tcpdump chrony openvswitch-switch python3-openstackclient"
NODES: Mapping[str, Sequence[str]] = {  # what is installed on it, one after the other
    "controller": ("rabbitmq-server", EVERY_NODE, "haproxy memcached"),
    "compute": (EVERY_NODE, "qemu-system-x86 libvirt-daemon-system"),
    "storage": ("ceph-osd", EVERY_NODE, "xfsprogs smartmontools"),
}
LATER = "strace lsof rsync"  # installed between the first export and the second

_DEBOOTSTRAP = """
mkfs.ext4 -q -F {raw}
mount -o loop {raw} {mount}
debootstrap --variant=minbase --include={packages} {suite} {mount} {mirror}
rm -rf {mount}/var/cache/apt/archives/*.deb
printf '#!/bin/sh\\nexit 101\\n' > {mount}/usr/sbin/policy-rc.d
chmod +x {mount}/usr/sbin/policy-rc.d
fstrim {mount}
umount {mount}
"""
_INSTALL = """
mount -o loop {raw} {mount}
mount --bind {archives} {mount}/var/cache/apt/archives
mount -t proc proc {mount}/proc
mount -t tmpfs tmpfs {mount}/run
cp /etc/resolv.conf {mount}/run/resolv.conf
ln -sf /run/resolv.conf {mount}/etc/resolv.conf
echo {node} > {mount}/etc/hostname
export DEBIAN_FRONTEND=noninteractive
apt="apt-get -qy -o APT::Keep-Downloaded-Packages=true -o APT::Sandbox::User=root"
{before}
for packages in {packages}; do
    chroot {mount} $apt install --no-install-recommends $packages
done
umount -R {mount}
"""
_RECIPE = "\n".join(
    [SUITE, DISK_SIZE, BASE, *map(str, NODES.items()), LATER, _DEBOOTSTRAP, _INSTALL]
)


@dataclass(frozen=True)
class Disks:
    """What is exported, and what it is after some days.

    :param first: base image, then the overlays
    :param second: the same files later; the base image is the same one
    """

    first: Sequence[Path]
    second: Sequence[Path]


def disks(cache: Path) -> Disks:
    """Return the images, made on first use: needs root, a mirror of Debian and some minutes."""
    room = cache.resolve() / "disks"
    base = room / "base.qcow2"
    rounds = [[room / number / f"{node}.qcow2" for node in NODES] for number in ("1", "2")]
    made = room / "made-of"
    if not made.exists() or made.read_text() != _RECIPE:
        shutil.rmtree(room, ignore_errors=True)
        _build(room, base)
        made.write_text(_RECIPE)
    return Disks([base, *rounds[0]], [base, *rounds[1]])


def _build(room: Path, base: Path) -> None:
    for directory in ("1", "2", "archives", "mount"):
        (room / directory).mkdir(parents=True)
    raw = room / "base.raw"
    _run(["truncate", "-s", DISK_SIZE, raw])
    _mounted(_DEBOOTSTRAP, room, raw, packages=",".join(BASE.split()), suite=SUITE)
    _qemu_img("convert", "-O", "qcow2", raw, base)
    for node, packages in NODES.items():
        _build_node(room, base, raw, node, packages)
    raw.unlink()
    shutil.rmtree(room / "archives")


def _build_node(room: Path, base: Path, base_raw: Path, node: str, packages: Sequence[str]) -> None:
    """Both rounds of one node's overlay."""
    raw = room / f"{node}.raw"
    first, second = (room / number / f"{node}.qcow2" for number in ("1", "2"))
    _run(["cp", "--sparse=always", base_raw, raw])
    chosen = " ".join(f"'{some}'" for some in packages)
    _mounted(
        _INSTALL, room, raw, node=node, packages=chosen, before=f"chroot {room}/mount $apt update"
    )
    _overlay(first, base, content=raw)
    _run(["cp", "--sparse=always", first, second])
    _mounted(_INSTALL, room, raw, node=node, packages=f"'{LATER}'", before="")
    top = room / "top.qcow2"
    _overlay(top, second, content=raw)
    _qemu_img("commit", "-q", top)
    top.unlink()
    raw.unlink()


def _overlay(overlay: Path, base: Path, *, content: Path) -> None:
    """Make an overlay with those clusters of ``content`` that are not the same in ``base``."""
    _qemu_img("create", "-q", "-f", "qcow2", "-b", content, "-F", "raw", overlay)
    _qemu_img("rebase", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay)


def _mounted(script: str, room: Path, raw: Path, **values: str) -> None:
    """Run a script that mounts ``raw``, in a mount namespace of its own."""
    filled = script.format(
        raw=raw,
        mount=room / "mount",
        archives=room / "archives",
        mirror=os.environ.get("DEBIAN_MIRROR", ""),
        **values,
    )
    _run(["unshare", "--mount", "--propagation", "private", "sh", "-euc", filled])


def _qemu_img(*arguments: str | Path) -> None:
    _run(["qemu-img", *arguments])


def _run(command: Sequence[str | Path]) -> None:
    """:raises RuntimeError: with the end of what the command has printed"""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        tail = result.stdout.decode(errors="replace")[-2000:]
        raise RuntimeError(f"{command[0]} failed with {result.returncode}:\n{tail}")
