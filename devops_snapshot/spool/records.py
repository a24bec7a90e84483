"""Records of exports that were detached, once it is known what became of them."""

from __future__ import annotations

from pathlib import Path

from ..models import Export, State, StorageNode
from ..process import is_of_here
from .queue import Fate
from .queues import queue_at
from .receipts import Receipt
from .without_root.asked import NoWorkerError


def close_records() -> None:
    """Close the records of exports that do not wait on this host any more.

    The worker knows no database: it leaves receipts, which are read here.
    """
    for record in Export.objects.filter(state=State.QUEUED):
        fate = _fate(record)
        if fate is None:
            continue
        if fate.receipt is not None:
            _close(record, fate.receipt)
        elif not fate.waits and is_of_here(record.process):
            record.finish(State.FAILED, error=f"it is not in {record.spool} any more")


def _fate(record: Export) -> Fate | None:
    """None: it cannot be known here, or now."""
    queue = queue_at(Path(record.spool)) if record.spool else None
    try:
        return queue.fate(record.export_id) if queue else None
    except NoWorkerError:
        return None


def _close(record: Export, receipt: Receipt) -> None:
    record.bytes_read = receipt.bytes_read
    record.bytes_sent = receipt.bytes_sent
    record.bytes_deduplicated = receipt.bytes_deduplicated
    record.bytes_unread = receipt.bytes_unread
    if not receipt.error:
        record.storage_node = StorageNode.objects.filter(url=record.storage_url).first()
    record.finish(State.FAILED if receipt.error else State.DONE, error=receipt.error)
