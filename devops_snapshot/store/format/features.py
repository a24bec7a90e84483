"""What a client must understand before it may touch a repository.

A feature is a name. ``repository.json`` lists those needed to read, to write and to collect; a
layer or an export lists those needed to read it. A client that does not know one of them refuses.
"""

from __future__ import annotations

from collections.abc import Iterable

from devops_snapshot.errors import FormatError

from .sealed import UPDATE_HINT

KNOWN: frozenset[str] = frozenset()  # format version 1 needs none


def require_known(features: Iterable[str], where: str, action: str) -> None:
    """Refuse what this release does not understand.

    :param action: what cannot be done: ``read`` or ``write``
    :raises FormatError: naming the unknown features
    """
    unknown = sorted(set(features) - KNOWN)
    if unknown:
        raise FormatError(
            f"{where} cannot be {action}: it uses unknown features {', '.join(unknown)}",
            hint=UPDATE_HINT,
        )
