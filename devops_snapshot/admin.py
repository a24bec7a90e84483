"""Exports, imports, snapshots and storage nodes in Django's admin, to be read, not written."""

from __future__ import annotations

from django.contrib import admin

from . import models
from .read_only_admin import ReadOnlyAdmin


@admin.register(models.StorageNode)
class StorageNodeAdmin(ReadOnlyAdmin):
    list_display = ["url", "repository_id", "last_used"]


@admin.register(models.Export)
class ExportAdmin(ReadOnlyAdmin):
    list_display = [
        "export_id",
        "environment_name",
        "state",
        "storage_url",
        "bytes_read",
        "bytes_sent",
        "freeze_seconds",
        "started",
        "finished",
    ]
    list_filter = ["state", "storage_url"]
    search_fields = ["export_id", "environment_name"]


@admin.register(models.Import)
class ImportAdmin(ReadOnlyAdmin):
    list_display = [
        "export_id",
        "environment_name",
        "state",
        "storage_url",
        "bytes_received",
        "started",
        "finished",
    ]
    list_filter = ["state", "storage_url"]
    search_fields = ["export_id", "environment_name"]


class NodeSnapshotInline(admin.TabularInline):  # type: ignore[type-arg] # as above
    model = models.NodeSnapshot
    extra = 0
    can_delete = False


@admin.register(models.EnvironmentSnapshot)
class EnvironmentSnapshotAdmin(ReadOnlyAdmin):
    list_display = ["name", "environment_id", "created", "freeze_seconds"]
    inlines = [NodeSnapshotInline]
