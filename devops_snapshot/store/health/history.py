"""When a repository was last collected or verified, and with what outcome.

``history/<kind>-<lease>.json`` is a sealed object. When it happened is its modification time: the
storage node's own clock.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Entry, Remote

from ..format.jsontypes import JSON
from ..format.sealed import seal, unseal, well_formed
from ..lease import Lease

log = logging.getLogger(__name__)

HISTORY = "history"
COLLECTION, VERIFICATION, DATA_VERIFICATION = "collection", "verification", "data-verification"

_KEPT = 10  # events of each kind
_NAME = re.compile(r"([a-z]+(?:-[a-z]+)*)-[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class Event:
    """Something that was done to the whole repository.

    :param when: UTC, by the storage node's clock
    :param facts: what was given to :func:`record`
    """

    when: datetime
    facts: Mapping[str, Any]


def record(remote: Remote, lease: Lease, kind: str, facts: Mapping[str, JSON]) -> None:
    """Remember that something has just been done; the oldest of its kind are forgotten.

    :param kind: lower-case words joined by hyphens, such as :data:`COLLECTION`
    """
    lease.write(f"{HISTORY}/{kind}-{lease.id}.json", [seal("history", {"facts": facts})])
    for entry in _newest_first(remote, kind)[_KEPT:]:
        with suppress(NotFoundError):  # another client was faster
            remote.remove(f"{HISTORY}/{entry.name}")


def last(remote: Remote, kind: str) -> Event | None:
    """Return the latest event of a kind that can be read; others are named in a warning."""
    for entry in _newest_first(remote, kind):
        path = f"{HISTORY}/{entry.name}"
        try:
            head, _ = unseal("history", remote.read(path), path)
            with well_formed(path):
                facts = dict(head["facts"])
        except FormatError as error:
            log.warning("%s", error.message)
        except NotFoundError:  # forgotten since it was listed
            continue
        else:
            return Event(datetime.fromtimestamp(entry.modified, timezone.utc), facts)
    return None


def _newest_first(remote: Remote, kind: str) -> list[Entry]:
    found = []
    for entry in remote.list(HISTORY):
        match = _NAME.fullmatch(entry.name)
        if match and match[1] == kind:
            found.append(entry)
    return sorted(found, key=lambda entry: (entry.modified, entry.name), reverse=True)
