"""Where a repository lives: a local directory or an SFTP server, behind one small interface."""

from .connect import connect
from .interface import AccessError, Entry, Remote

__all__ = ["AccessError", "Entry", "Remote", "connect"]
