"""For how long a repository keeps exports: settings that can be changed.

``settings/<n>.json`` is created and never changed; the one with the highest number counts. While
there is none, ``repository.json`` says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from devops_snapshot.errors import ConflictError, FormatError, StorageError
from devops_snapshot.remote import Remote

from ..format.jsontypes import JSON
from ..format.names import SETTINGS, settings_number, settings_path
from ..format.sealed import UPDATE_HINT, seal, unseal, well_formed
from ..lease import hold_lease

if TYPE_CHECKING:
    from ..repository import Repository

_ATTEMPTS = 10
_REPAIR_HINT = "storage-configure with both --keep and --min-age writes new settings"


@dataclass(frozen=True)
class Retention:
    """How exports are kept, unless they are pinned.

    :param keep: for how long after publication, unless an export says otherwise
    :param min_age: nothing younger is ever removed automatically
    """

    keep: timedelta = timedelta(days=7)
    min_age: timedelta = timedelta(hours=48)

    @classmethod
    def decode(cls, fields: Mapping[str, Any]) -> Retention:
        return cls(
            timedelta(seconds=fields["keep_seconds"]), timedelta(seconds=fields["min_age_seconds"])
        )

    def keeps(self, own: timedelta | None) -> timedelta:
        """Return how long an export is kept.

        :param own: what it says itself, if it does
        """
        return max(self.keep if own is None else own, self.min_age)

    def encode(self) -> dict[str, JSON]:
        return {
            "keep_seconds": int(self.keep.total_seconds()),
            "min_age_seconds": int(self.min_age.total_seconds()),
        }


def load_retention(remote: Remote, initial: Retention) -> Retention:
    """Return the settings that count.

    :param initial: those of ``repository.json``
    :raises FormatError: they are damaged
    """
    number = _last(remote)
    if not number:
        return initial
    path = settings_path(number)
    try:
        head, _ = unseal("settings", remote.read(path), path)
        with well_formed(path):
            return Retention.decode(head)
    except FormatError as error:
        hint = error.hint if error.hint == UPDATE_HINT else _REPAIR_HINT
        raise FormatError(error.message, hint=hint) from error


def configure(
    repository: Repository, *, keep: timedelta | None = None, min_age: timedelta | None = None
) -> Retention:
    """Change what is not None, and return the settings that count from now on."""
    repository.require_feature("write", "changed")
    changes = {"keep": keep, "min_age": min_age}
    given = {name: value for name, value in changes.items() if value is not None}
    _require_positive(given)
    remote = repository.remote
    with hold_lease(remote, {"purpose": "configure"}) as lease:
        for _ in range(_ATTEMPTS):
            number = _last(remote) + 1
            whole = given.keys() == changes.keys()  # then what is there may be damaged
            changed = Retention(**given) if whole else replace(repository.retention, **given)
            with suppress(ConflictError):  # another client was faster
                lease.write(settings_path(number), [seal("settings", changed.encode())])
                return changed
    raise ConflictError(f"Others keep changing the settings of {remote.url}", hint="Try again")


def _last(remote: Remote) -> int:
    """Return the number of the settings that count, 0 if there are none."""
    numbers = (settings_number(entry.name) for entry in remote.list(SETTINGS))
    return max((number for number in numbers if number), default=0)


def _require_positive(given: Mapping[str, timedelta]) -> None:
    for name, value in given.items():
        if value < timedelta(0):
            raise StorageError(f"{name} cannot be {value}", hint="Give a time that is not negative")
