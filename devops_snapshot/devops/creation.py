"""From a template to an environment that libvirt knows, or to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import transaction

from devops_snapshot.errors import DevopsError

from ..storage_pool import find_by_name
from .libvirt.connection import find_domain_by_name, find_network_by_name
from .libvirt.models import LibvirtL2NetworkDevice, LibvirtNode, LibvirtVolume
from .libvirt.support import check_supported
from .models import Environment, Volume
from .template import load_template


def create_from_template(path: str | Path) -> Environment:
    """Make the environment that a template describes, switched off.

    Raises TemplateError, ConflictError, UnsupportedError or HypervisorError; then nothing of it is
    left.
    """
    settings = load_template(path)
    with transaction.atomic():
        environment = Environment.create_environment(settings)
        check_supported(environment)
    with erased_on_failure(environment):
        environment.define()
    return environment


@contextmanager
def erased_on_failure(environment: Environment) -> Iterator[None]:
    """Erase the environment if the body fails or is interrupted.

    Nothing of the names that it uses may have been in libvirt before.
    """
    try:
        yield
    except BaseException:
        try:
            _adopt(environment)
            environment.erase()
        except DevopsError as error:
            raise DevopsError(
                f"Environment {environment.name!r} could be neither made nor removed: {error}",
                hint=f"Run `dos.py erase {environment.name}` when that is settled",
            ) from error
        raise


def _adopt(environment: Environment) -> None:
    """Enter into the rows what libvirt had just made when the interruption came."""
    for device in environment.get_env_l2_network_devices():
        if isinstance(device, LibvirtL2NetworkDevice) and not device.uuid:
            network = find_network_by_name(device.driver.conn, device.network_name)
            if network is not None:
                device.uuid = network.UUIDString()
                device.save()
    for node in environment.get_nodes():
        if isinstance(node, LibvirtNode) and not node.uuid:
            domain = find_domain_by_name(node.driver.conn, node.domain_name)
            if domain is not None:
                node.uuid = domain.UUIDString()
                node.save()
    for volume in _volumes(environment):
        if isinstance(volume, LibvirtVolume) and not volume.uuid:
            image = find_by_name(volume.driver.pool, volume.new_name())
            if image is not None:
                volume.uuid = image.key()
                volume.save()


def _volumes(environment: Environment) -> Iterator[Volume]:
    for group in environment.get_groups():
        yield from group.get_volumes()
    for node in environment.get_nodes():
        yield from node.get_volumes()
