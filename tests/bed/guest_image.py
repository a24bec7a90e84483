"""The test guest: an ISO of about 16 MB with isolinux, Debian's cloud kernel and a busybox initrd.

A second one has QEMU's guest agent, too. ``python -m tests.bed.guest_image`` builds what is not
there yet of both, and prints their paths.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
AGENT_PACKAGE = "qemu-guest-agent"
BUSYBOX = Path("/bin/busybox")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
LIBRARY = re.compile(r"(/\S+) \(0x")  # a path in what ldd prints

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
AGENT_MODULES = ("drivers/char/virtio_console.ko",)

#: Our own files and where they go.
SCRIPTS = {"guest_init": "init", "guest_lease": "bin/lease"}
AGENT_SCRIPTS = {"guest_agent": "bin/agent"}

PARAMETERS = (
    "mitigations=off",
    "no_timer_check",
    "cryptomgr.notests",
    "init_on_free=1",  # zeros in free memory: it is saved and restored in half the time
)
BOOT_CONFIG = """\
default guest
prompt 0
label guest
  kernel vmlinuz
  append initrd=initrd.gz console=ttyS0 quiet loglevel=1 {}
""".format(" ".join(PARAMETERS))


@dataclass(frozen=True)
class Recipe:
    """What goes into an image besides kernel and busybox; ``packages`` by name, not installed."""

    modules: tuple[str, ...]
    scripts: Mapping[str, str]
    packages: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Short; of all that this checkout puts into the image."""
        digest = hashlib.sha256(BOOT_CONFIG.encode())
        for name in self.scripts:
            digest.update((HERE / name).read_bytes())
        digest.update("".join(self.modules + self.packages).encode())
        return digest.hexdigest()[:12]


PLAIN = Recipe(MODULES, SCRIPTS)
WITH_AGENT = Recipe(MODULES + AGENT_MODULES, SCRIPTS | AGENT_SCRIPTS, (AGENT_PACKAGE,))


def guest_iso(recipe: Recipe = PLAIN) -> Path:
    """The path of the guest's ISO, built on first use; safe to call from several processes."""
    CACHE.mkdir(exist_ok=True)
    iso = CACHE / f"guest-{recipe.digest}.iso"
    with (CACHE / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not iso.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as workspace:
                _build(recipe, Path(workspace)).rename(iso)
    return iso


def blank_iso() -> Path:
    """The path of an image of 1 MiB that no machine boots from, always the same.

    For nodes that run without a system in them: it takes a guest four seconds of CPU to boot.
    """
    CACHE.mkdir(exist_ok=True)
    iso = CACHE / "blank.iso"
    if not iso.exists():
        with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as new:
            new.write(random.Random(9660).randbytes(1 << 20))
        Path(new.name).chmod(0o644)
        Path(new.name).rename(iso)
    return iso


def _build(recipe: Recipe, workspace: Path) -> Path:
    kernel, modules = _unpack_kernel(workspace)
    image = workspace / "image"
    image.mkdir()
    shutil.copy(kernel, image / "vmlinuz")
    shutil.copy(ISOLINUX, image)
    shutil.copy(LDLINUX, image)
    (image / "isolinux.cfg").write_text(BOOT_CONFIG)
    root = workspace / "initrd"
    _fill(root, recipe, modules)
    for package in recipe.packages:
        _install(root, _unpack(package, workspace))
    (image / "initrd.gz").write_bytes(_packed(root))
    iso = workspace / "guest.iso"
    boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot"]
    boot += ["-boot-load-size", "4", "-boot-info-table"]
    _run("xorriso", "-as", "mkisofs", "-quiet", *boot, "-o", str(iso), str(image))
    return iso


def _unpack_kernel(workspace: Path) -> tuple[Path, Path]:
    """The kernel and its directory of modules."""
    dependencies = _run("apt-cache", "depends", KERNEL_METAPACKAGE)
    package = next(
        line.split()[-1] for line in dependencies.splitlines() if "Depends: linux-image-" in line
    )
    root = _unpack(package, workspace)
    return next(root.glob("boot/vmlinuz-*")), next(root.glob("lib/modules/*/kernel"))


def _unpack(package: str, workspace: Path) -> Path:
    """Download and unpack a Debian package, not install it."""
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=workspace)
    root = workspace / package
    _run("dpkg-deb", "-x", str(next(workspace.glob(f"{package}_*.deb"))), str(root))
    return root


def _fill(root: Path, recipe: Recipe, modules: Path) -> None:
    for directory in ("bin", "lib/modules"):
        (root / directory).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for source, target in recipe.scripts.items():
        shutil.copy(HERE / source, root / target)
        (root / target).chmod(0o755)
    names = [Path(module).name for module in recipe.modules]
    for module, name in zip(recipe.modules, names, strict=True):
        shutil.copy(modules / module, root / "lib/modules" / name)
    (root / "lib/modules/order").write_text("\n".join(names) + "\n")


def _install(root: Path, unpacked: Path) -> None:
    """Copy a package's programs, and the libraries that they need from this machine."""
    for program in unpacked.glob("usr/*bin/*"):
        shutil.copy(program, root / "bin")
        for library in LIBRARY.findall(_run("ldd", str(program))):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)


def _packed(root: Path) -> bytes:
    """The directory as an initrd."""
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
    for recipe in (PLAIN, WITH_AGENT):
        print(guest_iso(recipe))
