"""The same as :mod:`devops_snapshot.qcow2`, for those who look for it here."""

from ..qcow2 import ImageHeader, read_header

__all__ = ["ImageHeader", "read_header"]
