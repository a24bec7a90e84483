"""Environments in Django's admin, to be read, not written."""

from __future__ import annotations

from django.contrib import admin

from ..read_only_admin import ReadOnlyAdmin
from .models import AddressPool, Driver, Environment, Group, L2NetworkDevice, Node, Volume


@admin.register(Environment, Driver)
class NamedAdmin(ReadOnlyAdmin):
    list_display = ["name", "created"]
    search_fields = ["name"]


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    list_display = ["name", "environment", "driver"]
    list_filter = ["environment"]


@admin.register(AddressPool)
class AddressPoolAdmin(ReadOnlyAdmin):
    list_display = ["name", "net", "environment"]
    list_filter = ["environment"]


@admin.register(L2NetworkDevice)
class L2NetworkDeviceAdmin(ReadOnlyAdmin):
    list_display = ["name", "address_pool", "group"]
    list_filter = ["group__environment"]


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ["name", "role", "group", "created"]
    list_filter = ["group__environment", "role"]


@admin.register(Volume)
class VolumeAdmin(ReadOnlyAdmin):
    list_display = ["name", "node", "group", "backing_store"]
    search_fields = ["name"]
