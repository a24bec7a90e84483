"""Which exports are meant by the ids, or beginnings of ids, that a user typed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import DevopsError, NotFoundError
from ..importer.choose import choose_export
from ..store import Repository, is_export_id

LIST_HINT = "'dos.py list-exports' shows what there is"


def exports_named(repository: Repository, wanted: Sequence[str]) -> list[str]:
    """The ids of exports named as for ``import-env``: also ``latest`` and ``latest:ENV_NAME``.

    :raises NotFoundError: there is no such export
    :raises DevopsError: several are meant
    """
    if not any(_is_latest(name) for name in wanted):
        return safely_named(wanted, [entry.id for entry in repository.exports()])
    return list(dict.fromkeys(choose_export(repository, name).id for name in wanted))


def safely_named(wanted: Sequence[str], known: Collection[str]) -> list[str]:
    """The ids that are meant by ids and unique beginnings of ids, each once.

    A whole id is taken as it is: what cannot be listed, because it is damaged, has one too.

    :raises DevopsError: one is ``latest``, which may be another export by now, or several are meant
    """
    return list(dict.fromkeys(_one(name, known) for name in wanted))


def _one(name: str, known: Collection[str]) -> str:
    if _is_latest(name):
        raise DevopsError(
            f"{name!r} may be another export by now", hint="Give the id, or the beginning of one"
        )
    if name in known or is_export_id(name):
        return name
    matching = [export_id for export_id in known if name and export_id.startswith(name)]
    if not matching:
        raise NotFoundError(f"there is no export {name!r}", hint=LIST_HINT)
    if len(matching) > 1:
        ids = ", ".join(matching[:5])
        raise DevopsError(f"{name!r} could be any of {len(matching)} exports: {ids}")
    return matching[0]


def _is_latest(name: str) -> bool:
    return name == "latest" or name.startswith("latest:")
