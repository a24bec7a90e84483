"""Environment templates of two small nodes, and the variables that they want."""

from __future__ import annotations

import random
from pathlib import Path

from .guest_image import blank_iso, guest_iso
from .host import Host

TEMPLATES = Path(__file__).with_name("templates")
BASE_IMAGE_DATA = 16 << 20  # bytes
BASE_IMAGE_SIZE = "1G"


def two_nodes(host: Host) -> Path:
    """The template of nodes ``node-1`` and ``node-2``, with networks where the host has them."""
    return TEMPLATES / f"two_nodes{'' if host.namespaces else '_without_networks'}.yaml"


def template_env(host: Host, *, name: str = "demo", system: bool = True) -> dict[str, str]:
    """The variables of :func:`two_nodes`, for an environment of that name.

    The base image is made where it is missing; it is the same on all hosts.

    :param system: there is one to boot, the test guest's
    """
    image = host.directory / "images/base.qcow2"
    if not image.exists():
        _make_base_image(host, image)
    iso = guest_iso() if system else blank_iso()
    return {"ENV_NAME": name, "GUEST_ISO": str(iso), "BASE_IMAGE": str(image)}


def _make_base_image(host: Host, image: Path) -> None:
    image.parent.mkdir()
    if host.user is not None:
        host.user.owns(image.parent)
    raw = image.with_suffix(".raw")
    raw.write_bytes(random.Random(2019).randbytes(BASE_IMAGE_DATA))
    host.run(["qemu-img", "resize", "-q", "-f", "raw", str(raw), BASE_IMAGE_SIZE])
    host.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)])
    raw.unlink()
