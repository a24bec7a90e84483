"""The app's place in Django."""

from __future__ import annotations

from django.apps import AppConfig


class MinimalConfig(AppConfig):
    name = "tests.journey.minimal_devops"
    label = "devops"
    default_auto_field = "django.db.models.AutoField"
