"""Batches: objects that say again, together, what lies elsewhere in the repository.

Every client may write one, named after its lease, and merge several into one: it writes the new
one, and then removes those that are in it. Whoever is interrupted, or merges the same ones at the
same time, leaves some things told twice, which does no harm; nothing is removed that is not told in
a batch which is durable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Entry, Remote

_NAME = re.compile(r"[0-9a-f]{32}(-\d+)?")


def list_batches(remote: Remote, directory: str) -> list[Entry]:
    """Return the batches in a directory, newest first."""
    entries = [entry for entry in remote.list(directory) if _NAME.fullmatch(entry.name)]
    return sorted(entries, key=lambda entry: (entry.modified, entry.name), reverse=True)


def remove_batches(remote: Remote, directory: str, names: Iterable[str]) -> None:
    """Remove batches; another client may do so at the same time."""
    for name in names:
        with suppress(NotFoundError):
            remote.remove(f"{directory}/{name}")
