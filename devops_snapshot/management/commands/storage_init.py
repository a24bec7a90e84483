"""``dos.py storage-init``"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import ConflictError, NotFoundError
from ...remote import Remote, connect, require_exclusive_creation
from ...store import Repository, Retention
from ..arguments import storage_url
from ..storage_node import (
    add_retention_arguments,
    add_url_argument,
    told_retention,
    warn_if_pointless,
)


class Command(DevopsCommand):
    help = (
        "Make an empty repository on a storage node. Before, it is tried whether the node keeps "
        "what repositories rely on. The first export would make one as well, with the defaults"
    )
    group = "Storage nodes"
    examples = [
        "dos.py storage-init sftp://devops@storage/repository",
        "dos.py storage-init s3://bucket/devops --keep 14d --min-age 72h",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_url_argument(parser)
        add_retention_arguments(parser)
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        initial = Retention()
        retention = Retention(
            keep=initial.keep if options["keep"] is None else options["keep"],
            min_age=initial.min_age if options["min_age"] is None else options["min_age"],
        )
        with connect(storage_url(options, self.stderr.write)) as remote:
            _require_none(remote)
            remote.mkdir("")
            require_exclusive_creation(remote)
            repository = Repository.initialise(remote, retention)
        warn_if_pointless(retention, self.stderr.write)
        if options["json"]:
            self.json({"url": remote.url, "id": repository.id, **retention.encode()})
            return
        self.stderr.write(f"Made a repository at {remote.url}: {told_retention(retention)}")


def _require_none(remote: Remote) -> None:
    """Before anything is tried there.

    :raises ConflictError: there is a repository
    """
    with suppress(NotFoundError):
        Repository.open(remote)
        raise ConflictError(f"There is a repository at {remote.url} already")
