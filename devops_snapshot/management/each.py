"""Doing something to several exports, each for itself: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DevopsError
from ..remote.patience import ConnectionLost


@dataclass(frozen=True)
class Outcome:
    """What became of the exports that a user named.

    :param participle: what was to be done, such as ``deleted``
    :param done: ids
    :param failed: what was typed, and why it was not done
    """

    participle: str
    done: Sequence[str]
    failed: Mapping[str, DevopsError]

    def document(self) -> dict[str, Any]:
        """For programs."""
        failed = {name: str(error) for name, error in self.failed.items()}
        return {self.participle: self.done, "failed": failed}

    def raise_failures(self) -> None:
        """:raises DevopsError: something failed; with the highest of the exit codes"""
        if not self.failed:
            return
        total = len(self.done) + len(self.failed)
        if total == 1:
            raise next(iter(self.failed.values()))
        were = "was" if len(self.failed) == 1 else "were"
        several = DevopsError(
            f"{len(self.failed)} of {total} exports {were} not {self.participle}, as told above"
        )
        several.exit_code = max(error.exit_code for error in self.failed.values())
        raise several


def for_each(
    names: Sequence[str],
    *,
    find: Callable[[str], str],
    act: Callable[[str], object],
    participle: str,
    tell: Callable[[str], object],
) -> Outcome:
    """Do something to each export; the failures are told at once if several are named.

    :param names: as they were typed; what is meant twice is done once
    :param find: from a name to the id of an export
    :param act: what is done, given an id
    """
    names = list(dict.fromkeys(names))
    done: list[str] = []
    failed: dict[str, DevopsError] = {}
    tried: set[str] = set()
    for number, name in enumerate(names):
        try:
            export_id = find(name)
            if export_id not in tried:
                tried.add(export_id)
                act(export_id)
                done.append(export_id)
        except DevopsError as error:
            failed[name] = error
            if len(names) > 1:
                tell(f"Not {participle}: {error}")
            if isinstance(error, ConnectionLost):  # nor would the storage node answer the others
                failed |= dict.fromkeys(names[number:], error)
                break
    return Outcome(participle, done, failed)
