"""Small things that this machine remembers of a repository, in one SQLite file.

Several processes may use it at once. As with all that is cached, failures are forgiven; a file that
is damaged is thrown away.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

R = TypeVar("R")

_PATIENCE = 5.0  # seconds that another process may be writing
_TABLE = (
    "CREATE TABLE IF NOT EXISTS notes"
    " (kind TEXT, name TEXT, data BLOB NOT NULL, PRIMARY KEY (kind, name))"
)


class Notes:
    """Bytes by kind and name; may be used by several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, kind: str) -> dict[str, bytes]:
        """Return all notes of one kind, oldest first."""
        query = "SELECT name, data FROM notes WHERE kind = ? ORDER BY rowid"
        return self._try(lambda database: dict(database.execute(query, (kind,)).fetchall())) or {}

    def names(self, kind: str) -> set[str]:
        """Return the names of all notes of one kind."""
        query = "SELECT name FROM notes WHERE kind = ?"
        rows = self._try(lambda database: database.execute(query, (kind,)).fetchall())
        return {name for (name,) in rows or ()}

    def put(self, kind: str, notes: Mapping[str, bytes]) -> None:
        rows = [(kind, name, data) for name, data in notes.items()]
        query = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)"
        self._try(lambda database: database.executemany(query, rows))

    def forget(self, kind: str, names: Iterable[str]) -> None:
        rows = [(kind, name) for name in names]
        query = "DELETE FROM notes WHERE kind = ? AND name = ?"
        if rows:
            self._try(lambda database: database.executemany(query, rows))

    def _try(self, work: Callable[[sqlite3.Connection], R]) -> R | None:
        """Do something in a transaction; without result, and without effect, if it fails."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database, database:
                return work(database)
        except (sqlite3.Error, OSError) as error:
            log.debug("%s: %s", self._path, error)
            if _is_damage(error):
                self._throw_away()
        return None

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=_PATIENCE)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(_TABLE)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _throw_away(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()


def _is_damage(error: Exception) -> bool:
    """Tell damage from a lock, a full disk or a missing permission."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
