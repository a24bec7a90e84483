"""An object on its way to an SFTP server: its unfinished file outlives connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from blake3 import blake3

from devops_snapshot.errors import StorageError

from .sftp_connection import Connection, SftpFile

_READ_BACK = 8 * 1024 * 1024  # bytes


class SourceFailedError(Exception):
    """What was to be sent could not be read: trying again would take its beginning for all of it.

    Whatever the source raised, even a lost connection of its own, must not look like this one's.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Upload:
    """Sends a stream, over several connections if need be.

    What a server has acknowledged is in its memory, and survives a cut connection, but not a crash
    of the server. So an object that was not sent in one go is read back.

    :param path: of the unfinished file, which must not exist
    """

    def __init__(self, path: str, data: Iterable[bytes]) -> None:
        self.path = path
        self.size = 0
        self.acknowledged = 0
        self.created = False
        self._data = data
        self._tries = 0
        self._parts: Iterator[tuple[int, bytes]] | None = None
        self._under_way: dict[int, bytes] = {}  # what no server has acknowledged, by offset
        self._hash = blake3()
        self._is_whole = False  # whether the source has come to its end

    def send(self, link: Connection) -> None:
        """Send all that has not arrived yet, and make it durable.

        :raises SourceFailedError: do not
        :raises ConnectionLost: call it again, with another connection
        :raises StorageError: the server has not kept what it acknowledged
        """
        self._tries += 1
        if self._parts is None:
            self._parts = self._cut_up(link.block_size)
        with link.opened(self.path, self._mode(link)) as file:
            self.created = True
            outstanding = list(self._under_way.items())
            file.write(chain(outstanding, self._parts), arrived=self._note)
            assert self._is_whole, "a source that failed is not asked again"
            file.sync()
            if self._tries > 1:
                self._require_intact(file)

    def _mode(self, link: Connection) -> str:
        """Never truncate: a server may carry out late what it was asked before a cut."""
        is_there = self.created or (self._tries > 1 and link.exists(self.path))
        return "r+" if is_there else "wx+"

    def _cut_up(self, block_size: int) -> Iterator[tuple[int, bytes]]:
        """Yield offsets and what belongs there, each part once."""
        for block in self._blocks():
            self._hash.update(block)
            for start in range(0, len(block), block_size):
                part = block[start : start + block_size]
                offset, self.size = self.size, self.size + len(part)
                self._under_way[offset] = part
                yield offset, part

    def _blocks(self) -> Iterator[bytes]:
        try:
            yield from self._data
        except Exception as error:
            raise SourceFailedError(error) from error
        self._is_whole = True

    def _note(self, offset: int) -> None:
        self.acknowledged += len(self._under_way.pop(offset))

    def _require_intact(self, file: SftpFile) -> None:
        found = blake3()
        for offset in range(0, self.size + 1, _READ_BACK):
            found.update(file.read(offset, _READ_BACK))
        if found.digest() != self._hash.digest():
            raise StorageError(
                f"{self.path} arrived damaged after its connection was cut",
                hint="Try again, and see whether the storage node was restarted",
            )
