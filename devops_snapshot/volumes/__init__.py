"""The bytes of files that environments consist of, whoever may read and write them.

``stored_file`` is one such file: on this host and readable, it is read as any file; otherwise
(another host's, or another user's) libvirt reads it for us, by the streams of its storage volumes.
``download`` is a volume as something that a layer is made from, ``upload`` is a new volume that is
filled, and ``placing`` says whether files can be given their names in a storage pool by ourselves.
"""

from .download import VolumeSource
from .placing import are_ours
from .stored_file import StoredFile, StoredFiles
from .upload import NewVolume, Opening

__all__ = ["NewVolume", "Opening", "StoredFile", "StoredFiles", "VolumeSource", "are_ours"]
