"""The types of the manifest, version 1.

Rows of the ``devops`` app keep their columns and their ``params`` verbatim; a reference to another
row is that row's id on the exporting host, valid within one manifest. Unknown fields are kept, so
that a manifest written by a later release of the same version survives a load and a save. Times of
rows are naive UTC as in fuel-devops's database; all others are aware.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError

from ..errors import FormatError, UnsupportedError

FORMAT: Final = "devops_snapshot.manifest"
VERSION: Final = 1
LARGEST: Final = 64 << 20
"""Bytes; 20 KiB for each node and snapshot are usual."""

LONGEST_WORD: Final = 255
"""Characters of what is a name or a number elsewhere."""
LONGEST_LINE: Final = 1000
"""Characters, such as of a URL."""
LONGEST_TRACEBACK: Final = 16 << 10
"""Characters."""
MOST_FACTS: Final = 32
"""Tags, or commits."""

_MOST_VALUES = 1 << 20  # in JSON; each takes up to 200 bytes in memory
_BETWEEN_VALUES = (b",", b"[", b"{")
_LONGEST_NAME = 100  # characters that are told of a field's

T = TypeVar("T")
Many = Annotated[tuple[T, ...], FailFast()]  # a million mistakes are not worth being listed
Bytes = Annotated[int, Field(ge=0, lt=1 << 63)]  # what a file system can count
Version = Annotated[int, Field(ge=0, lt=1 << 63)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=LONGEST_WORD)]
Line = Annotated[str, Field(max_length=LONGEST_LINE)]
Traceback = Annotated[str, Field(max_length=LONGEST_TRACEBACK)]
Outcome = Literal["passed", "failed", "error", "skipped"]


class Document(BaseModel):
    """Immutable; fields that this release does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class FileRole(str, enum.Enum):
    """What a file is; decides with which others it is stored."""

    BASE = "base"
    OVERLAY = "overlay"
    MEMORY = "memory"


class File(Document):
    """One file that belongs to the environment: an image or a memory state.

    :param path: on the exporting host; rows, domains and snapshots name files by it
    :param size: bytes of the file itself
    :param virtual_size: bytes that a guest sees; None for memory
    :param backing: path of the file below in the chain
    :param layer: id in the repository; None where only definitions were exported
    """

    path: str
    role: FileRole
    format: str
    size: Bytes
    virtual_size: Bytes | None = None
    backing: str | None = None
    backing_format: str | None = None
    layer: str | None = None

    @property
    def name(self) -> str:
        """The name within the storage pool."""
        return PurePosixPath(self.path).name


class Row(Document):
    """A row of the ``devops`` app."""

    id: int


class Driver(Row):
    name: str
    created: datetime.datetime
    params: dict[str, Any]


class AddressPool(Row):
    name: str
    net: str
    created: datetime.datetime
    params: dict[str, Any]


class NetworkPool(Row):
    name: str
    created: datetime.datetime
    address_pool: int | None


class DhcpHost(Document):
    mac: str
    ip: str
    name: str | None = None


class Network(Document):
    """A libvirt network, taken apart: an import builds its own XML from these values only.

    :param bridge: libvirt's choice, but with forward mode ``bridge`` one of the host's own
    :param mac: of the bridge: guests that come back from memory have it in their ARP caches
    """

    name: str
    uuid: str
    bridge: str | None
    mac: str | None
    forward_mode: str | None
    stp: bool
    delay: int
    ip: str | None
    prefix: int | None
    dhcp_start: str | None
    dhcp_end: str | None
    dhcp_hosts: Many[DhcpHost] = ()
    active: bool
    xml: str


class NwFilter(Document):
    """A libvirt network filter, taken apart: an import builds its own XML from these values only.

    :param includes: name of the filter of the network; None: this is one
    :param blocked: it drops all traffic
    """

    name: str
    includes: str | None
    blocked: bool


class L2NetworkDevice(Row):
    """:param nwfilter: None where the driver is to have none"""

    name: str
    created: datetime.datetime
    address_pool: int | None
    params: dict[str, Any]
    network: Network | None
    nwfilter: NwFilter | None = None


class Volume(Row):
    """:param backing_store: id of another volume, of this node or of its group"""

    name: str
    created: datetime.datetime
    backing_store: int | None
    params: dict[str, Any]


class DiskDevice(Row):
    volume: int | None
    params: dict[str, Any]


class Interface(Row):
    """:param nwfilter: None where the driver is to have none"""

    label: str | None
    mac_address: str
    type: str
    model: str
    l2_network_device: int | None
    params: dict[str, Any]
    addresses: Many[str]
    nwfilter: NwFilter | None = None


class NetworkConfig(Row):
    label: str
    networks: Any
    aggregation: str | None
    parents: Any


