"""Fields that live in ``params``."""

from __future__ import annotations

from pathlib import Path

import pytest

from devops_snapshot.devops.libvirt.models import LibvirtL2NetworkDevice, LibvirtNode, LibvirtVolume
from devops_snapshot.devops.models import Environment, L2NetworkDevice, Node
from devops_snapshot.devops.models.params import ParamField, ParamMultiField
from devops_snapshot.errors import DevopsError


class Holder:
    """Anything with ``params``."""

    number = ParamField(7)
    names: ParamField[list[str]] = ParamField([])
    colour = ParamField("red", choices=("red", "green"))
    inner = ParamMultiField(a=ParamField(None), b=ParamField(2, choices=(2, 3)))

    def __init__(self) -> None:
        self.params: dict[str, object] = {}


def test_defaults_are_read_without_being_written() -> None:
    holder = Holder()
    assert (holder.number, holder.names, holder.colour) == (7, [], "red")
    assert holder.params == {}


def test_a_default_is_nobodys_to_change() -> None:
    Holder().names.append("x")
    assert Holder().names == []
    first, second = LibvirtNode(), LibvirtNode()
    first.boot.append("cdrom")
    assert second.boot == ["network", "cdrom", "hd"]


def test_values_are_written_to_params() -> None:
    holder = Holder()
    holder.number = 8
    holder.names = ["x"]
    holder.names.append("y")
    holder.inner.a = 1
    holder.inner = {"b": 3}
    assert holder.params == {"number": 8, "names": ["x", "y"], "inner": {"a": 1, "b": 3}}
    assert (holder.inner.a, holder.inner.b) == (1, 3)


def test_choices() -> None:
    holder = Holder()
    with pytest.raises(DevopsError) as error:
        holder.colour = "blue"
    assert str(error.value) == "'blue' is no value for colour, which is one of: red, green"
    with pytest.raises(DevopsError, match="4 is no value for b"):
        holder.inner.b = 4
    assert holder.colour == "red"


def test_unknown_nested_fields() -> None:
    holder = Holder()
    with pytest.raises(DevopsError, match="inner has no field 'c', only: a, b"):
        holder.inner = {"c": 1}
    with pytest.raises(AttributeError):
        holder.inner.c = 1
    with pytest.raises(DevopsError, match="inner is a mapping of a, b, not 5"):
        holder.inner = 5  # type: ignore[assignment]  # on purpose


def test_parameters_are_arguments(database: Path) -> None:
    node = LibvirtNode(name="n", hypervisor="qemu", memory=256)
    assert (node.name, node.hypervisor, node.memory, node.vcpu) == ("n", "qemu", 256, 1)
    created = LibvirtNode.objects.create(name="m", vcpu=3)
    assert Node.objects.get(pk=created.pk).params["vcpu"] == 3
    with pytest.raises(TypeError, match="colour"):
        LibvirtNode(colour="red")
    with pytest.raises(DevopsError, match="'xen' is no value for hypervisor"):
        LibvirtNode(hypervisor="xen")


def test_defined_params_begin_with_those_of_the_driver() -> None:
    names = LibvirtNode.get_defined_params()
    assert names[:3] == ["uuid", "hypervisor", "os_type"]
    assert names[-6:] == [
        "kernel_cmd",
        "ssh_port",
        "bootstrap_timeout",
        "deploy_timeout",
        "deploy_check_cmd",
        "_class",
    ]
    assert len(names) == len(set(names))


def test_loading_gives_the_class_that_the_row_names(database: Path) -> None:
    LibvirtL2NetworkDevice.objects.create(name="a", forward={"mode": "route"})
    L2NetworkDevice.objects.create(name="b")
    a, b = L2NetworkDevice.objects.order_by("id")
    assert (type(a), type(b)) == (LibvirtL2NetworkDevice, L2NetworkDevice)
    assert a.forward.mode == "route"
    assert b.params == {"_class": "devops.models.network:L2NetworkDevice"}
    # whatever it is asked through, and when params come later
    assert type(LibvirtL2NetworkDevice.objects.get(name="b")) is L2NetworkDevice
    deferred = L2NetworkDevice.objects.only("name").get(name="a")
    assert deferred.params["forward"] == {"mode": "route"}


def test_a_row_of_an_older_release_is_completed(database: Path) -> None:
    volume = LibvirtVolume.objects.create(name="v")
    old = {"capacity": 5, "format": "raw", "_class": volume._class, "extra": [1]}
    LibvirtVolume.objects.filter(pk=volume.pk).update(params=old)
    loaded = LibvirtVolume.objects.get(pk=volume.pk)
    assert (loaded.capacity, loaded.multipath_count) == (5, 0)
    assert loaded.params == old
    loaded.save()
    loaded.refresh_from_db()
    assert list(loaded.params)[:5] == ["capacity", "format", "_class", "extra", "uuid"]


def test_text_that_is_no_json(database: Path) -> None:
    volume = LibvirtVolume.objects.create(name="v")
    # past the field, which writes JSON only
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE devops_volume SET params = 'oops'")
    with pytest.raises(DevopsError, match="A row of devops_volume has no JSON in params: 'oops'"):
        LibvirtVolume.objects.get(pk=volume.pk)


def test_more_than_one(database: Path) -> None:
    environment = Environment.create("e")
    group = environment.add_group("g", "devops.driver.libvirt")
    group.add_node("a", role="worker")
    group.add_node("b", role="worker")
    with pytest.raises(DevopsError, match="More than one node with role='worker' in environment"):
        environment.get_node(role="worker")
