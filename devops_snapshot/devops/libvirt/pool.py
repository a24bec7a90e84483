"""The same as :mod:`devops_snapshot.storage_pool`, for those who look for it here."""

from devops_snapshot.storage_pool import find_by_name

__all__ = ["find_by_name"]