class Snapshot(Document):
    """A node's part of a snapshot: libvirt's metadata, and what an import has to know of it.

    :param memory: path of the memory file, as in :attr:`File.path`
    :param internal: state lies inside the image files
    """

    name: str
    parent: str | None
    description: str
    created: datetime.datetime
    state: Literal["running", "paused", "shutoff"]
    memory: str | None
    internal: bool
    xml: str


class Node(Row):
    """:param domain_xml: the persistent definition"""

    name: str
    role: str | None
    created: datetime.datetime
    params: dict[str, Any]
    interfaces: Many[Interface]
    network_configs: Many[NetworkConfig]
    volumes: Many[Volume]
    disks: Many[DiskDevice]
    domain_xml: str
    snapshots: Many[Snapshot]


class Group(Row):
    name: str
    created: datetime.datetime
    driver: Driver
    l2_network_devices: Many[L2NetworkDevice]
    network_pools: Many[NetworkPool]
    volumes: Many[Volume]
    nodes: Many[Node]


class Environment(Row):
    name: str
    created: datetime.datetime
    address_pools: Many[AddressPool]
    groups: Many[Group]

    @property
    def nodes(self) -> Iterator[Node]:
        for group in self.groups:
            yield from group.nodes

    @property
    def networks(self) -> Iterator[L2NetworkDevice]:
        for group in self.groups:
            yield from group.l2_network_devices


class Host(Document):
    """Where it was exported.

    :param cpu_xml: ``<cpu>`` of libvirt's capabilities: what memory states may rely on
    :param libvirt_version: as libvirt gives it: 1000000 * major + 1000 * minor + release
    :param qemu_version: likewise
    """

    name: str
    architecture: str
    cpu_xml: str
    libvirt_version: Version
    qemu_version: Version


def _few(value: object) -> object:
    """Before the items are looked at: a million mistakes are not worth being listed."""
    if isinstance(value, dict) and len(value) > MOST_FACTS:
        raise ValueError(f"{len(value)} items, {MOST_FACTS} are the most")
    return value


Facts = Annotated[dict[Word, Word], Field(max_length=MOST_FACTS), BeforeValidator(_few)]


class TestRun(Document):
    """The test that an environment was exported for.

    :param name: as the runner of the test calls it
    :param outcome: as pytest has it: a test that failed before it began, or after it ended, is an
        ``error``
    :param exception: its class and message, in one line
    :param traceback: the end of it
    :param job: of the CI, such as Jenkins
    :param build: the number of its run
    :param url: of the build
    :param commits: what was tested and by what: name of the repository to commit
    :param release: of the product, such as the version of its ISO image
    """

    name: Annotated[Line, Field(min_length=1)]
    outcome: Outcome
    exception: Line | None = None
    traceback: Traceback | None = None
    job: Word | None = None
    build: Word | None = None
    url: Line | None = None
    commits: Facts = {}
    release: Word | None = None
    duration_seconds: Seconds | None = None


class Provenance(Document):
    """Who exported it, when, with what, and why.

    :param test: None where it was exported for none
    :param tags: whatever the user wants it to be found by
    """

    tool: str
    user: str
    created: datetime.datetime
    description: str = ""
    test: TestRun | None = None
    tags: Facts = {}


class Manifest(Document):
    """A whole exported environment.

    :param snapshots: the chosen snapshots, oldest first, without their ancestors
    :param current: the one the environment comes back to life at; None for definitions only
    :param freeze_seconds: how long the guests stood still for it; None when they did not
    """

    format: Literal["devops_snapshot.manifest"] = FORMAT
    version: Literal[1] = VERSION
    environment: Environment
    files: Many[File]
    snapshots: Many[str]
    current: str | None
    definitions_only: bool
    freeze_seconds: float | None
    host: Host
    provenance: Provenance

    def to_json(self) -> bytes:
        """Write a manifest.

        :raises UnsupportedError: it is so large that nobody would read it
        """
        data = self.model_dump_json(indent=1).encode()
        if _is_too_large(data):
            raise UnsupportedError(
                f"environment {self.environment.name!r} has too many nodes and snapshots "
                f"for one export: {len(data)} bytes to describe them",
                hint="Export fewer snapshots",
            )
        return data

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest.

        :raises FormatError: not one, or of a version this release does not know; says where
        """
        if _is_too_large(data):
            raise FormatError(f"the manifest has {len(data)} bytes, which no environment needs")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step)[:_LONGEST_NAME] for step in first["loc"]) or "document"
            raise FormatError(
                f"the manifest cannot be read: {where}: {first['msg']}",
                hint="It was written by another version of devops_snapshot, or is damaged",
            ) from error

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def _is_too_large(data: bytes) -> bool:
    """Whether reading it would take more memory than any environment is worth."""
    return len(data) > LARGEST or sum(map(data.count, _BETWEEN_VALUES)) > _MOST_VALUES
