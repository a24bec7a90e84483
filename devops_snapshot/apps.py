"""The Django application of this project: its tables stand beside those of the ``devops`` app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete


class DevopsSnapshotConfig(AppConfig):
    """Registers what has to happen here when a row of the ``devops`` app goes away."""

    name = "devops_snapshot"
    verbose_name = "Snapshots, exports and imports of environments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .models import (
            forget_isolated_networks,
            forget_snapshots_of_environment,
            forget_snapshots_of_node,
        )
        from .signals import about_to_change, about_to_connect, about_to_merge, powered

        post_delete.connect(
            forget_snapshots_of_environment,
            sender="devops.Environment",
            dispatch_uid="devops_snapshot.environment",
        )
        post_delete.connect(
            forget_isolated_networks,
            sender="devops.Environment",
            dispatch_uid="devops_snapshot.isolated_networks",
        )
        post_delete.connect(
            _close_env_shells,
            sender="devops.Environment",
            dispatch_uid="devops_snapshot.env_shells",
        )
        post_delete.connect(
            forget_snapshots_of_node, sender=None, dispatch_uid="devops_snapshot.node"
        )
        post_delete.connect(_trim_cache, sender=None, dispatch_uid="devops_snapshot.trim_cache")
        about_to_merge.connect(_give_up_names, dispatch_uid="devops_snapshot.about_to_merge")
        about_to_change.connect(_keep_promises, dispatch_uid="devops_snapshot.about_to_change")
        about_to_connect.connect(_way_to_guests, dispatch_uid="devops_snapshot.about_to_connect")
        powered.connect(_merge_what_waited, dispatch_uid="devops_snapshot.powered")


def _merge_what_waited(*, environment: str, **_: Any) -> None:
    from .snapshot import tidy_up  # here, since models can only be imported once apps are loaded

    tidy_up(environment)


def _give_up_names(*, paths: Iterable[str], **_: Any) -> bool:
    from .importer.layer_cache import give_up  # as above

    return give_up(paths)


def _trim_cache(*, instance: Any, **_: Any) -> None:
    """A driver's row goes last when an environment is erased."""
    if instance._meta.label.startswith("devops.") and hasattr(instance, "storage_pool_name"):
        from .importer.layer_cache import trim  # as above

        trim(instance.connection_string, instance.storage_pool_name)


def _keep_promises(*, environment: str, **_: Any) -> None:
    from .snapshot import keep_promises_of  # as above

    keep_promises_of(environment)


def _close_env_shells(*, instance: Any, **_: Any) -> None:
    from .reach import close  # as above

    close(instance.name)


def _way_to_guests(*, environment: Any, **_: Any) -> Any:
    from .reach import way_to  # as above

    return way_to(environment)
