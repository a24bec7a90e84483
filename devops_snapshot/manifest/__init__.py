"""The exported environment as a typed, versioned document.

``document`` has the types, ``reading`` fills them from the ``devops`` app and libvirt, ``writing``
makes rows of them again. The JSON schema is published as ``schema-1.json`` beside this file.
"""

from .document import Manifest

__all__ = ["Manifest"]
