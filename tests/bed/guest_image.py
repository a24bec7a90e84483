"""The test guest: an ISO of about 16 MB with isolinux, Debian's cloud kernel and a busybox initrd.

``python -m tests.bed.guest_image`` builds it, if it is not there yet, and prints its path.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
BUSYBOX = Path("/bin/busybox")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")

#: In the order in which they can be loaded: each one after those it needs.
MODULES = (
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/virtio/virtio_balloon.ko",
    "drivers/block/virtio_blk.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)

BOOT_CONFIG = """\
default guest
prompt 0
label guest
  kernel vmlinuz
  append initrd=initrd.gz console=ttyS0 quiet loglevel=1 mitigations=off no_timer_check
"""


def guest_iso() -> Path:
    """The path of the guest's ISO, built on first use; safe to call from several processes."""
    CACHE.mkdir(exist_ok=True)
    iso = CACHE / f"guest-{_recipe()}.iso"
    with (CACHE / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not iso.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as workspace:
                _build(Path(workspace)).rename(iso)
    return iso


def _recipe() -> str:
    """A short digest of all that this checkout puts into the image."""
    digest = hashlib.sha256(BOOT_CONFIG.encode())
    for name in ("guest_init", "guest_lease"):
        digest.update((HERE / name).read_bytes())
    digest.update("".join(MODULES).encode())
    return digest.hexdigest()[:12]


def _build(workspace: Path) -> Path:
    kernel, modules = _unpack_kernel(workspace)
    image = workspace / "image"
    image.mkdir()
    shutil.copy(kernel, image / "vmlinuz")
    shutil.copy(ISOLINUX, image)
    shutil.copy(LDLINUX, image)
    (image / "isolinux.cfg").write_text(BOOT_CONFIG)
    (image / "initrd.gz").write_bytes(_initrd(workspace / "initrd", modules))
    iso = workspace / "guest.iso"
    boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot"]
    boot += ["-boot-load-size", "4", "-boot-info-table"]
    _run("xorriso", "-as", "mkisofs", "-quiet", *boot, "-o", str(iso), str(image))
    return iso


def _unpack_kernel(workspace: Path) -> tuple[Path, Path]:
    """Download and unpack, not install: the kernel and its directory of modules."""
    dependencies = _run("apt-cache", "depends", KERNEL_METAPACKAGE)
    package = next(
        line.split()[-1] for line in dependencies.splitlines() if "Depends: linux-image-" in line
    )
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=workspace)
    root = workspace / "kernel"
    _run("dpkg-deb", "-x", str(next(workspace.glob("*.deb"))), str(root))
    return next(root.glob("boot/vmlinuz-*")), next(root.glob("lib/modules/*/kernel"))


def _initrd(root: Path, modules: Path) -> bytes:
    for directory in ("bin", "lib/modules"):
        (root / directory).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for source, target in (("guest_init", "init"), ("guest_lease", "bin/lease")):
        shutil.copy(HERE / source, root / target)
        (root / target).chmod(0o755)
    names = [Path(module).name for module in MODULES]
    for module, name in zip(MODULES, names, strict=True):
        shutil.copy(modules / module, root / "lib/modules" / name)
    (root / "lib/modules/order").write_text("\n".join(names) + "\n")
    archive = subprocess.run(
        "find . | cpio --quiet --create --format=newc --owner=0:0",
        shell=True,
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    return gzip.compress(archive)


def _run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command; what it said goes into the error when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    print(guest_iso())
