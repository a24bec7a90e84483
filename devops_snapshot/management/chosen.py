"""Which exports are meant by the ids, or beginnings of ids, that a user typed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from django.core.management.base import CommandParser

from ..errors import DevopsError, NotFoundError
from ..importer.choose import choose_export
from ..store import Repository, is_export_id

LIST_HINT = "'dos.py list-exports' shows what there is"
LIST_DELETED_HINT = "'dos.py list-exports --deleted' shows what collections have left to bring back"
ID_HELP = "id of an export, or the beginning of one"
NAME_HELP = "id of an export, the beginning of one, 'latest' or 'latest:ENV_NAME'"

Find = Callable[[str], str]
"""From what was typed to the id of an export.

:raises NotFoundError: there is no such export
:raises DevopsError: it does not tell which is meant
"""


def add_export_argument(parser: CommandParser, *, nargs: str | None = None, help: str) -> None:
    """The exports that are meant (``options["exports"]``), or one (``options["export"]``)."""
    parser.add_argument("exports" if nargs else "export", metavar="EXPORT", nargs=nargs, help=help)


def by_name(repository: Repository) -> Find:
    """How exports are found by ids, beginnings of ids, ``latest`` and ``latest:ENV_NAME``."""
    known = [entry.id for entry in repository.exports()]

    def find(name: str) -> str:
        return choose_export(repository, name).id if _is_latest(name) else _one(name, known)

    return find


def by_id(known: Collection[str], *, what: str = "export", hint: str = LIST_HINT) -> Find:
    """How exports are found by ids and beginnings of ids, where ``latest`` would be too vague.

    :param known: ids of the exports that can be meant
    :param what: they are
    :param hint: where a user finds them
    """
    return partial(_one, known=known, what=what, hint=hint)


def _one(name: str, known: Collection[str], what: str = "export", hint: str = LIST_HINT) -> str:
    """A whole id is taken as it is: what cannot be listed, because it is damaged, has one too."""
    if _is_latest(name):
        raise DevopsError(
            f"{name!r} may be another export by now", hint="Give the id, or the beginning of one"
        )
    if name in known or is_export_id(name):
        return name
    matching = [export_id for export_id in known if name and export_id.startswith(name)]
    if not matching:
        raise NotFoundError(f"there is no {what} {name!r}", hint=hint)
    if len(matching) > 1:
        ids = ", ".join(matching[:5])
        raise DevopsError(f"{name!r} could be any of {len(matching)} exports: {ids}")
    return matching[0]


def _is_latest(name: str) -> bool:
    return name == "latest" or name.startswith("latest:")
