"""This project's own records, kept in the database of the ``devops`` app.

References to ``devops_*`` rows carry no database constraint and never cascade: with one, fuel-
devops's own ``erase`` would fail with an IntegrityError, since it does not know these tables. A
reference may therefore outlive its row; everything a reader needs later (names, URLs) is kept here
as well. Times are naive UTC, as everywhere in a fuel-devops database.
"""

from __future__ import annotations

import datetime
from typing import Any

from django.apps import apps
from django.db import models


def utcnow() -> datetime.datetime:
    """Now, in UTC and without a zone, as fuel-devops stores times."""
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def loose_reference(to: str, related_name: str) -> Any:
    """A reference to a row of the ``devops`` app that survives that row's disappearance."""
    return models.ForeignKey(
        to,
        null=True,
        blank=True,
        db_constraint=False,
        on_delete=models.DO_NOTHING,
        related_name=related_name,
    )


class State(models.TextChoices):
    """How far an export or import has come."""

    RUNNING = "running"
    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StorageNode(models.Model):
    """A repository that exports went to or came from."""

    url = models.CharField(max_length=1024, unique=True)
    repository_id = models.CharField(max_length=64, blank=True)
    created = models.DateTimeField(default=utcnow)
    last_used = models.DateTimeField(default=utcnow)

    def __str__(self) -> str:
        return self.url

    @classmethod
    def used(cls, url: str, repository_id: str) -> StorageNode:
        """The record of a storage node that is being used now."""
        node, _ = cls.objects.update_or_create(
            url=url, defaults={"repository_id": repository_id, "last_used": utcnow()}
        )
        return node


class Journey(models.Model):
    """What exports and imports have in common.

    :param process: that makes it, as :mod:`~.process` names them
    """

    export_id = models.CharField(max_length=64, blank=True, db_index=True)
    environment = loose_reference("devops.Environment", "%(class)ss")
    environment_name = models.CharField(max_length=255)
    storage_node = models.ForeignKey(StorageNode, null=True, blank=True, on_delete=models.SET_NULL)
    storage_url = models.CharField(max_length=1024)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING)
    started = models.DateTimeField(default=utcnow)
    finished = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    process = models.CharField(max_length=96, blank=True)

    class Meta:
        abstract = True
        ordering = ["-started", "-id"]

    def __str__(self) -> str:
        return f"{self.environment_name} {self.export_id} ({self.state})"

    def finish(self, state: str, *, error: str = "") -> None:
        """Record the outcome; a failed one with its reason."""
        self.state = state
        self.error = error
        self.finished = utcnow()
        self.save()


class Export(Journey):
    """One run of ``export-env``.

    :param spool: the directory in which it waits to be sent, if it was detached
    """

    snapshots = models.JSONField(default=list)
    definitions_only = models.BooleanField(default=False)
    bytes_read = models.BigIntegerField(default=0)
    bytes_sent = models.BigIntegerField(default=0)
    bytes_deduplicated = models.BigIntegerField(default=0)
    bytes_unread = models.BigIntegerField(default=0)
    freeze_seconds = models.FloatField(null=True, blank=True)
    spool = models.CharField(max_length=4096, blank=True)


class Import(Journey):
    """One run of ``import-env``.

    :param making: what it makes, for whoever has to undo it: see :mod:`~.importer.journal`; empty
        before it has begun, and once it has ended
    :param place: the host and user whose lock it holds meanwhile
    """

    bytes_received = models.BigIntegerField(default=0)
    bytes_written = models.BigIntegerField(default=0)
    making = models.JSONField(default=dict, blank=True)
    place = models.CharField(max_length=64, blank=True)


class Underway(models.TextChoices):
    """What a command does with a snapshot; what it leaves behind says what was killed."""

    NOTHING = ""
    TAKING = "taking"
    DELETING = "deleting"
    REVERTING = "reverting"


class EnvironmentSnapshot(models.Model):
    """A named moment of an environment, or of some of its nodes."""

    environment = loose_reference("devops.Environment", "environment_snapshots")
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    created = models.DateTimeField(default=utcnow)
    freeze_seconds = models.FloatField(null=True, blank=True)
    underway = models.CharField(
        max_length=16, choices=Underway.choices, default=Underway.NOTHING, blank=True
    )

    class Meta:
        ordering = ["created", "id"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="devops_snapshot_name")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def complete(self) -> bool:
        """Whether it is there as a whole."""
        return self.underway not in (Underway.TAKING, Underway.DELETING)


class NodeSnapshot(models.Model):
    """One node's part of an environment snapshot.

    :param state: what the guest was doing when it was taken, in libvirt's words
    :param metadata: the ``<domainsnapshot>`` as libvirt last had it, so that what virsh forgets can
        be told to it again; its layers are needed as long as this row is there
    """

    snapshot = models.ForeignKey(
        EnvironmentSnapshot, on_delete=models.CASCADE, related_name="node_snapshots"
    )
    node = loose_reference("devops.Node", "node_snapshots")
    node_name = models.CharField(max_length=255)
    state = models.CharField(max_length=16)
    memory_path = models.CharField(max_length=4096, blank=True)
    freeze_seconds = models.FloatField(null=True, blank=True)
    metadata = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.node_name}@{self.snapshot.name}"


class IsolatedNetwork(models.Model):
    """What a network was before ``import-env --isolated`` cut it off from the host.

    :param uuid: of libvirt's network here; one that is defined anew is another
    :param network: :class:`~.manifest.document.Network` as JSON
    :param params: those of the ``devops`` row that are different here, as they were
    """

    environment = loose_reference("devops.Environment", "isolated_networks")
    l2_network_device = loose_reference("devops.L2NetworkDevice", "isolated_networks")
    uuid = models.CharField(max_length=36)
    network = models.JSONField()
    params = models.JSONField(default=dict)

    def __str__(self) -> str:
        return str(self.network["name"])

    @classmethod
    def of(cls, row: Any) -> IsolatedNetwork | None:
        """That of an L2 network device; None where it is connected as it says."""
        found = cls.objects.filter(l2_network_device_id=row.id)
        return found.filter(uuid=row.params.get("uuid") or "").first()


def forget_isolated_networks(*, instance: models.Model, **_: Any) -> None:
    """The environment is gone, and its networks with it."""
    IsolatedNetwork.objects.filter(environment_id=instance.pk).delete()


def forget_snapshots_of_environment(*, instance: models.Model, **_: Any) -> None:
    """The environment is gone, and its snapshots with it; exports keep their record."""
    EnvironmentSnapshot.objects.filter(environment_id=instance.pk).delete()


def forget_snapshots_of_node(*, instance: models.Model, **_: Any) -> None:
    """A node was removed. Drivers have classes of their own for nodes: look at the table."""
    if instance._meta.concrete_model is apps.get_model("devops", "Node"):
        NodeSnapshot.objects.filter(node_id=instance.pk).delete()
