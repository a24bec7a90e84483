"""Drivers: who makes the nodes, volumes and networks of a group."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import models
from netaddr import IPNetwork

from devops_snapshot.errors import UnsupportedError

from .base import BaseModel
from .params import ParamedModel, registered, registered_models

LIBVIRT_DRIVER = "devops.driver.libvirt"
RENAMED_DRIVERS = {"devops.driver.libvirt.libvirt_driver": LIBVIRT_DRIVER}
"""Old names that templates still use, and the name that is stored."""

FOREIGN_DRIVERS = (
    "devops.driver.baremetal",
    "devops.driver.dummy",
    "devops.driver.empty",
)
"""Drivers that only fuel-devops has."""


def model_class(driver_name: str, name: str) -> Any:
    """The model that ``driver_name`` has for ``Driver``, ``Node``, ``Volume`` ...

    Raises UnsupportedError for a driver that this project does not have.
    """
    plain = apps.get_model("devops", name)
    for path, model in registered_models():
        module = path.partition(":")[0]  # such as devops.driver.libvirt.libvirt_driver
        belongs = driver_name in (module, module.rpartition(".")[0])
        if belongs and model._meta.proxy and model._meta.concrete_model is plain:
            return model
    raise UnsupportedError(
        f"The driver {driver_name!r} of fuel-devops is not supported"
        if driver_name.startswith(FOREIGN_DRIVERS)
        else f"Unknown driver {driver_name!r}",
        hint=f"Use {LIBVIRT_DRIVER}",
    )


@registered("devops.models.driver:Driver")
class Driver(ParamedModel, BaseModel):
    """The driver of one group, with its settings."""

    name = models.CharField(max_length=512)

    class Meta:
        db_table = "devops_driver"

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def driver_create(name: str, **params: Any) -> Driver:
        """A new row of the driver ``name``; raises UnsupportedError where there is none."""
        driver: Driver = model_class(name, "Driver").objects.create(name=name, **params)
        return driver

    def get_model_class(self, class_name: str) -> Any:
        """This driver's model of that name: ``Node``, ``Volume``, ``L2NetworkDevice`` ..."""
        return model_class(self.name, class_name)

    def get_allocated_networks(self) -> list[IPNetwork]:
        """IP networks that are in use where the driver works."""
        return []


class DrivenModel(ParamedModel):
    """A row whose deeds are a driver's; the plain model only says that it has none."""

    class Meta:
        abstract = True

    @property
    def driver(self) -> Any:
        """The driver of the row's group."""
        raise NotImplementedError

    def unsupported(self, action: str) -> UnsupportedError:
        """The error to raise from an action that the driver does not have."""
        kind = self._meta.concrete_model._meta.verbose_name  # type: ignore[union-attr]  # is concrete
        return UnsupportedError(f"The driver {self.driver.name} of {kind} {self} cannot {action}")
