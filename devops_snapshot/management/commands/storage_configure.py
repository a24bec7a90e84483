"""``dos.py storage-configure``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...remote import connect
from ...store import Repository, configure
from ..arguments import storage_url
from ..storage_node import (
    add_retention_arguments,
    add_url_argument,
    told_retention,
    warn_if_pointless,
)


class Command(DevopsCommand):
    help = (
        "Change for how long a storage node keeps exports. It counts at once, also for exports "
        "that are there already. Without an option, say what counts now"
    )
    group = "Storage nodes"
    examples = [
        "dos.py storage-configure sftp://devops@storage/repository",
        "dos.py storage-configure sftp://devops@storage/repository --keep 14d --min-age 72h",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_url_argument(parser)
        add_retention_arguments(parser)
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        keep, min_age = options["keep"], options["min_age"]
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            if keep is None and min_age is None:
                retention = repository.retention
            else:
                retention = configure(repository, keep=keep, min_age=min_age)
        warn_if_pointless(retention, self.stderr.write)
        if options["json"]:
            self.json({"url": remote.url, **retention.encode()})
            return
        self.stdout.write(f"{remote.url}: {told_retention(retention)}")
