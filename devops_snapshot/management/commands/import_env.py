"""``dos.py import-env``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...importer import Target, import_environment
from ...models import Import
from ..arguments import add_storage_argument, showing_progress, storage_url
from ..chosen import NAME_HELP, add_export_argument


class Command(DevopsCommand):
    help = (
        "Bring an export back to life on this host: networks, disks, snapshots, memory and "
        "records. Its guests run on from the moment they were frozen at."
    )
    group = "Exports"
    examples = [
        "dos.py import-env latest --storage sftp://devops@storage/srv/devops",
        "dos.py import-env latest:my_env",
        "dos.py import-env 20261122T141503Z-5f2a9c01 --paused",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, help=NAME_HELP)
        add_storage_argument(parser)
        parser.add_argument(
            "--connection", metavar="URI", help="libvirt here; default: $CONNECTION_STRING"
        )
        parser.add_argument(
            "--pool", metavar="NAME", help="storage pool; default: $STORAGE_POOL_NAME, else default"
        )
        parser.add_argument("--paused", action="store_true", help="leave the guests paused")
        parser.add_argument("--json", action="store_true", help="print the record for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        url = storage_url(options, self.stderr.write)
        target = Target.of_this_host(connection=options["connection"], pool=options["pool"])
        with showing_progress() as progress:
            record = import_environment(
                options["export"],
                storage=url,
                target=target,
                paused=options["paused"],
                progress=progress,
            )
        if options["json"]:
            self.json(_document(record))
            return
        self.stdout.write(record.environment_name)
        self.stderr.write(
            f"Imported {record.environment_name} from {record.export_id} "
            f"in {_seconds(record):.1f} s: "
            f"received {human_size(record.bytes_received)}, "
            f"wrote {human_size(record.bytes_written)}"
        )


def _seconds(record: Import) -> float:
    assert record.finished is not None, "a finished import"
    return (record.finished - record.started).total_seconds()


def _document(record: Import) -> dict[str, Any]:
    return {
        "id": record.export_id,
        "environment": record.environment_name,
        "storage": record.storage_url,
        "bytes_received": record.bytes_received,
        "bytes_written": record.bytes_written,
        "seconds": _seconds(record),
    }
