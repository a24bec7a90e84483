"""The Django app that stands where fuel-devops's own app ``devops`` stood."""

from __future__ import annotations

from django.apps import AppConfig


class DevopsConfig(AppConfig):
    """App label and key type are part of the contract with fuel-devops's database."""

    name = "devops_snapshot.devops"
    label = "devops"
    verbose_name = "Environments"
    default_auto_field = "django.db.models.AutoField"
