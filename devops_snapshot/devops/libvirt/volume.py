"""Volumes in libvirt's storage pool, and the disks that they are."""

from __future__ import annotations

import logging
import uuid
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import libvirt
from lxml import etree

from devops_snapshot.errors import ConflictError, NotFoundError
from devops_snapshot.qcow2 import ImageHeader, read_header
from devops_snapshot.storage_pool import find_by_name, find_by_path

from ..models.params import ParamField, registered
from ..models.volume import DiskDevice, Volume
from . import names
from .driver import MODULE, LibvirtDriver
from .refusal import refuse
from .upload import upload
from .volume_problems import volume_problems
from .volume_xml import Backing, VolumeSpec, volume_xml

LOG = logging.getLogger(__name__)

GIB = 1024**3
DRIVERS = {"iso": "raw"}
"""QEMU's names for formats that libvirt finds in files, where they differ."""


@registered(f"{MODULE}:LibvirtVolume")
class LibvirtVolume(Volume):
    """A volume: ``uuid`` is libvirt's key of it (its path), ``capacity`` is in GiB.

    ``multipath_count`` is how many disks of its node it is at once; 0 is one that knows no paths.
    """

    uuid: ParamField[str | None] = ParamField(None)
    capacity: ParamField[float | None] = ParamField(None)
    format: ParamField[str] = ParamField("qcow2", choices=("qcow2", "raw"))
    source_image: ParamField[str | None] = ParamField(None)
    serial: ParamField[str | None] = ParamField(None)
    wwn: ParamField[str | None] = ParamField(None)
    multipath_count: ParamField[int] = ParamField(0)
    cloudinit_meta_data: ParamField[str | None] = ParamField(None)
    cloudinit_user_data: ParamField[str | None] = ParamField(None)
    shared_backing_store_name: ParamField[str | None] = ParamField(None)

    class Meta:
        proxy = True

    @property
    def driver(self) -> LibvirtDriver:
        driver: LibvirtDriver = super().driver
        return driver

    @property
    def volume_name(self) -> str:
        """What libvirt calls the volume, or will call it."""
        volume = self._find()
        return self.new_name() if volume is None else str(volume.name())

    def new_name(self) -> str:
        """What libvirt will call the volume when it is defined."""
        owner = self.node or self.group
        assert owner is not None, "a volume belongs to a node or a group"
        group = self.node.group if self.node else self.group
        assert group is not None, "a node belongs to a group"
        assert group.environment is not None, "a group belongs to an environment"
        return names.volume_name(group.environment.name, owner.name, self.name)

    @property
    def libvirt_volume(self) -> libvirt.virStorageVol:
        """The volume in libvirt; raises NotFoundError."""
        volume = self._find()
        if volume is None:
            raise NotFoundError(
                f"volume '{self.uuid or self.new_name()}' is not there "
                f"on {self.driver.connection_string}"
            )
        return volume

    @property
    def has_several_paths(self) -> bool:
        """Whether its node has it as several disks."""
        return (self.multipath_count or 0) > 1

    @property
    def image_format(self) -> str:
        """What the volume will be: raw where QEMU is to open it more than once."""
        return "raw" if self.has_several_paths else self.format

    def exists(self) -> bool:
        """Whether libvirt has the volume."""
        return self._find() is not None

    def get_path(self) -> str:
        """Where the volume is on libvirt's host."""
        return str(self.libvirt_volume.path())

    def get_capacity(self) -> int:
        """Bytes as a guest sees them."""
        with self._asking("ask for the size of"):
            return int(self.libvirt_volume.info()[1])

    def get_allocation(self) -> int:
        """Bytes that it takes in the pool."""
        with self._asking("ask for the size of"):
            return int(self.libvirt_volume.info()[2])

    def define(self) -> None:
        """Create the volume and fill it from its source image; on failure nothing is left.

        Its capacity is the one given, else that of its source image, else that of what it lies on.
        With several paths it becomes raw, with a warning if it should be qcow2.

        :raises ConflictError: the pool has a volume of that name
        :raises NotFoundError: the source image, the backing volume or the pool is not there
        :raises UnsupportedError: a setting of the volume is not supported
        """
        refuse(volume_problems(self))
        if self.format != self.image_format:
            LOG.warning(
                "volume '%s' becomes %s: QEMU does not open %s over several paths at once",
                self.new_name(),
                self.image_format,
                self.format,
            )
            self.format = self.image_format
        image = read_header(Path(self.source_image)) if self.source_image else None
        with ExitStack() as undo, self._asking("create"):
            spec = self._spec(image)
            volume = self.driver.pool.createXML(volume_xml(spec))
            undo.callback(volume.delete)
            if image is not None:
                self._fill(volume, image, capacity=spec.capacity)
            self.uuid = volume.key()
            self.serial = self.serial or uuid.uuid4().hex
            self.wwn = self.wwn or "0" + uuid.uuid4().hex[:15]
            self.save()
            undo.pop_all()

    def upload(self, path: Path) -> None:
        """Write a file over the start of the volume, which grows if it is smaller.

        :raises HypervisorError: libvirt refuses, or not everything arrived
        """
        size = path.stat().st_size
        with self._asking("fill"):
            volume = self.libvirt_volume
            if volume.info()[1] < size:
                volume.resize(size)
            upload(volume, path, size=size)

    def create_child(self, name: str) -> LibvirtVolume:
        """A new row (to be defined) of a volume that lies on this one."""
        child: LibvirtVolume = self.driver.get_model_class("Volume").objects.create(
            name=name, node=self.node, format=self.format, backing_store=self
        )
        return child

    def remove(self) -> None:
        """Delete the volume, if libvirt has it, and the row.

        :raises ConflictError: other volumes lie on it
        """
        children = ", ".join(f"'{child}'" for child in self.volume_set.order_by("id"))
        if children:
            raise ConflictError(f"volume '{self}' cannot be removed: {children} lie on it")
        volume = self._find()
        if volume is not None:
            with self._asking("remove"):
                volume.delete()
        self.delete()

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return self.driver.asking(f"{what} volume '{self.new_name()}'")

    def _find(self) -> libvirt.virStorageVol | None:
        if not self.uuid:
            return None
        with self._asking("look up"):
            return find_by_path(self.driver.pool, self.uuid)

    def _spec(self, image: ImageHeader | None) -> VolumeSpec:
        below = self._backing_volume()
        backing = Backing(str(below.path()), self._backing_format(below)) if below else None
        capacity = int(float(self.capacity or 0) * GIB)
        if image is not None:
            capacity = self._at_least(self._size_of(image), capacity)
        elif not capacity and below is not None:
            capacity = int(below.info()[1])
        return VolumeSpec(self.new_name(), capacity, self.format, backing)

    def _at_least(self, image_size: int, capacity: int) -> int:
        """The capacity, if the image fits; else, with a warning if one was given, the image's."""
        if 0 < capacity < image_size:
            LOG.warning(
                "volume '%s' gets %s bytes, the size of its source_image, instead of %s",
                self.new_name(),
                image_size,
                capacity,
            )
        return max(image_size, capacity)

    def _size_of(self, image: ImageHeader) -> int:
        """Bytes that a guest will see of the image in this volume."""
        return image.virtual_size if image.format == self.format else self._image_file_size

    @property
    def _image_file_size(self) -> int:
        """Bytes of the source image's file."""
        assert self.source_image is not None, "it was read"
        return Path(self.source_image).stat().st_size

    def _backing_volume(self) -> libvirt.virStorageVol | None:
        """What the volume is to lie on: another row's volume, or one that somebody else made."""
        if isinstance(self.backing_store, LibvirtVolume):
            return self.backing_store.libvirt_volume
        if self.shared_backing_store_name:
            return find_by_name(self.driver.pool, self.shared_backing_store_name)
        return None

    def _backing_format(self, below: libvirt.virStorageVol) -> str:
        """What the row says; of a volume without a row, what libvirt found in the file."""
        if isinstance(self.backing_store, LibvirtVolume):
            return self.backing_store.format
        element = etree.fromstring(below.XMLDesc()).find("target/format[@type]")
        detected = "raw" if element is None else str(element.get("type"))
        return DRIVERS.get(detected, detected)

    def _fill(self, volume: libvirt.virStorageVol, image: ImageHeader, *, capacity: int) -> None:
        assert self.source_image is not None, "it was read"
        upload(volume, Path(self.source_image), size=self._image_file_size)
        if capacity > self._size_of(image):
            volume.resize(capacity)


@registered(f"{MODULE}:LibvirtDiskDevice")
class LibvirtDiskDevice(DiskDevice):
    """A disk or cdrom of a node."""

    device: ParamField[str | None] = ParamField("disk", choices=("disk", "cdrom"))
    type: ParamField[str | None] = ParamField("file", choices=("file",))
    bus: ParamField[str | None] = ParamField("virtio", choices=("virtio", "ide", "scsi", "usb"))
    target_dev: ParamField[str | None] = ParamField(None)

    class Meta:
        proxy = True

    @property
    def multipath_enabled(self) -> bool:
        """Whether it is a path to its volume, of which there can be others."""
        return isinstance(self.volume, LibvirtVolume) and bool(self.volume.multipath_count)
