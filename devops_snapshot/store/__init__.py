"""The content-addressed repository: every chunk stored once, every byte verified when read."""

from .collection.collect import CollectionReport, collect
from .export_session import ExportSession, Stats
from .exports.deletion import delete_export, deleted_exports, undelete_export
from .exports.pins import pin_export, pinned_by, pinned_exports, unpin_export
from .exports.prune import Expired, PrunePlan, plan_prune, prune
from .exports.retention import Retention, configure
from .format.envelope import ExportEntry
from .format.jsontypes import JSON
from .format.names import LayerId, is_export_id, new_export_id
from .format.pack import LayerKind
from .health.status import Status, Worker, readable_retention, status
from .health.verification import Finding, VerificationReport, verify
from .import_session import ImportSession
from .reading.at_hand import AtHand, FileAtHand
from .reading.known_layer import KnownLayer, Seeds
from .reading.layer_reader import LayerReader, RestoreStats
from .reading.layer_sink import FileSink, LayerSink
from .repository import Repository
from .writing.layer_source import Extent, FileSource, LayerSource

__all__ = [
    "JSON",
    "AtHand",
    "CollectionReport",
    "Expired",
    "ExportEntry",
    "ExportSession",
    "Extent",
    "FileAtHand",
    "FileSink",
    "FileSource",
    "Finding",
    "ImportSession",
    "KnownLayer",
    "LayerId",
    "LayerKind",
    "LayerReader",
    "LayerSink",
    "LayerSource",
    "PrunePlan",
    "Repository",
    "RestoreStats",
    "Retention",
    "Seeds",
    "Stats",
    "Status",
    "VerificationReport",
    "Worker",
    "collect",
    "configure",
    "delete_export",
    "deleted_exports",
    "is_export_id",
    "new_export_id",
    "pin_export",
    "pinned_by",
    "pinned_exports",
    "plan_prune",
    "prune",
    "readable_retention",
    "status",
    "undelete_export",
    "unpin_export",
    "verify",
]
