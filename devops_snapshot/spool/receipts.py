"""What has become of jobs that are not in the spool any more, for whoever asks later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .job import write_whole

_MOST = 1000  # receipts that are kept


@dataclass(frozen=True)
class Receipt:
    """A job that has ended.

    :param id: of the export
    :param error: why it was not sent; empty if it was
    :param ended: seconds since 1970
    """

    id: str
    environment: str
    storage: str
    ended: float
    error: str = ""
    bytes_read: int = 0
    bytes_sent: int = 0
    bytes_deduplicated: int = 0
    bytes_unread: int = 0


def leave_receipt(directory: Path, receipt: Receipt) -> None:
    """Write one; the oldest of many go."""
    directory.mkdir(exist_ok=True)
    write_whole(directory / f"{receipt.id}.json", json.dumps(asdict(receipt)).encode())
    for old in sorted(directory.glob("*.json"))[:-_MOST]:
        old.unlink(missing_ok=True)


def receipts(directory: Path) -> list[Receipt]:
    """All that can be read, oldest first."""
    found = (_read(path) for path in sorted(directory.glob("*.json")))
    return [receipt for receipt in found if receipt is not None]


def find_receipt(directory: Path, export_id: str) -> Receipt | None:
    return _read(directory / f"{export_id}.json")


def _read(path: Path) -> Receipt | None:
    try:
        fields: Mapping[str, Any] = json.loads(path.read_bytes())
        return Receipt(**fields)
    except (FileNotFoundError, ValueError, TypeError):
        return None
