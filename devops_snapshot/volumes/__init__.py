"""The bytes of files that environments consist of, whoever may read and write them.

``stored_file`` is one such file: on this host and readable, it is read as any file; otherwise
(another host's, or another user's) libvirt reads it for us, by the streams of its storage volumes.
``download`` is a volume as something that a layer is made from, ``at_hand`` one that is compared
with a layer, ``upload`` is a new one that is filled, and ``placing`` says whether files can be
given their names in a storage pool by ourselves.
"""

from .at_hand import VolumeAtHand
from .download import VolumeSource
from .placing import are_ours
from .stored_file import StoredFile, StoredFiles
from .upload import NewVolume, Opening, is_ours

__all__ = [
    "NewVolume",
    "Opening",
    "StoredFile",
    "StoredFiles",
    "VolumeAtHand",
    "VolumeSource",
    "are_ours",
    "is_ours",
]
