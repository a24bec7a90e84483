"""Volumes, and the disks of nodes that they are plugged into."""

from __future__ import annotations

from typing import Any

from django.db import models

from .base import BaseModel
from .driver import DrivenModel
from .params import ParamedModel, ParamField, registered


@registered("devops.models.volume:Volume")
class Volume(DrivenModel, BaseModel):
    """A volume of a node, or of a group (then other volumes use it as their backing store)."""

    backing_store = models.ForeignKey("self", null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=255)
    node = models.ForeignKey("Node", null=True, on_delete=models.CASCADE)
    group = models.ForeignKey("Group", null=True, on_delete=models.CASCADE)

    class Meta:
        db_table = "devops_volume"
        unique_together = (("name", "node"), ("name", "group"))

    def __str__(self) -> str:
        return self.name

    @property
    def driver(self) -> Any:
        owner = self.node or self.group
        assert owner is not None, "a volume belongs to a node or a group"
        return owner.driver

    def define(self) -> None:
        """Make the volume."""
        raise self.unsupported("define it")

    def erase(self) -> None:
        """The same as :meth:`remove`."""
        self.remove()

    def remove(self) -> None:
        """Delete the volume and its row."""
        raise self.unsupported("remove it")


@registered("devops.models.volume:DiskDevice")
class DiskDevice(ParamedModel):
    """A disk of a node: which volume, at which target."""

    node = models.ForeignKey("Node", on_delete=models.CASCADE)
    volume = models.ForeignKey("Volume", null=True, on_delete=models.CASCADE)

    device: ParamField[str | None] = ParamField(None)
    type: ParamField[str | None] = ParamField(None)
    bus: ParamField[str | None] = ParamField(None)
    target_dev: ParamField[str | None] = ParamField(None)

    class Meta:
        db_table = "devops_diskdevice"

    def __str__(self) -> str:
        return self.target_dev or ""
