"""Where a repository lives: a directory, an SFTP server, a bucket; behind one small interface."""

from .connect import connect
from .interface import AccessError, Entry, Remote
from .probe import require_exclusive_creation

__all__ = ["AccessError", "Entry", "Remote", "connect", "require_exclusive_creation"]
