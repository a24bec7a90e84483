"""From a template to an environment that libvirt knows, or to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import transaction

from devops_snapshot.errors import DevopsError

from .libvirt.support import check_supported
from .models import Environment
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
    """Erase the environment if the body fails or is interrupted."""
    try:
        yield
    except BaseException:
        try:
            environment.erase()
        except DevopsError as error:
            raise DevopsError(
                f"Environment {environment.name!r} could be neither made nor removed: {error}",
                hint=f"Run `dos.py erase {environment.name}` when that is settled",
            ) from error
        raise
