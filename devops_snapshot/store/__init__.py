"""The content-addressed repository: every chunk stored once, every byte verified when read."""

from .collection import CollectionReport, collect
from .deletion import delete_export, deleted_exports, undelete_export
from .envelope import ExportEntry
from .export_session import ExportSession, Stats
from .import_session import ImportSession
from .jsontypes import JSON
from .layer_reader import LayerReader, RestoreStats
from .layer_sink import FileSink, LayerSink
from .layer_source import Extent, FileSource, LayerSource
from .names import LayerId, is_export_id
from .pack import LayerKind
from .pins import pin_export, pinned_exports, unpin_export
from .prune import Expired, PrunePlan, plan_prune, prune
from .repository import Repository
from .retention import Retention, configure
from .status import Status, Worker, status
from .verification import Finding, VerificationReport, verify

__all__ = [
    "JSON",
    "CollectionReport",
    "Expired",
    "ExportEntry",
    "ExportSession",
    "Extent",
    "FileSink",
    "FileSource",
    "Finding",
    "ImportSession",
    "LayerId",
    "LayerKind",
    "LayerReader",
    "LayerSink",
    "LayerSource",
    "PrunePlan",
    "Repository",
    "RestoreStats",
    "Retention",
    "Stats",
    "Status",
    "VerificationReport",
    "Worker",
    "collect",
    "configure",
    "delete_export",
    "deleted_exports",
    "is_export_id",
    "pin_export",
    "pinned_exports",
    "plan_prune",
    "prune",
    "status",
    "undelete_export",
    "unpin_export",
    "verify",
]
