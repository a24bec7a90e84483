"""The encoding ``ram``: saved memories with their pages at their guest address.

In the file each page follows a header of 8 bytes and those that are zeros take no room, so that
chunks of two saves of one guest never agree. At their guest address most of them do.
"""

from .source import RamSource, ram_source

__all__ = ["RamSource", "ram_source"]
