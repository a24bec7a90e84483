"""Which export a user means."""

from __future__ import annotations

from ..errors import DevopsError, FormatError, NotFoundError
from ..store import ExportEntry, Repository


def choose_export(repository: Repository, wanted: str) -> ExportEntry:
    """The export of that id, of an id that begins so, or the latest (of one environment).

    :param wanted: ``ID``, the beginning of one, ``latest`` or ``latest:ENVIRONMENT``
    :raises NotFoundError: there is none
    :raises DevopsError: several begin so
    """
    if wanted == "latest:":  # an empty variable in a script must not mean any environment
        raise DevopsError("'latest:' names no environment", hint="'latest' is that of any")
    exports = repository.exports()
    if wanted == "latest" or wanted.startswith("latest:"):
        return _latest(exports, wanted.partition(":")[2])
    matching = [entry for entry in exports if entry.id.startswith(wanted)] if wanted else []
    exact = [entry for entry in matching if entry.id == wanted]
    if exact or len(matching) == 1:
        return (exact or matching)[0]
    if not matching:
        raise _missing(repository, wanted)
    ids = ", ".join(entry.id for entry in matching[:5])
    raise DevopsError(f"{wanted!r} could be any of {len(matching)} exports: {ids}")


def _missing(repository: Repository, wanted: str) -> DevopsError:
    """Why an export is not in the listing: it is damaged, or there is none of that id."""
    try:
        repository.manifest(wanted)
    except FormatError as error:
        return error
    except NotFoundError:
        pass
    hint = "'dos.py list-exports' shows what there is"
    return NotFoundError(f"there is no export {wanted!r}", hint=hint)


def _latest(exports: list[ExportEntry], environment: str) -> ExportEntry:
    for entry in reversed(exports):
        if not environment or entry.summary.get("environment") == environment:
            return entry
    what = f"of environment {environment!r}" if environment else "at all"
    raise NotFoundError(
        f"there is no export {what} in this repository",
        hint="'dos.py list-exports' shows what there is",
    )
