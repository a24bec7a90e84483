"""The libvirt driver's proxies of the models, registered under fuel-devops's class names."""

from __future__ import annotations

from ..models.driver import Driver
from ..models.network import Interface, L2NetworkDevice
from ..models.node import Node
from ..models.params import ParamField, ParamMultiField, registered
from ..models.volume import DiskDevice, Volume

MODULE = "devops.driver.libvirt.libvirt_driver"
FORWARD_MODES = (None, "nat", "route", "bridge", "private", "vepa", "passthrough", "hostdev")


@registered(f"{MODULE}:LibvirtDriver")
class LibvirtDriver(Driver):
    connection_string: ParamField[str] = ParamField("qemu:///system")
    storage_pool_name: ParamField[str] = ParamField("default")
    stp: ParamField[bool] = ParamField(True)
    hpet: ParamField[bool] = ParamField(True)
    use_host_cpu: ParamField[bool] = ParamField(True)
    enable_acpi: ParamField[bool] = ParamField(False)
    enable_nwfilters: ParamField[bool] = ParamField(False)
    reboot_timeout: ParamField[int | None] = ParamField(None)
    use_hugepages: ParamField[bool] = ParamField(False)
    vnc_password: ParamField[str | None] = ParamField(None)

    class Meta:
        proxy = True


@registered(f"{MODULE}:LibvirtL2NetworkDevice")
class LibvirtL2NetworkDevice(L2NetworkDevice):
    uuid: ParamField[str | None] = ParamField(None)
    forward = ParamMultiField(mode=ParamField(None, choices=FORWARD_MODES))
    dhcp: ParamField[bool] = ParamField(False)
    stp: ParamField[bool | None] = ParamField(None)
    has_pxe_server: ParamField[bool] = ParamField(False)
    tftp_root_dir: ParamField[str | None] = ParamField(None)
    vlan_ifaces: ParamField[list[int]] = ParamField([])
    parent_iface = ParamMultiField(
        phys_dev=ParamField(None), l2_net_dev=ParamField(None), tag=ParamField(None)
    )

    class Meta:
        proxy = True


@registered(f"{MODULE}:LibvirtVolume")
class LibvirtVolume(Volume):
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


@registered(f"{MODULE}:LibvirtNode")
class LibvirtNode(Node):
    uuid: ParamField[str | None] = ParamField(None)
    hypervisor: ParamField[str] = ParamField("kvm", choices=("kvm", "test", "qemu"))
    os_type: ParamField[str] = ParamField("hvm", choices=("hvm",))
    architecture: ParamField[str] = ParamField("x86_64", choices=("x86_64", "i686"))
    boot: ParamField[list[str]] = ParamField(["network", "cdrom", "hd"])
    vcpu: ParamField[int] = ParamField(1)
    memory: ParamField[int] = ParamField(1024)
    has_vnc: ParamField[bool] = ParamField(True)
    has_videocard: ParamField[bool] = ParamField(True)
    bootmenu_timeout: ParamField[int] = ParamField(0)
    numa: ParamField[list[dict[str, object]]] = ParamField([])
    cloud_init_volume_name: ParamField[str | None] = ParamField(None)
    cloud_init_iface_up: ParamField[str | None] = ParamField(None)
    bmc_network: ParamField[bool] = ParamField(False)
    bmc_user: ParamField[str] = ParamField("admin")
    bmc_password: ParamField[str] = ParamField("r00tme")
    bmc_port: ParamField[int | None] = ParamField(None)

    class Meta:
        proxy = True


@registered(f"{MODULE}:LibvirtInterface")
class LibvirtInterface(Interface):
    class Meta:
        proxy = True


@registered(f"{MODULE}:LibvirtDiskDevice")
class LibvirtDiskDevice(DiskDevice):
    device: ParamField[str | None] = ParamField("disk", choices=("disk", "cdrom"))
    type: ParamField[str | None] = ParamField("file", choices=("file",))
    bus: ParamField[str | None] = ParamField("virtio", choices=("virtio", "ide", "scsi", "usb"))
    target_dev: ParamField[str | None] = ParamField(None)

    class Meta:
        proxy = True
