"""Records of exports that were detached, once it is known what became of them."""

from __future__ import annotations

from pathlib import Path

from ..models import Export, State, StorageNode
from .receipts import Receipt
from .spool import Spool


def close_records() -> None:
    """Close the records of exports that are not in the spool of this host any more.

    The worker knows no database: it leaves receipts, which are read here.
    """
    for record in Export.objects.filter(state=State.QUEUED):
        spool = Spool(Path(record.spool))
        if not record.spool or not spool.directory.is_dir():
            continue  # another host's
        waits = spool.has(record.export_id)
        receipt = spool.receipt(record.export_id)
        if receipt is not None:
            _close(record, receipt)
        elif not waits:
            record.finish(State.FAILED, error=f"it is not in {record.spool} any more")


def _close(record: Export, receipt: Receipt) -> None:
    record.bytes_read = receipt.bytes_read
    record.bytes_sent = receipt.bytes_sent
    record.bytes_deduplicated = receipt.bytes_deduplicated
    record.bytes_unread = receipt.bytes_unread
    if not receipt.error:
        record.storage_node = StorageNode.objects.filter(url=record.storage_url).first()
    record.finish(State.FAILED if receipt.error else State.DONE, error=receipt.error)
